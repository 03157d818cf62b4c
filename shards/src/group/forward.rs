//! A request passed to the node that leads its group, once.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::frame::FLAG_FORWARDED;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, Hlc, Incarnation, NodeId, ReplicaId};

use crate::env::Env;
use crate::peer::{CallError, Calling, PeerReply, Peers};
use crate::request::retry::{self, Fate};
use crate::request::{Answer, Work, busy};

/// The other node ends its wait before ours ends, so that its answer, which knows more, still comes in time.
const WAY_BACK: Duration = Duration::from_millis(20);

/// A request on its way to another node.
pub(crate) struct Forward<E: Env> {
    work: Work,
    reply: Calling<E>,
}

/// A request that the other node did not take, or whose answer was lost: it may be tried again, after a
/// [pause](retry::pause).
pub(crate) struct Again {
    /// The request, with one more attempt.
    pub(crate) work: Work,
    /// The leader that the other node named.
    pub(crate) leader: Option<NodeId>,
    /// The other node answered that it does not lead the group.
    pub(crate) leads_not: bool,
}

impl<E: Env> Forward<E> {
    /// Sends a request to the node `to`, where the replica `replica` is thought to lead, 0 for any; `from` is this node's own
    /// replica of the group, 0 for none. `None` if its time is over: then it was answered.
    pub(crate) fn send(
        peers: &Rc<Peers<E>>,
        work: Work,
        from: ReplicaId,
        to: Incarnation,
        replica: ReplicaId,
    ) -> Option<Self> {
        let Some(left) = work.call.remaining(E::boot_clock()) else {
            work.time_out();
            return None;
        };
        let mut prelude = work.call.prelude;
        prelude.timeout_ms = shrunk_ms(left);
        let peer = PeerPrelude { group: work.call.group, from, to: replica };
        let reply = peers.call(to, peer, work.call.kind, FLAG_FORWARDED, left, |out| {
            out.extend_from_slice(&prelude.encode());
            out.extend_from_slice(&work.call.body);
        });
        Some(Self { work, reply })
    }

    /// Waits for the answer and passes it on, or gives the request back for another attempt.
    pub(crate) async fn answer(self) -> Option<Again> {
        let Self { work, reply } = self;
        let reply = reply.await;
        let leads_not = matches!(&reply, Err(CallError::Refused(error, _)) if error.code() == ErrorCode::NotLeader);
        let (fate, stamp, leader) = judge(&work, reply);
        let work = match fate {
            Fate::Answered(answer) => {
                work.at(stamp).answer(answer);
                return None;
            }
            Fate::Lost => work.after_loss()?,
            Fate::NotTaken => work,
        };
        Some(Again { work: work.next_attempt(), leader, leads_not })
    }
}

/// The request's fate, the stamp of the other node's frame, and the leader if the other node named one.
fn judge(work: &Work, reply: Result<PeerReply, CallError>) -> (Fate, Hlc, Option<NodeId>) {
    match reply {
        Ok(reply) => {
            let answer = Answer::Encoded { kind: reply.kind, body: reply.body };
            (Fate::Answered(answer), reply.hlc, None)
        }
        Err(CallError::Refused(error, stamp)) => {
            let named = error.code() == ErrorCode::NotLeader && error.leader != NodeId(0);
            let leader = named.then_some(error.leader);
            (retry::fate_of_refusal(&work.call, error), stamp, leader)
        }
        Err(CallError::Busy) => {
            let error = busy("the link to the leader's node has its limit of bytes in flight".to_owned());
            (Fate::Answered(error.into()), Hlc::ZERO, None)
        }
        Err(CallError::NotSent(_)) => (Fate::NotTaken, Hlc::ZERO, None),
        Err(CallError::Lost(_) | CallError::TimedOut) => (Fate::Lost, Hlc::ZERO, None),
    }
}

/// The `timeout_ms` sent to the other node: at least 1, because 0 means the default.
fn shrunk_ms(left: Duration) -> u32 {
    let way_back = WAY_BACK.min(left / 4);
    u32::try_from((left - way_back).as_millis()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarding_shrinks_the_wait_and_never_to_the_default() {
        assert_eq!(shrunk_ms(Duration::from_secs(5)), 4980);
        assert_eq!(shrunk_ms(Duration::from_millis(40)), 30);
        assert_eq!(shrunk_ms(Duration::from_micros(10)), 1);
    }
}
