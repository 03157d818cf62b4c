//! What each operation can be answered, as a type: made from the table of [`operations!`](crate::operations!).

use crate::outcome::OutcomeBody;
use crate::{Outcome, bodies};

/// An answer type: one variant per outcome.
macro_rules! answer {
    ($Answer:ident { $($Outcome:ident),+ }) => {
        #[doc = concat!("What an operation comes to, other than an error:" $(, " [`", stringify!($Outcome), "`](bodies::", stringify!($Outcome), ")")+, ".")]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Answer { $(
            #[doc = concat!("See [`", stringify!($Outcome), "`](bodies::", stringify!($Outcome), ").")]
            $Outcome(bodies::$Outcome),
        )+ }

        impl $Answer {
            pub(crate) const BULKY: bool = $(<bodies::$Outcome as OutcomeBody>::BULKY)||+;
        }

        impl From<$Answer> for Outcome {
            fn from(answer: $Answer) -> Self {
                match answer { $( $Answer::$Outcome(body) => Self::$Outcome(body), )+ }
            }
        }

        impl TryFrom<Outcome> for $Answer {
            type Error = Box<Outcome>;

            fn try_from(outcome: Outcome) -> Result<Self, Box<Outcome>> {
                match outcome {
                    $( Outcome::$Outcome(body) => Ok(Self::$Outcome(body)), )+
                    other => Err(Box::new(other)),
                }
            }
        }

        $( impl From<bodies::$Outcome> for $Answer {
            fn from(body: bodies::$Outcome) -> Self {
                Self::$Outcome(body)
            }
        } )+
    };
}

macro_rules! answers {
    (
        operations { $(
            $_kind:literal $_Body:ident: $_class:ident {
                $_room:ident at $_place:ident -> $Answer:ident $({ $($Outcome:ident),+ })?
            };
        )+ }
        others { $($_others:tt)+ }
    ) => {
        $( $( answer! { $Answer { $($Outcome),+ } } )? )+
    };
}

crate::operations!(answers);
