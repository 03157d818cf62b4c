//! Requests as users make them.

use kahuna_protocol::Hlc;
use kahuna_protocol::key::{Condition, KeyDelete, KeyGet, KeyScan, KeySet, LockGuard};
use kahuna_protocol::lock::{LockAcquire, LockExtend, LockInfo, LockRelease};
use kahuna_protocol::sequence::{SequenceCreate, SequenceDelete, SequenceNext, SequenceReserve};

pub fn acquire(name: &str, owner: &str, ttl_ms: u64) -> LockAcquire {
    LockAcquire { name: name.into(), owner: owner.into(), ttl_ms, wait_ms: 0 }
}

pub fn extend_lock(name: &str, owner: &str, ttl_ms: u64) -> LockExtend {
    LockExtend { name: name.into(), owner: owner.into(), ttl_ms }
}

pub fn release(name: &str, owner: &str) -> LockRelease {
    LockRelease { name: name.into(), owner: owner.into() }
}

pub fn info(name: &str) -> LockInfo {
    LockInfo { name: name.into() }
}

pub fn set(key: &str, value: &str) -> KeySet {
    KeySet { key: key.into(), value: value.into(), ttl_ms: None, condition: Condition::default(), no_history: false }
}

pub fn get(key: &str) -> KeyGet {
    KeyGet { key: key.into(), revision: None, as_of: None }
}

pub fn get_revision(key: &str, revision: u64) -> KeyGet {
    KeyGet { revision: Some(revision), ..get(key) }
}

pub fn get_as_of(key: &str, as_of: Hlc) -> KeyGet {
    KeyGet { as_of: Some(as_of.0), ..get(key) }
}

pub fn delete(key: &str) -> KeyDelete {
    KeyDelete { key: key.into(), condition: Condition::default() }
}

pub fn if_lock(name: &str, token: u64) -> Condition {
    Condition { if_lock: Some(LockGuard { name: name.into(), token }), ..Condition::default() }
}

pub fn scan(space: &str, limit: u32) -> KeyScan {
    KeyScan {
        space: space.into(),
        from: Vec::new(),
        after: false,
        prefix: Vec::new(),
        limit,
        as_of: None,
        keys_only: false,
    }
}

pub fn create(name: &str, initial: i64, increment: i64, max: Option<i64>) -> SequenceCreate {
    SequenceCreate { name: name.into(), initial, increment, max }
}

pub fn next(name: &str) -> SequenceNext {
    SequenceNext { name: name.into(), idempotency_key: Vec::new() }
}

pub fn reserve(name: &str, count: u64, key: &str) -> SequenceReserve {
    SequenceReserve { name: name.into(), count, idempotency_key: key.into() }
}

pub fn delete_sequence(name: &str) -> SequenceDelete {
    SequenceDelete { name: name.into() }
}
