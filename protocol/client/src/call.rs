//! Requests with the answers they can have.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use kahuna_protocol::answer::*;
use kahuna_protocol::lock::{Acquired, Held, LockAcquire, LockExtend, LockExtended, NotHeld, NotOwner};
use kahuna_protocol::request::RequestBody;
use kahuna_protocol::{Hlc, Outcome, Request, answer, bodies};

use crate::core::Reply;
use crate::{ClientError, Clock};

/// A request whose answers are known.
pub trait Call: Into<Request> {
    /// Type of the request's outcomes.
    type Answer;

    /// Makes the answer of a reply; `clock` is the one whose times the reply holds.
    ///
    /// # Errors
    /// `Protocol` for an outcome that this request cannot have.
    fn answer(reply: Reply, clock: &Clock) -> Result<Self::Answer, ClientError>;
}

/// The two requests whose grants carry a safe time have a `Call` of their own, and commands of the system have none.
macro_rules! call {
    (LockAcquire $class:ident) => {};
    (LockExtend $class:ident) => {};
    ($Body:ident system) => {};
    ($Body:ident $class:ident) => {
        impl Call for bodies::$Body {
            type Answer = <Self as RequestBody>::Answer;

            fn answer(reply: Reply, _: &Clock) -> Result<Self::Answer, ClientError> {
                answer_of::<Self>(reply.outcome)
            }
        }
    };
}

macro_rules! calls {
    ($( $_section:ident { $( $_kind:literal $Body:ident: $class:ident $_end:tt; )+ } )+) => {
        $( $( call! { $Body $class } )+ )+
    };
}

kahuna_protocol::operations!(calls);

/// The answer in an outcome.
fn answer_of<B: RequestBody>(outcome: Outcome) -> Result<B::Answer, ClientError> {
    outcome.try_into().map_err(|other: Box<Outcome>| {
        let name = Outcome::kind_name(other.kind()).unwrap_or("an unknown kind");
        let request = Request::kind_name(B::KIND).unwrap_or("an unknown request");
        ClientError::Protocol(format!("{name} in answer to {request}"))
    })
}

/// How long the holder of a lock may rely on it, whatever the cluster does. The time counts from the sending of the
/// request, by two clocks: one stops while the machine sleeps, the other may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SafeDeadline {
    instant: Instant,
    wall: SystemTime,
}

impl SafeDeadline {
    fn new(reply: &Reply, clock: &Clock) -> Self {
        let (sent, until) = (reply.first_sent, reply.safe_until.unwrap_or_default());
        let wall = UNIX_EPOCH + Duration::from_millis(sent.unix_ms) + until.saturating_sub(sent.elapsed);
        Self { instant: clock.instant(until), wall }
    }

    /// How long the lock is still safe to rely on; zero when it is not.
    pub fn remaining(&self) -> Duration {
        let wall = self.wall.duration_since(SystemTime::now()).unwrap_or_default();
        self.instant.saturating_duration_since(Instant::now()).min(wall)
    }
}

/// A lock that is the asker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The fencing token: it rises with every new grant of the name.
    pub token: u64,
    /// When the lease ends, Unix milliseconds by the cluster's clock.
    pub deadline_ms: u64,
    /// Until when the holder may rely on it.
    pub safe: SafeDeadline,
}

/// Outcome of `lock acquire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireAnswer {
    /// The lock is the asker's, now or already.
    Acquired(Grant),
    /// Another owner holds the lock.
    Held(Held),
}

/// Outcome of `lock extend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockExtendAnswer {
    /// The deadline was moved.
    Extended(Grant),
    /// The lock is free.
    NotHeld(NotHeld),
    /// Another owner holds the lock.
    NotOwner(NotOwner),
}

impl From<AcquireAnswer> for Outcome {
    fn from(answer: AcquireAnswer) -> Self {
        match answer {
            AcquireAnswer::Acquired(Grant { token, deadline_ms, .. }) => Acquired { token, deadline_ms }.into(),
            AcquireAnswer::Held(held) => held.into(),
        }
    }
}

impl From<LockExtendAnswer> for Outcome {
    fn from(answer: LockExtendAnswer) -> Self {
        match answer {
            LockExtendAnswer::Extended(Grant { token, deadline_ms, .. }) => LockExtended { token, deadline_ms }.into(),
            LockExtendAnswer::NotHeld(body) => body.into(),
            LockExtendAnswer::NotOwner(body) => body.into(),
        }
    }
}

impl Call for LockAcquire {
    type Answer = AcquireAnswer;

    fn answer(reply: Reply, clock: &Clock) -> Result<AcquireAnswer, ClientError> {
        let safe = SafeDeadline::new(&reply, clock);
        Ok(match answer_of::<Self>(reply.outcome)? {
            answer::AcquireAnswer::Acquired(Acquired { token, deadline_ms }) => {
                AcquireAnswer::Acquired(Grant { token, deadline_ms, safe })
            }
            answer::AcquireAnswer::Held(held) => AcquireAnswer::Held(held),
        })
    }
}

impl Call for LockExtend {
    type Answer = LockExtendAnswer;

    fn answer(reply: Reply, clock: &Clock) -> Result<LockExtendAnswer, ClientError> {
        let safe = SafeDeadline::new(&reply, clock);
        Ok(match answer_of::<Self>(reply.outcome)? {
            answer::LockExtendAnswer::LockExtended(LockExtended { token, deadline_ms }) => {
                LockExtendAnswer::Extended(Grant { token, deadline_ms, safe })
            }
            answer::LockExtendAnswer::NotHeld(body) => LockExtendAnswer::NotHeld(body),
            answer::LockExtendAnswer::NotOwner(body) => LockExtendAnswer::NotOwner(body),
        })
    }
}

/// A request whose answer comes with the time that it was decided by: times in the answer are compared with that one, for this
/// machine's clock may be off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped<C>(pub C);

impl<C: Call> From<Stamped<C>> for Request {
    fn from(stamped: Stamped<C>) -> Self {
        stamped.0.into()
    }
}

impl<C: Call> Call for Stamped<C> {
    type Answer = (C::Answer, Hlc);

    fn answer(reply: Reply, clock: &Clock) -> Result<Self::Answer, ClientError> {
        let stamp = reply.stamp;
        Ok((C::answer(reply, clock)?, stamp))
    }
}
