//! Locks: requests and outcomes.

use rkyv::{Archive, Deserialize, Serialize};

use crate::Limits;
use crate::error::ErrorReply;
use crate::validate::{above_zero, name, owner};

/// Takes the lock, or finds it taken.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockAcquire {
    /// Name of the lock, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// Who holds it afterwards, 1..=256 bytes.
    pub owner: Vec<u8>,
    /// How long the grant lasts, in milliseconds, above 0.
    pub ttl_ms: u64,
    /// How long to queue for it, in milliseconds; 0 answers at once.
    pub wait_ms: u64,
}

impl ArchivedLockAcquire {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        owner(&self.owner)?;
        above_zero("ttl_ms", self.ttl_ms.to_native())
    }
}

/// Sets the deadline of a held lock to now + ttl.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockExtend {
    /// Name of the lock, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// Owner that must hold the lock, 1 to 256 bytes.
    pub owner: Vec<u8>,
    /// The new ttl in milliseconds, above 0.
    pub ttl_ms: u64,
}

impl ArchivedLockExtend {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        owner(&self.owner)?;
        above_zero("ttl_ms", self.ttl_ms.to_native())
    }
}

/// Gives a held lock back.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockRelease {
    /// Name of the lock, 1 to 1,024 bytes.
    pub name: Vec<u8>,
    /// Owner that must hold the lock, 1 to 256 bytes.
    pub owner: Vec<u8>,
}

impl ArchivedLockRelease {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)?;
        owner(&self.owner)
    }
}

/// Asks who holds a lock.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockInfo {
    /// Name of the lock, 1 to 1,024 bytes.
    pub name: Vec<u8>,
}

impl ArchivedLockInfo {
    pub(crate) fn check(&self, _: &Limits) -> Result<(), ErrorReply> {
        name("name", &self.name)
    }
}

/// The lock is the asker's, now or already.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Acquired {
    /// The fencing token of this grant.
    pub token: u64,
    /// Unix milliseconds (HLC) at which the lease ends.
    pub deadline_ms: u64,
}

/// Another owner holds the lock.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Held {
    /// Owner that holds the lock, as it was given to `LockAcquire`.
    pub owner: Vec<u8>,
    /// Fencing token of the current grant.
    pub token: u64,
    /// How long the holder's lease still runs by machine time, in milliseconds.
    pub remaining_ms: u64,
}

/// The deadline was moved.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockExtended {
    /// The grant's token, unchanged.
    pub token: u64,
    /// The new deadline, Unix milliseconds.
    pub deadline_ms: u64,
}

/// The lock is free.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NotHeld {
    /// The token of the last grant of this name, or the partition's floor.
    pub last_token: u64,
}

/// Another owner holds the lock: the asker can neither extend nor release it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct NotOwner {
    /// Owner that holds the lock, as it was given to `LockAcquire`.
    pub owner: Vec<u8>,
    /// Fencing token of the current grant.
    pub token: u64,
}

/// The lock is free.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Released {
    /// The token of the grant that ended.
    pub token: u64,
}

/// Who holds the lock.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LockState {
    /// Owner that holds the lock, as it was given to `LockAcquire`.
    pub owner: Vec<u8>,
    /// Fencing token of the current grant.
    pub token: u64,
    /// When the lease ends, Unix milliseconds.
    pub deadline_ms: u64,
    /// How many wait for it.
    pub waiters: u32,
}
