//! Every request, by kind, with what it can be answered: made from the table of [`operations!`](crate::operations!).

use crate::error::ErrorReply;
use crate::outcome::OutcomeBody;
use crate::{Limits, Outcome, Position, answer, bodies, macros};

/// What the dispatch does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Goes through the log.
    Write,
    /// Is answered from a replica's state.
    Read,
    /// Is answered by the node itself.
    Node,
    /// Never accepted from a client.
    System,
}

/// The body of a request.
pub trait RequestBody: Into<Request> {
    /// Frame kind of the request.
    const KIND: u16;
    /// What decides it.
    const CLASS: Class;
    /// Whether its answer can be long: see [`OutcomeBody::BULKY`].
    const BULKY: bool;
    /// What it can be answered, other than an error. The conversion back gives any other outcome back.
    type Answer: Into<Outcome> + TryFrom<Outcome, Error = Box<Outcome>>;
}

/// A validated body, in its receive buffer.
pub trait ArchivedBody {
    /// The type that this is the archived form of.
    type Body: RequestBody;
}

/// What the operation with this archived body can be answered, other than an error.
pub type AnswerOf<Archived> = <<Archived as ArchivedBody>::Body as RequestBody>::Answer;

macro_rules! class {
    (write) => {
        Class::Write
    };
    (read) => {
        Class::Read
    };
    (node) => {
        Class::Node
    };
    (system) => {
        Class::System
    };
}

macro_rules! grows {
    (grows) => {
        true
    };
    (keeps) => {
        false
    };
}

macro_rules! place {
    ($body:ident start) => {
        $body.start()
    };
    ($body:ident $field:ident) => {
        Position::of_name(&$body.$field)
    };
}

macro_rules! requests {
    (
        operations { $(
            $kind:literal $Body:ident: $class:ident {
                $room:ident at $place:ident -> $Answer:ident $({ $($_outcome:ident),+ })?
            };
        )+ }
        others { $( $other_kind:literal $Other:ident: $other_class:ident { $OtherAnswer:ident }; )+ }
    ) => {
        macros::bodies! {
            /// A request's body in owned form.
            owned Request;
            /// A request's body, validated, in its receive buffer.
            borrowed RequestRef;
            $(
                #[doc = concat!("An operation: ", stringify!($class), ".")]
                $kind => $Body(bodies::$Body),
            )+
            $(
                #[doc = concat!("Of the ", stringify!($other_class), ".")]
                $other_kind => $Other(bodies::$Other),
            )+
        }

        /// What one data partition decides, about one name or bucket.
        #[derive(Clone, Copy, Debug)]
        pub enum OperationRef<'a> { $(
            #[doc = concat!("See [`", stringify!($Body), "`](bodies::", stringify!($Body), ").")]
            $Body(&'a rkyv::Archived<bodies::$Body>),
        )+ }

        $(
            impl RequestBody for bodies::$Body {
                const KIND: u16 = $kind;
                const CLASS: Class = class!($class);
                const BULKY: bool = answer::$Answer::BULKY;
                type Answer = answer::$Answer;
            }

            impl ArchivedBody for rkyv::Archived<bodies::$Body> {
                type Body = bodies::$Body;
            }
        )+

        $(
            impl RequestBody for bodies::$Other {
                const KIND: u16 = $other_kind;
                const CLASS: Class = class!($other_class);
                const BULKY: bool = <bodies::$OtherAnswer as OutcomeBody>::BULKY;
                type Answer = bodies::$OtherAnswer;
            }

            impl ArchivedBody for rkyv::Archived<bodies::$Other> {
                type Body = bodies::$Other;
            }
        )+

        impl<'a> RequestRef<'a> {
            /// How this request is served.
            pub fn class(&self) -> Class {
                match self {
                    $( Self::$Body(_) => <bodies::$Body as RequestBody>::CLASS, )+
                    $( Self::$Other(_) => <bodies::$Other as RequestBody>::CLASS, )+
                }
            }

            /// The operation that it is, if it is one.
            pub fn operation(&self) -> Option<OperationRef<'a>> {
                match *self {
                    $( Self::$Body(body) => Some(OperationRef::$Body(body)), )+
                    $( Self::$Other(_) )|+ => None,
                }
            }
        }

        impl Request {
            /// Whether the answer to a request of this kind can be long, see [`OutcomeBody::BULKY`]; a kind that is in no
            /// table has none.
            pub fn is_bulky(kind: u16) -> bool {
                match kind {
                    $( $kind => <bodies::$Body as RequestBody>::BULKY, )+
                    $( $other_kind => <bodies::$Other as RequestBody>::BULKY, )+
                    _ => false,
                }
            }
        }

        impl OperationRef<'_> {
            /// Whether it is refused while the disk is full. Operations that shrink the state or keep its size are not refused.
            pub fn grows(&self) -> bool {
                match self { $( Self::$Body(_) => grows!($room), )+ }
            }

            /// Where it goes: the bound before its name, or for a scan the bound at which its page starts.
            pub fn position(&self) -> Position {
                match self { $( Self::$Body(body) => place!(body $place), )+ }
            }

            /// Checks every argument.
            ///
            /// # Errors
            /// `BadRequest`, or `TooLarge` for a value over `max_value_bytes`: the text names the field, its value and the
            /// limit.
            pub fn check(&self, limits: &Limits) -> Result<(), ErrorReply> {
                match self { $( Self::$Body(body) => body.check(limits), )+ }
            }
        }
    };
}

crate::operations!(requests);

impl RequestRef<'_> {
    /// Whether it is refused while the disk is full: see [`OperationRef::grows`]. Requests of the system itself are not
    /// refused.
    pub fn grows(&self) -> bool {
        self.operation().is_some_and(|operation| operation.grows())
    }

    /// Where it goes: see [`OperationRef::position`]. `None` for what no data partition owns.
    pub fn route(&self) -> Option<Position> {
        self.operation().map(|operation| operation.position())
    }

    /// Checks the arguments: see [`OperationRef::check`].
    ///
    /// # Errors
    /// Those of the operation.
    pub fn check(&self, limits: &Limits) -> Result<(), ErrorReply> {
        self.operation().map_or(Ok(()), |operation| operation.check(limits))
    }
}
