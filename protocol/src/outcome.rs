//! Every answer, by kind.

use crate::{bodies, macros};

/// Whether an outcome means success, and if not why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was done, or is so.
    Done,
    /// Refused: there is no such thing, or a condition does not hold.
    Unmet,
    /// Refused: another owner or a record of the same name has it.
    Taken,
    /// Not decided, see [`ErrorReply`](bodies::ErrorReply).
    Error,
}

/// The body of an outcome.
pub trait OutcomeBody: Into<Outcome> {
    /// Frame kind of the answer, with the bit [`REPLY`](crate::kinds::REPLY).
    const KIND: u16;
    /// Whether the outcome means success, and if not why.
    const VERDICT: Verdict;
    /// Whether the outcome can be long. Its request changed nothing, so `Busy` may be sent instead.
    const BULKY: bool;
}

macro_rules! verdict {
    (done) => {
        Verdict::Done
    };
    (unmet) => {
        Verdict::Unmet
    };
    (taken) => {
        Verdict::Taken
    };
    (error) => {
        Verdict::Error
    };
}

macro_rules! is_bulky {
    (bulky) => {
        true
    };
    (short) => {
        false
    };
}

/// One row per outcome: its kind, its body, its verdict, and whether it can be long.
macro_rules! outcomes {
    ($( $kind:literal => $Variant:ident($Body:ident) $verdict:ident $length:ident, )+) => {
        macros::bodies! {
            /// Outcome of a request. Refusals are data; only `Error` means that nothing was decided.
            owned Outcome;
            /// An outcome's body, validated, in its receive buffer.
            borrowed OutcomeRef;
            $(
                #[doc = concat!("See [`", stringify!($Body), "`](bodies::", stringify!($Body), ").")]
                $kind => $Variant(bodies::$Body),
            )+
        }

        $(
            impl OutcomeBody for bodies::$Body {
                const KIND: u16 = $kind;
                const VERDICT: Verdict = verdict!($verdict);
                const BULKY: bool = is_bulky!($length);
            }

            impl TryFrom<Outcome> for bodies::$Body {
                type Error = Box<Outcome>;

                fn try_from(outcome: Outcome) -> Result<Self, Box<Outcome>> {
                    match outcome {
                        Outcome::$Variant(body) => Ok(body),
                        other => Err(Box::new(other)),
                    }
                }
            }
        )+

        impl Outcome {
            /// Whether the outcome means success, and if not why.
            pub fn verdict(&self) -> Verdict {
                match self { $( Self::$Variant(_) => <bodies::$Body as OutcomeBody>::VERDICT, )+ }
            }

            /// Whether an outcome of this kind can be long; a kind that is in no table cannot.
            pub fn is_bulky(kind: u16) -> bool {
                match kind { $( $kind => <bodies::$Body as OutcomeBody>::BULKY, )+ _ => false }
            }
        }
    };
}

outcomes! {
    0x8101 => Acquired(Acquired) done short,
    0x8102 => Held(Held) taken short,
    0x8103 => LockExtended(LockExtended) done short,
    0x8104 => NotHeld(NotHeld) unmet short,
    0x8105 => NotOwner(NotOwner) taken short,
    0x8106 => Released(Released) done short,
    0x8107 => LockState(LockState) done short,
    0x8201 => Set(Set) done short,
    0x8202 => NotSet(NotSet) unmet short,
    0x8203 => Value(Value) done bulky,
    0x8204 => Exists(Exists) done short,
    0x8205 => NotFound(NotFound) unmet short,
    0x8206 => Deleted(Deleted) done short,
    0x8207 => KeyExtended(KeyExtended) done short,
    0x8208 => Page(Page) done bulky,
    0x8209 => Compacted(Compacted) unmet short,
    0x8301 => SequenceCreated(SequenceCreated) done short,
    0x8302 => SequenceExists(SequenceExists) unmet short,
    0x8303 => Allocated(Allocated) done short,
    0x8304 => SequenceState(SequenceState) done short,
    0x8305 => SequenceDeleted(SequenceDeleted) done short,
    0x8306 => SequenceNotFound(SequenceNotFound) unmet short,
    0x8307 => Exhausted(Exhausted) unmet short,
    0x8401 => Map(Map) done bulky,
    0x8402 => Status(Status) done bulky,
    0x8501 => Done(Done) done short,
    0x8502 => Replacement(Replacement) done short,
    0x8f01 => Error(ErrorReply) error short,
}
