//! Requests with the answers they can have.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kahuna_protocol::key::{
    Compacted, Deleted, Exists, KeyDelete, KeyExists, KeyExtend, KeyExtended, KeyGet, KeyPersist, KeyScan, KeySet,
    NotFound, NotSet, Page, Set, Value,
};
use kahuna_protocol::lock::{
    Acquired, Held, LockAcquire, LockExtend, LockExtended, LockInfo, LockRelease, LockState, NotHeld, NotOwner,
    Released,
};
use kahuna_protocol::meta::{Map, MapGet, Status, StatusGet};
use kahuna_protocol::sequence::{
    Allocated, Exhausted, SequenceCreate, SequenceCreated, SequenceDelete, SequenceDeleted, SequenceExists,
    SequenceGet, SequenceNext, SequenceNotFound, SequenceReserve, SequenceState,
};
use kahuna_protocol::{Hlc, Outcome, Request};

use crate::core::Reply;
use crate::{ClientError, Clock};

/// A request whose answers are known.
pub trait Call: Into<Request> {
    /// What it can come to.
    type Answer;

    /// Makes the answer of a reply; `clock` is the one whose times the reply holds.
    ///
    /// # Errors
    /// `Protocol` for an outcome that this request cannot have.
    fn answer(reply: Reply, clock: &Clock) -> Result<Self::Answer, ClientError>;
}

macro_rules! answers {
    ($( $(#[$meta:meta])* $($Request:ident),+ => $Answer:ident $variants:tt )+) => { $(
        answer_type! { $(#[$meta])* $Answer $variants }
        $( answer_of! { $Request $Answer $variants } )+
    )+ };
}

macro_rules! answer_type {
    ($(#[$meta:meta])* $Answer:ident { $( $Variant:ident ),+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Answer { $(
            #[doc = concat!("See [`", stringify!($Variant), "`].")]
            $Variant($Variant),
        )+ }

        impl From<$Answer> for Outcome {
            fn from(answer: $Answer) -> Self {
                match answer { $( $Answer::$Variant(body) => Self::$Variant(body), )+ }
            }
        }
    };
}

macro_rules! answer_of {
    ($Request:ident $Answer:ident { $( $Variant:ident ),+ }) => {
        impl Call for $Request {
            type Answer = $Answer;

            fn answer(reply: Reply, _: &Clock) -> Result<$Answer, ClientError> {
                match reply.outcome {
                    $( Outcome::$Variant(body) => Ok($Answer::$Variant(body)), )+
                    other => Err(misfit(stringify!($Request), &other)),
                }
            }
        }
    };
}

answers! {
    /// What `lock release` comes to.
    LockRelease => ReleaseAnswer { Released, NotHeld, NotOwner }
    /// What `lock info` comes to.
    LockInfo => InfoAnswer { LockState, NotHeld }
    /// What `set` comes to.
    KeySet => SetAnswer { Set, NotSet }
    /// What `get` comes to.
    KeyGet => GetAnswer { Value, NotFound, Compacted }
    /// What `exists` comes to.
    KeyExists => ExistsAnswer { Exists, NotFound, Compacted }
    /// What `delete` comes to.
    KeyDelete => DeleteAnswer { Deleted, NotFound, NotSet }
    /// What `extend` and `persist` of a key come to.
    KeyExtend, KeyPersist => KeyExtendAnswer { KeyExtended, NotFound }
    /// What one page of a `scan` comes to.
    KeyScan => ScanAnswer { Page, Compacted }
    /// What `seq create` comes to.
    SequenceCreate => CreateAnswer { SequenceCreated, SequenceExists }
    /// What `seq next` and `seq reserve` come to.
    SequenceNext, SequenceReserve => AllocateAnswer { Allocated, Exhausted, SequenceNotFound }
    /// What `seq get` comes to.
    SequenceGet => SequenceAnswer { SequenceState, SequenceNotFound }
    /// What `seq del` comes to.
    SequenceDelete => SequenceDeleteAnswer { SequenceDeleted, SequenceNotFound }
}

/// Until when the holder of a lock may rely on it, whatever the cluster does. It counts from the sending of the
/// request, by two clocks: the one stops while the machine sleeps, the other may be set.
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

/// What `lock acquire` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquireAnswer {
    /// The lock is the asker's, now or already.
    Acquired(Grant),
    /// Somebody else holds it.
    Held(Held),
}

/// What `lock extend` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockExtendAnswer {
    /// The deadline was moved.
    Extended(Grant),
    /// Nobody holds it.
    NotHeld(NotHeld),
    /// Somebody else holds it.
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
        match reply.outcome {
            Outcome::Acquired(Acquired { token, deadline_ms }) => {
                Ok(AcquireAnswer::Acquired(Grant { token, deadline_ms, safe }))
            }
            Outcome::Held(held) => Ok(AcquireAnswer::Held(held)),
            other => Err(misfit("LockAcquire", &other)),
        }
    }
}

impl Call for LockExtend {
    type Answer = LockExtendAnswer;

    fn answer(reply: Reply, clock: &Clock) -> Result<LockExtendAnswer, ClientError> {
        let safe = SafeDeadline::new(&reply, clock);
        match reply.outcome {
            Outcome::LockExtended(LockExtended { token, deadline_ms }) => {
                Ok(LockExtendAnswer::Extended(Grant { token, deadline_ms, safe }))
            }
            Outcome::NotHeld(body) => Ok(LockExtendAnswer::NotHeld(body)),
            Outcome::NotOwner(body) => Ok(LockExtendAnswer::NotOwner(body)),
            other => Err(misfit("LockExtend", &other)),
        }
    }
}

impl Call for MapGet {
    type Answer = Map;

    fn answer(reply: Reply, _: &Clock) -> Result<Map, ClientError> {
        match reply.outcome {
            Outcome::Map(map) => Ok(map),
            other => Err(misfit("MapGet", &other)),
        }
    }
}

impl Call for StatusGet {
    type Answer = Status;

    fn answer(reply: Reply, _: &Clock) -> Result<Status, ClientError> {
        match reply.outcome {
            Outcome::Status(status) => Ok(status),
            other => Err(misfit("StatusGet", &other)),
        }
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

fn misfit(request: &str, outcome: &Outcome) -> ClientError {
    let name = Outcome::kind_name(outcome.kind()).unwrap_or("an unknown kind");
    ClientError::Protocol(format!("{name} in answer to {request}"))
}
