//! Results of a read, and whose time decides.

use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::request::{AnswerOf, ArchivedBody};
use kahuna_protocol::{Hlc, Limits, Outcome, ReadLevel, RequestRef};

use crate::Machine;
use crate::state::is_past;

/// Result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The request is answered from the state as it is.
    Answer(Outcome),
    /// Ask again once machine time has reached this stamp, by a `Tick` or otherwise.
    NeedsTick(Hlc),
}

impl From<Outcome> for Read {
    fn from(outcome: Outcome) -> Self {
        Self::Answer(outcome)
    }
}

/// Why a read has no answer of its own.
#[derive(Clone, Copy, Debug)]
pub enum Miss {
    /// Machine time must reach this stamp first.
    NeedsTick(Hlc),
    /// The time as of which to read is further ahead than clocks may be apart.
    Ahead { by_ms: u64 },
    /// It goes on in another partition, behind a bound that cannot be a cursor. No map with such a bound is taken.
    Uncrossed,
}

impl From<Miss> for Read {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NeedsTick(to) => Self::NeedsTick(to),
            Miss::Ahead { by_ms } => {
                let text = format!("as_of is {by_ms} ms ahead of this node's clock (max_clock_skew_ms)");
                Outcome::from(ErrorReply::new(ErrorCode::BadRequest, text)).into()
            }
            Miss::Uncrossed => {
                let text = "the bucket is cut at a bound that no name tells: a scan cannot go on behind it";
                Outcome::from(ErrorReply::new(ErrorCode::Unsupported, text)).into()
            }
        }
    }
}

/// Whose time decides whether a record is alive.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub skew_ms: u64,
    /// Machine time, or the time as of which is read, in Unix milliseconds.
    pub time_ms: u64,
    /// The wall clock in Unix milliseconds; none where time is given.
    pub clock_ms: Option<u64>,
    pub stale: bool,
}

/// Whether a record with a deadline may be shown.
pub enum Life {
    Live,
    Dead,
    Unclear(Hlc),
}

impl View {
    pub fn life(&self, deadline_ms: u64) -> Life {
        if is_past(deadline_ms, self.skew_ms, self.time_ms) {
            return Life::Dead;
        }
        match self.clock_ms {
            Some(clock_ms) if is_past(deadline_ms, self.skew_ms, clock_ms) => {
                if self.stale {
                    Life::Dead
                } else {
                    Life::Unclear(Hlc::from_millis(clock_ms))
                }
            }
            _ => Life::Live,
        }
    }
}

impl Machine {
    /// Answers a read. `clock_ms` is the wall clock of the replica that answers, in Unix milliseconds. Errors are
    /// answers: `Moved` for what this partition does not own, `BadRequest` for arguments out of range and for what is
    /// no read.
    pub fn read(&self, request: RequestRef<'_>, clock_ms: u64, level: ReadLevel) -> Read {
        if let Some(position) = request.route()
            && !self.owns(&position)
        {
            return Outcome::from(self.state.moved()).into();
        }
        if let Err(refused) = request.check(&Limits::default()) {
            return Outcome::from(refused).into();
        }
        let now = View {
            skew_ms: self.state.skew_ms(),
            time_ms: self.state.time.millis(),
            clock_ms: Some(clock_ms),
            stale: level == ReadLevel::Stale,
        };
        look(request, self, now)
    }
}

/// A request that is answered from a replica's state.
pub trait Look: ArchivedBody {
    /// Its answer.
    ///
    /// # Errors
    /// [`Miss`].
    fn look(&self, machine: &Machine, now: View) -> Result<AnswerOf<Self>, Miss>;
}

macro_rules! look {
    (read $body:ident $machine:ident $now:ident) => {
        $body.look($machine, $now).map_or_else(Read::from, |answer| Outcome::from(answer).into())
    };
    ($class:ident $body:ident $machine:ident $now:ident) => {{
        let _ = $body;
        let error = ErrorReply::new(ErrorCode::BadRequest, "a write is not answered from a replica's state");
        Outcome::from(error).into()
    }};
}

macro_rules! looks {
    ($( $_section:ident { $( $_kind:literal $Body:ident: $class:ident $_end:tt; )+ } )+) => {
        fn look(request: RequestRef<'_>, machine: &Machine, now: View) -> Read {
            match request {
                $( $( RequestRef::$Body(body) => look!($class body machine now), )+ )+
            }
        }
    };
}

kahuna_protocol::operations!(looks);
