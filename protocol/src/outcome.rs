//! Every answer, by kind.

use crate::error::ErrorReply;
use crate::key::{Compacted, Deleted, Exists, KeyExtended, NotFound, NotSet, Page, Set, Value};
use crate::lock::{Acquired, Held, LockExtended, LockState, NotHeld, NotOwner, Released};
use crate::macros::bodies;
use crate::meta::{Done, Map, Replacement, Status};
use crate::sequence::{
    Allocated, Exhausted, SequenceCreated, SequenceDeleted, SequenceExists, SequenceNotFound, SequenceState,
};

bodies! {
    /// What a request came to. Refusals are data; only `Error` says that nothing was decided.
    owned Outcome;
    /// An outcome's body, validated, in the buffer it came in.
    borrowed OutcomeRef;
    /// `lock acquire`.
    0x8101 => Acquired(Acquired),
    /// `lock acquire`.
    0x8102 => Held(Held),
    /// `lock extend`.
    0x8103 => LockExtended(LockExtended),
    /// `lock extend`, `release`, `info`.
    0x8104 => NotHeld(NotHeld),
    /// `lock extend`, `release`.
    0x8105 => NotOwner(NotOwner),
    /// `lock release`.
    0x8106 => Released(Released),
    /// `lock info`.
    0x8107 => LockState(LockState),
    /// `set`.
    0x8201 => Set(Set),
    /// `set`, `delete`.
    0x8202 => NotSet(NotSet),
    /// `get`.
    0x8203 => Value(Value),
    /// `exists`.
    0x8204 => Exists(Exists),
    /// `get`, `exists`, `delete`, `extend`, `persist`.
    0x8205 => NotFound(NotFound),
    /// `delete`.
    0x8206 => Deleted(Deleted),
    /// `extend`, `persist`.
    0x8207 => KeyExtended(KeyExtended),
    /// `scan`.
    0x8208 => Page(Page),
    /// `get`, `exists`, `scan` at a revision or time that is gone.
    0x8209 => Compacted(Compacted),
    /// `seq create`.
    0x8301 => SequenceCreated(SequenceCreated),
    /// `seq create`.
    0x8302 => SequenceExists(SequenceExists),
    /// `seq next`, `reserve`.
    0x8303 => Allocated(Allocated),
    /// `seq get`.
    0x8304 => SequenceState(SequenceState),
    /// `seq del`.
    0x8305 => SequenceDeleted(SequenceDeleted),
    /// Any but `create`.
    0x8306 => SequenceNotFound(SequenceNotFound),
    /// `seq next`, `reserve`.
    0x8307 => Exhausted(Exhausted),
    /// The map.
    0x8401 => Map(Map),
    /// A node's state.
    0x8402 => Status(Status),
    /// A command of the system.
    0x8501 => Done(Done),
    /// `ReplaceReplica`.
    0x8502 => Replacement(Replacement),
    /// Nothing was decided, or a duplicate was refused.
    0x8f01 => Error(ErrorReply),
}
