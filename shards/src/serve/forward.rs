//! A request passed to the node that leads its group, once.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::frame::FLAG_FORWARDED;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, Hlc, Incarnation, NodeId, ReplicaId};

use super::call::Work;
use super::dispatch::busy;
use super::reply::Answer;
use crate::env::Env;
use crate::group::Group;
use crate::peer::{CallError, PeerReply};
use crate::shard::Shard;

/// The other node ends its wait before ours ends, so that its answer, which knows more, still comes in time.
const WAY_BACK: Duration = Duration::from_millis(20);

/// What became of a forwarded request.
enum Fate {
    /// Here is its answer.
    Answered(Answer),
    /// It was not taken: another attempt is safe.
    NotTaken,
    /// Nobody knows.
    Lost,
}

impl<E: Env> Shard<E> {
    /// Sends a request to the node `to`, where the replica `replica` (0 for any) is thought to lead. `group` is this
    /// node's own replica, if it has one: news of a leader end the pause before another attempt.
    pub(crate) fn forward(
        self: &Rc<Self>,
        work: Work<E>,
        to: Incarnation,
        replica: ReplicaId,
        group: Option<&Rc<Group<E>>>,
    ) {
        let Some(left) = work.call.remaining(E::boot_clock()) else {
            return work.time_out();
        };
        let mut prelude = work.call.prelude;
        prelude.timeout_ms = shrunk_ms(left);
        let from = group.map_or(0, |group| group.replica().id().0);
        let peer = PeerPrelude { group: work.call.group.0, from, to: replica.0 };
        let reply = self.peers.call(to, peer, work.call.kind, FLAG_FORWARDED, left, |out| {
            out.extend_from_slice(&prelude.encode());
            out.extend_from_slice(&work.call.body);
        });
        let (shard, group) = (self.clone(), group.cloned());
        let seen = group.as_ref().map(|group| group.replica().leader());
        E::spawn(async move {
            let reply = reply.await;
            let stamp = match &reply {
                Ok(PeerReply { hlc, .. }) | Err(CallError::Refused(_, hlc)) => *hlc,
                Err(_) => Hlc::ZERO,
            };
            let mut work = match shard.judge(&work, reply) {
                Fate::Answered(answer) => return work.at(stamp).answer(answer),
                Fate::Lost => match work.into_repeat() {
                    Some(work) => work,
                    None => return,
                },
                Fate::NotTaken => work,
            };
            work.call.attempts += 1;
            let pause = work.call.pause();
            match group.as_ref().zip(seen) {
                Some((group, seen)) => drop(E::timeout(pause, group.replica().leader_changed(&seen)).await),
                None => E::sleep(pause).await,
            }
            shard.serve_here(work);
        });
    }

    fn judge(&self, work: &Work<E>, reply: Result<PeerReply, CallError>) -> Fate {
        match reply {
            Ok(reply) => Fate::Answered(Answer::Encoded { kind: reply.kind, body: reply.body }),
            Err(CallError::Refused(error, _)) => self.judge_error(work, error),
            Err(CallError::Busy) => {
                Fate::Answered(busy("the link to the leader's node has its limit of bytes in flight".into()).into())
            }
            Err(CallError::NotSent(_)) => Fate::NotTaken,
            Err(CallError::Lost(_) | CallError::TimedOut) => Fate::Lost,
        }
    }

    fn judge_error(&self, work: &Work<E>, error: ErrorReply) -> Fate {
        match error.code() {
            ErrorCode::NotLeader => {
                if error.leader != 0 && self.group(work.call.group).is_none() {
                    self.leaders.borrow_mut().insert(work.call.group, NodeId(error.leader));
                }
                Fate::NotTaken
            }
            ErrorCode::NoLeader | ErrorCode::NotReady | ErrorCode::Draining => Fate::NotTaken,
            ErrorCode::Unknown if work.call.class == Class::Read || work.call.may_repeat() => Fate::Lost,
            _ => Fate::Answered(error.into()),
        }
    }
}

/// The wait that the other node is given, in milliseconds: at least 1, since 0 stands for the default.
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
