//! Keys: requests and outcomes.

use rkyv::{Archive, Deserialize, Serialize};

use crate::error::ErrorReply;
use crate::limits::MAX_NAME_BYTES;
use crate::position::key_space;
use crate::validate::{above_zero, at_most, bad, name, text, value};
use crate::{Limits, Position};

/// A lock that must be held with this token for a write to apply.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockGuard {
    /// Name of the lock, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// Fencing token of the grant that must be current.
    pub token: u64,
}

/// What must hold for a write to apply; everything named must.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Condition {
    /// The key must not exist.
    pub absent: bool,
    /// The key must exist.
    pub present: bool,
    /// The key must exist with exactly this value.
    pub value: Option<Vec<u8>>,
    /// The key must be at this revision; 0 means that it must not exist.
    pub revision: Option<u64>,
    /// A lock must be held.
    pub if_lock: Option<LockGuard>,
}

impl ArchivedCondition {
    fn check(&self, key: &[u8], limits: &Limits) -> Result<(), ErrorReply> {
        if self.absent && self.present {
            return Err(bad("condition asks for absent and for present; no key is both".to_owned()));
        }
        if let Some(expected) = self.value.as_ref() {
            value("condition.value", expected, limits)?;
        }
        if let Some(guard) = self.if_lock.as_ref() {
            name("if_lock.name", &guard.name)?;
            if guard.name[..] != *key {
                return Err(bad(format!(
                    "if_lock names {:?} and the key is {:?}; a write can be guarded only by the lock of the same name",
                    String::from_utf8_lossy(&guard.name),
                    String::from_utf8_lossy(key)
                )));
            }
        }
        Ok(())
    }
}

/// Writes a key.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeySet {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The whole new value, at most `max_value_bytes`; empty is a value.
    pub value: Vec<u8>,
    /// Time to live in milliseconds, above 0; `None` clears an earlier one.
    pub ttl_ms: Option<u64>,
    /// What must hold.
    pub condition: Condition,
    /// The revision that this write replaces need not be kept.
    pub no_history: bool,
}

impl ArchivedKeySet {
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        value("value", &self.value, limits)?;
        if let Some(ttl_ms) = self.ttl_ms.as_ref() {
            above_zero("ttl_ms", ttl_ms.to_native())?;
        }
        self.condition.check(&self.key, limits)
    }
}

/// Reads a key.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyGet {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The revision wanted; the newest one if absent.
    pub revision: Option<u64>,
    /// The HLC stamp as of which to read; now if absent. Not together with `revision`.
    pub as_of: Option<u64>,
}

impl ArchivedKeyGet {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        one_point(self.revision.is_some(), self.as_of.is_some())
    }
}

/// Reads whether a key exists, without its value.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyExists {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The revision wanted; the newest one if absent.
    pub revision: Option<u64>,
    /// The HLC stamp as of which to read; now if absent. Not together with `revision`.
    pub as_of: Option<u64>,
}

impl ArchivedKeyExists {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        one_point(self.revision.is_some(), self.as_of.is_some())
    }
}

fn one_point(revision: bool, as_of: bool) -> Result<(), ErrorReply> {
    if revision && as_of {
        return Err(bad("revision and as_of are both given; at most one is allowed".to_owned()));
    }
    Ok(())
}

/// Removes a key.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyDelete {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// What must hold.
    pub condition: Condition,
}

impl ArchivedKeyDelete {
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        self.condition.check(&self.key, limits)
    }
}

/// Sets the deadline of an existing key to now + ttl; its revision stays.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyExtend {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The new ttl in milliseconds, above 0.
    pub ttl_ms: u64,
}

impl ArchivedKeyExtend {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        above_zero("ttl_ms", self.ttl_ms.to_native())
    }
}

/// Removes a key's ttl; its revision stays.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyPersist {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
}

impl ArchivedKeyPersist {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)
    }
}

/// Reads one page of one bucket, in name order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyScan {
    /// The bucket: what stands before the last `/` of its names.
    pub space: Vec<u8>,
    /// The page starts at this name, included; empty for the bucket's first.
    pub from: Vec<u8>,
    /// The page starts behind `from`, which was the last name of the page before.
    pub after: bool,
    /// Only names that start with this; empty for all.
    pub prefix: Vec<u8>,
    /// At most this many, above 0; a page is also bounded in bytes.
    pub limit: u32,
    /// The HLC stamp of the first page, so that all pages are one cut; absent for the first.
    pub as_of: Option<u64>,
    /// Leave the values out.
    pub keys_only: bool,
}

impl ArchivedKeyScan {
    /// The bound at which the page starts.
    pub(crate) fn start(&self) -> Position {
        match (&self.from[..], self.after) {
            (b"", _) => Position::of_space(&self.space),
            (from, true) => Position::after_name(from),
            (from, false) => Position::of_name(from),
        }
    }

    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        text("space", &self.space)?;
        at_most("prefix", self.prefix.len(), MAX_NAME_BYTES)?;
        if self.limit.to_native() == 0 {
            return Err(bad("limit is 0; it must be above 0".to_owned()));
        }
        if !self.from.is_empty() {
            name("from", &self.from)?;
            if key_space(&self.from) != &self.space[..] {
                return Err(bad(format!(
                    "from is {:?}, which is not a name of the key space {:?}",
                    String::from_utf8_lossy(&self.from),
                    String::from_utf8_lossy(&self.space)
                )));
            }
        } else if self.after {
            return Err(bad("after is set and from is empty; give the name to start behind".to_owned()));
        }
        Ok(())
    }
}

/// The longest value that an append makes, in bytes. Part of what replicas agree on.
pub const MAX_APPENDED_BYTES: usize = 1 << 20;

/// Writes a key's value with more bytes behind it, and keeps the key's deadline; a key that does not exist begins empty. What
/// would be longer than [`MAX_APPENDED_BYTES`] is `TooLarge`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyAppend {
    /// Name of the key, 1 to 1,024 bytes.
    pub key: Vec<u8>,
    /// The bytes to append.
    pub suffix: Vec<u8>,
    /// What must hold.
    pub condition: Condition,
    /// The revision that this write replaces need not be kept.
    pub no_history: bool,
}

impl ArchivedKeyAppend {
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), ErrorReply> {
        name("key", &self.key)?;
        value("suffix", &self.suffix, limits)?;
        self.condition.check(&self.key, limits)
    }
}

/// Written.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Set {
    /// The revision that this write made.
    pub revision: u64,
}

/// Why a write did not apply.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
#[repr(u8)]
pub enum Unmet {
    /// The key exists and must not.
    Present,
    /// The key does not exist and must.
    Absent,
    /// Its value is another one.
    Value,
    /// Its revision is another one.
    Revision,
    /// The lock is not held with that token.
    Lock,
}

/// A condition did not hold: nothing was changed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NotSet {
    /// The key's revision: the record's, its tombstone's, or the floor.
    pub revision: u64,
    /// Which condition.
    pub why: Unmet,
}

/// Outcome of `KeyGet`: the key has this value at the revision asked for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Value {
    /// Whole value; may be empty.
    pub value: Vec<u8>,
    /// Revision of the write that made the value.
    pub revision: u64,
    /// The HLC stamp of the write.
    pub modified: u64,
    /// When the key ends, Unix milliseconds.
    pub deadline_ms: Option<u64>,
}

/// Outcome of `KeyExists`: the key has a value at the revision asked for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Exists {
    /// Revision of the write that made the value.
    pub revision: u64,
    /// The HLC stamp of the write.
    pub modified: u64,
    /// When the key ends, Unix milliseconds.
    pub deadline_ms: Option<u64>,
}

/// No such key.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NotFound {
    /// The tombstone's revision, or the floor.
    pub revision: u64,
}

/// Removed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Deleted {
    /// Revision of the tombstone, above that of the value it ends.
    pub revision: u64,
}

/// The key's deadline was moved or removed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct KeyExtended {
    /// The key's revision, unchanged.
    pub revision: u64,
    /// The new deadline, Unix milliseconds; none after `persist`.
    pub deadline_ms: Option<u64>,
}

/// One line of a page.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct PageItem {
    /// Name of the key, in ascending order over the page.
    pub key: Vec<u8>,
    /// Its value; empty when only keys were asked for.
    pub value: Vec<u8>,
    /// Revision of the write that made the value.
    pub revision: u64,
    /// The HLC stamp of the write.
    pub modified: u64,
    /// When the key ends, Unix milliseconds.
    pub deadline_ms: Option<u64>,
}

/// One page of a scan.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Page {
    /// In name order.
    pub items: Vec<PageItem>,
    /// There is more: ask again `after` the last key, or `after` this name when the page is empty.
    pub more: Option<Vec<u8>>,
    /// The HLC stamp as of which the page was read; the next page must carry it.
    pub as_of: u64,
}

/// The revision or time asked for is not kept any more.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Compacted {
    /// The oldest revision that is.
    pub oldest: u64,
}
