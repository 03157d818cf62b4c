//! Calls that wait for their answer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorReply, Hlc};
use openraft::AsyncRuntime;

use crate::env::Env;
use crate::env::local::{LocalOneshot, OneshotReceiver, OneshotSender};

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReply {
    /// What it is; never an error frame, which is [`CallError::Refused`].
    pub kind: u16,
    /// Flags of the answer's frame header.
    pub flags: u8,
    /// The other node's clock when it answered.
    pub hlc: Hlc,
    /// What stands behind the prelude, not validated.
    pub body: Bytes,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It never left this node: the other one did not see it and will not.
    #[error("not sent: {0}")]
    NotSent(Rc<str>),
    /// It was sent, and the link broke before the answer came: the other node may have seen it.
    #[error("the link broke before the answer came: {0}")]
    Lost(Rc<str>),
    /// No answer came in time. The other node may have seen it, or may still see it.
    #[error("no answer in time")]
    TimedOut,
    /// Too much waits to be sent to that node. It never left this one.
    #[error("too much waits to be sent to that node")]
    Busy,
    /// The other node answered with an error, in a frame of this stamp.
    #[error("refused: {}", .0.text)]
    Refused(ErrorReply, Hlc),
}

/// Where an answer, or its absence, is delivered.
type Answered = OneshotSender<Result<PeerReply, CallError>>;
/// Where it is awaited.
pub(super) type Answer = OneshotReceiver<Result<PeerReply, CallError>>;

/// One call.
struct Waiting {
    /// The connection it was queued on, or 0 as long as it is not known which shard it goes to.
    link: u64,
    asked: PeerPrelude,
    answered: Answered,
}

/// All calls of a shard that wait, by request id. Ids rise over all links, so each link sees rising ones.
#[derive(Default)]
pub(super) struct Calls {
    waiting: RefCell<BTreeMap<u64, Waiting>>,
}

impl Calls {
    /// Registers a call before its frame is queued.
    pub(super) fn begin(&self, id: u64, link: u64, asked: PeerPrelude) -> Answer {
        let (answered, answer) = LocalOneshot::pair();
        self.waiting.borrow_mut().insert(id, Waiting { link, asked, answered });
        answer
    }

    /// Records that a call which waited in the lobby is now queued on `link`; false if its caller stopped waiting.
    pub(super) fn assign(&self, id: u64, link: u64) -> bool {
        self.waiting.borrow_mut().get_mut(&id).map(|waiting| waiting.link = link).is_some()
    }

    /// Answers a call. `false` when the answer does not belong to the call: it arrived over another link or names other
    /// replicas. An answer whose caller stopped waiting is `true`.
    pub(super) fn answer(
        &self,
        id: u64,
        link: u64,
        prelude: PeerPrelude,
        answer: Result<PeerReply, CallError>,
    ) -> bool {
        let waiting = {
            let mut all = self.waiting.borrow_mut();
            let Some(waiting) = all.get(&id) else { return true };
            let mirrored = PeerPrelude { group: prelude.group, from: prelude.to, to: prelude.from };
            if waiting.link != link || waiting.asked != mirrored {
                return false;
            }
            all.remove(&id)
        };
        if let Some(waiting) = waiting {
            // The caller may have stopped waiting.
            let _ = waiting.answered.send(answer);
        }
        true
    }

    /// Ends all calls of `link`, in order, each with the error that `error` gives for its id.
    pub(super) fn fail(&self, link: u64, error: impl Fn(u64) -> CallError) {
        let failed: Vec<(u64, Waiting)> =
            self.waiting.borrow_mut().extract_if(.., |_, waiting| waiting.link == link).collect();
        for (id, waiting) in failed {
            let _ = waiting.answered.send(Err(error(id)));
        }
    }

    /// Ends one call.
    pub(super) fn fail_one(&self, id: u64, error: CallError) {
        let waiting = self.waiting.borrow_mut().remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.answered.send(Err(error));
        }
    }

    fn forget(&self, id: u64) {
        let forgotten = self.waiting.borrow_mut().remove(&id);
        drop(forgotten);
    }

    /// Calls that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// Takes a call off the table when its caller stops waiting.
struct Registered {
    calls: Rc<Calls>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.calls.forget(self.id);
    }
}

enum State<E: Env> {
    Failed(Option<CallError>),
    Waiting { answer: Answer, limit: Pin<Box<<E::Runtime as AsyncRuntime>::Sleep>>, _registered: Registered },
}

/// A call on its way: a future of its answer. Dropping it lets the call go on; its answer is then ignored.
pub struct Calling<E: Env>(State<E>);

impl<E: Env> Calling<E> {
    /// A call that failed before it was sent.
    pub(super) fn failed(error: CallError) -> Self {
        Self(State::Failed(Some(error)))
    }

    /// A call that is registered under `id`.
    pub(super) fn new(calls: &Rc<Calls>, id: u64, answer: Answer, timeout: Duration) -> Self {
        let limit = Box::pin(E::Runtime::sleep(timeout));
        Self(State::Waiting { answer, limit, _registered: Registered { calls: calls.clone(), id } })
    }
}

impl<E: Env> Future for Calling<E> {
    type Output = Result<PeerReply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Failed(error) => Poll::Ready(Err(error.take().expect("polled once more after its end"))),
            State::Waiting { answer, limit, .. } => {
                if let Poll::Ready(answer) = Pin::new(answer).poll(cx) {
                    return Poll::Ready(answer.unwrap_or(Err(CallError::Lost("the node stops".into()))));
                }
                limit.as_mut().poll(cx).map(|()| Err(CallError::TimedOut))
            }
        }
    }
}

impl<E: Env> fmt::Debug for Calling<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Calling")
    }
}
