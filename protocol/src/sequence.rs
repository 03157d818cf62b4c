//! Sequences: requests and outcomes.

use rkyv::{Archive, Deserialize, Serialize};

use crate::Limits;
use crate::error::ErrorReply;
use crate::limits::MAX_OWNER_BYTES;
use crate::validate::{above_zero, at_most, bad, name};

/// Creates a sequence. The first value drawn is `initial + increment`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceCreate {
    /// Name of the sequence, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// What counts as drawn already.
    pub initial: i64,
    /// The step, not 0; a negative one counts down.
    pub increment: i64,
    /// The last value that may be drawn (the lowest one for a negative step).
    pub max: Option<i64>,
}

impl ArchivedSequenceCreate {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        if self.increment.to_native() == 0 {
            return Err(bad("increment is 0; it must be above or below 0".to_owned()));
        }
        Ok(())
    }
}

/// Draws the next value.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceNext {
    /// Name of the sequence, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// 0..=256 bytes; empty for none. A repeat within 10 minutes returns the first allocation.
    pub idempotency_key: Vec<u8>,
}

impl ArchivedSequenceNext {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        at_most("idempotency_key", self.idempotency_key.len(), MAX_OWNER_BYTES)
    }
}

/// Draws `count` values in one piece.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceReserve {
    /// Name of the sequence, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// How many, above 0.
    pub count: u64,
    /// 0..=256 bytes; empty for none. A repeat within 10 minutes returns the first allocation.
    pub idempotency_key: Vec<u8>,
}

impl ArchivedSequenceReserve {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        above_zero("count", self.count.to_native())?;
        at_most("idempotency_key", self.idempotency_key.len(), MAX_OWNER_BYTES)
    }
}

/// Reads a sequence without drawing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceGet {
    /// Name of the sequence, 1 to 1,024 bytes.
    pub name: Vec<u8>,
}

impl ArchivedSequenceGet {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)
    }
}

/// Removes a sequence. Created again, it has a higher incarnation.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceDelete {
    /// Name of the sequence, 1 to 1,024 bytes.
    pub name: Vec<u8>,
}

impl ArchivedSequenceDelete {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)
    }
}

/// The sequence exists now and did not before.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceCreated {
    /// Rises with every creation of the name and every restore.
    pub incarnation: u64,
}

/// The name is taken: nothing was changed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceExists {
    /// The existing sequence's incarnation.
    pub incarnation: u64,
    /// The last value drawn, or its `initial`.
    pub value: i64,
}

/// Values that are the asker's alone: `start`, `start + increment`, .. `end`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Allocated {
    /// (incarnation, value) never comes twice.
    pub incarnation: u64,
    /// First value drawn; the lowest one unless the step is negative.
    pub start: i64,
    /// The last value, included.
    pub end: i64,
    /// How many.
    pub count: u64,
}

/// A sequence as it stands.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceState {
    /// Rises each time a sequence of this name is created.
    pub incarnation: u64,
    /// The last value drawn, or its `initial`.
    pub value: i64,
    /// Difference between one value and the next, never 0; negative counts down.
    pub increment: i64,
    /// Bound that no value goes beyond; `None` for the ends of i64.
    pub max: Option<i64>,
}

/// The sequence is gone.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceDeleted {
    /// The incarnation that ended.
    pub incarnation: u64,
}

/// No such sequence.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct SequenceNotFound {
    /// The incarnation of the last one of this name, or the partition's floor.
    pub last_incarnation: u64,
}

/// The allocation would go beyond `max` or the ends of i64: nothing was consumed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Exhausted {
    /// Incarnation of the sequence that is used up.
    pub incarnation: u64,
    /// The last value drawn, or its `initial`.
    pub value: i64,
    /// How many values are left.
    pub remaining: u64,
}
