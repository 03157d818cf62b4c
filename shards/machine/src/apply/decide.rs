//! The decision of an operation: a function of the state, of the writes pending in the same command, and of the command.

use kahuna_protocol::batch::{COMMAND_RECLAIM, Command};
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::request::{AnswerOf, ArchivedBody};
use kahuna_protocol::{Outcome, RequestRef};

use super::draft::Draft;

/// Why nothing was decided.
#[derive(Debug)]
pub enum Refused {
    /// It leaves no trace: the request may be repeated under the same number.
    Untraced(ErrorReply),
    /// It is the request's answer, now and for repeats.
    Recorded(ErrorReply),
}

impl From<ErrorReply> for Refused {
    fn from(error: ErrorReply) -> Self {
        Self::Untraced(error)
    }
}

/// How a command is to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// The disk is full: give room free where the request allows it.
    pub reclaim: bool,
}

impl How {
    /// Reads the flags of a command.
    pub fn of(command: &Command<'_>) -> Self {
        Self { reclaim: command.flags & COMMAND_RECLAIM != 0 }
    }
}

/// A request that goes through the log.
pub trait Decide: ArchivedBody {
    /// Adds the operation's writes to the draft, and returns its answer. A refusal adds no writes.
    ///
    /// # Errors
    /// [`Refused`].
    fn decide(&self, draft: &mut Draft<'_>, how: How) -> Result<AnswerOf<Self>, Refused>;
}

macro_rules! decisions {
    ($( $_section:ident { $( $_kind:literal $Body:ident: $class:ident $_end:tt; )+ } )+) => {
        /// Decides a request: see [`Decide`].
        ///
        /// # Errors
        /// [`Refused`]; `BadRequest` for what does not go through the log.
        pub fn decide(request: RequestRef<'_>, draft: &mut Draft<'_>, how: How) -> Result<Outcome, Refused> {
            match request {
                $( $( RequestRef::$Body(body) => decision!($class body draft how), )+ )+
            }
        }
    };
}

macro_rules! decision {
    (write $body:ident $draft:ident $how:ident) => {
        $body.decide($draft, $how).map(Outcome::from)
    };
    (system $body:ident $draft:ident $how:ident) => {
        $body.decide($draft, $how).map(Outcome::from)
    };
    ($class:ident $body:ident $draft:ident $how:ident) => {
        Err(is_read($body))
    };
}

kahuna_protocol::operations!(decisions);

fn is_read<B: ArchivedBody>(_: &B) -> Refused {
    let kind = <B::Body as kahuna_protocol::request::RequestBody>::KIND;
    let text = format!("kind {kind:#06x} is a read: it does not go through the log");
    ErrorReply::new(ErrorCode::BadRequest, text).into()
}
