//! The closed, numbered list of errors, each with the fate of the request and what to do next.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::NodeId;

/// Fate of the attempt that an error answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// This attempt was not applied and never will be. Earlier attempts under the same number may have been.
    NotApplied,
    /// It may have been applied, or may still be.
    Unknown,
}

/// What follows from an error that denies this attempt for earlier ones under the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// They fared no better: each of them meets the same refusal, or it is proof that none was applied.
    Same,
    /// Nothing: one of them may have been applied.
    Unsaid,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Repeating cannot help.
    Never,
    /// Repeat at the same node, after the reply's `retry_after_ms`.
    SameNode,
    /// Repeat at the node the reply names, or at any other after `retry_after_ms`.
    OtherNode,
}

macro_rules! errors {
    ($( $(#[$meta:meta])* $number:literal $Name:ident $text:literal $fate:ident $earlier:ident $advice:ident ),+ $(,)?) => {
        /// The closed list of errors. Numbers are a format: never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum ErrorCode { $( $(#[$meta])* $Name = $number, )+ }

        impl ErrorCode {
            /// All codes, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$Name),+];

            /// The code with this number.
            pub fn from_number(number: u16) -> Option<Self> {
                match number { $( $number => Some(Self::$Name), )+ _ => None }
            }

            /// The name that JSON output and documentation use.
            pub fn name(self) -> &'static str {
                match self { $( Self::$Name => $text, )+ }
            }

            /// Fate of the answered attempt.
            pub fn fate(self) -> Fate {
                match self { $( Self::$Name => Fate::$fate, )+ }
            }

            /// What follows for earlier attempts under the same number.
            pub fn earlier(self) -> Earlier {
                match self { $( Self::$Name => Earlier::$earlier, )+ }
            }

            /// What to do next.
            pub fn advice(self) -> Advice {
                match self { $( Self::$Name => Advice::$advice, )+ }
            }
        }
    };
}

errors! {
    /// The frame or its body is malformed; the connection closes.
    1 BadFrame "bad_frame" NotApplied Same Never,
    /// No common protocol version.
    2 BadVersion "bad_version" NotApplied Same Never,
    /// An argument is out of its range; the text names it, its value and the limit.
    3 BadRequest "bad_request" NotApplied Unsaid Never,
    /// A size limit; the text names limit, value and setting.
    4 TooLarge "too_large" NotApplied Same Never,
    /// The server does not do this yet.
    5 Unsupported "unsupported" NotApplied Same Never,
    /// The connection belongs to another cluster.
    6 WrongCluster "wrong_cluster" NotApplied Unsaid Never,
    /// Too much in flight here; wait.
    20 Busy "busy" NotApplied Unsaid SameNode,
    /// A memory budget or the session limit is reached.
    21 Overloaded "overloaded" NotApplied Unsaid SameNode,
    /// The node is not part of a running cluster yet.
    22 NotReady "not_ready" NotApplied Unsaid OtherNode,
    /// The group has no leader that this node can reach.
    23 NoLeader "no_leader" NotApplied Unsaid OtherNode,
    /// Another node leads; a request is forwarded only once.
    24 NotLeader "not_leader" NotApplied Unsaid OtherNode,
    /// The partition does not own the name any more: read the map again.
    25 Moved "moved" NotApplied Unsaid OtherNode,
    /// The node stops soon and takes no further requests.
    26 Draining "draining" NotApplied Unsaid OtherNode,
    /// The deadline passed before anything was proposed.
    27 TimedOut "timed_out" NotApplied Unsaid SameNode,
    /// The disk is full, so that what grows is refused; deletes, releases, lock extends and reads go on.
    28 DiskFull "disk_full" NotApplied Unsaid SameNode,
    /// The deadline passed, or the leader was lost, after the request was proposed.
    40 Unknown "unknown" Unknown Unsaid SameNode,
    /// Past `valid_until`: this request was never applied and never will be.
    60 Expired "expired" NotApplied Same Never,
    /// Past the grace: this attempt is not applied, earlier ones are unknown.
    61 Forgotten "forgotten" NotApplied Unsaid Never,
    /// The same (session, number) or idempotency key came with another request.
    62 Conflict "conflict" NotApplied Same Never,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The body of an error frame.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct ErrorReply {
    /// [`ErrorCode`] as a number.
    pub code: u16,
    /// Wait this long before repeating, in milliseconds; 0 for no advice.
    pub retry_after_ms: u32,
    /// The node that leads, if one is known; 0 otherwise.
    pub leader: NodeId,
    /// What, where, how long, and what to do next, for a person.
    pub text: String,
}

impl ErrorReply {
    /// An error without retry hint or leader.
    pub fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code: code as u16, retry_after_ms: 0, leader: NodeId(0), text: text.into() }
    }

    /// The code; a number this side does not know counts as `Unknown`, which promises nothing.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::from_number(self.code).unwrap_or(ErrorCode::Unknown)
    }
}
