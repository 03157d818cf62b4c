//! What an argument can be: one check, at the edge and again where a request is applied. The arguments of a request are
//! listed by `check` of its archived body, beside it.
//!
//! A check looks at the request alone, never at data. Every node and every version of this protocol refuses the same
//! requests, so one replica cannot apply a request that another refuses; `limits` are a node's own, so the machine passes
//! [`Limits`] whose value limit is out of reach.

use crate::Limits;
use crate::error::{ErrorCode, ErrorReply};
use crate::limits::{MAX_NAME_BYTES, MAX_OWNER_BYTES};

/// Refuses an argument.
pub(crate) fn bad(text: String) -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, text)
}

/// At most `limit` bytes.
pub(crate) fn at_most(field: &str, length: usize, limit: usize) -> Result<(), ErrorReply> {
    if length > limit {
        return Err(bad(format!("{field} has {length} bytes; at most {limit} are allowed")));
    }
    Ok(())
}

/// A number above 0.
pub(crate) fn above_zero(field: &str, value: u64) -> Result<(), ErrorReply> {
    if value == 0 {
        return Err(bad(format!("{field} is 0; it must be above 0")));
    }
    Ok(())
}

/// A name: 1 to [`MAX_NAME_BYTES`] bytes of text.
pub(crate) fn name(field: &str, name: &[u8]) -> Result<(), ErrorReply> {
    if name.is_empty() {
        return Err(bad(format!("{field} is empty; it must have 1 to {MAX_NAME_BYTES} bytes")));
    }
    text(field, name)
}

/// A name, a key space or a prefix that may be empty: bounded, UTF-8, without NUL.
pub(crate) fn text(field: &str, bytes: &[u8]) -> Result<(), ErrorReply> {
    at_most(field, bytes.len(), MAX_NAME_BYTES)?;
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(bad(format!("{field} holds a NUL at byte {at}; none is allowed")));
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(bad(format!("{field} is not UTF-8 from byte {} on", error.valid_up_to())));
    }
    Ok(())
}

/// A lock's owner: 1 to [`MAX_OWNER_BYTES`] bytes.
pub(crate) fn owner(owner: &[u8]) -> Result<(), ErrorReply> {
    if owner.is_empty() {
        return Err(bad(format!("owner is empty; it must have 1 to {MAX_OWNER_BYTES} bytes")));
    }
    at_most("owner", owner.len(), MAX_OWNER_BYTES)
}

/// A value: at most `max_value_bytes`.
pub(crate) fn value(field: &str, value: &[u8], limits: &Limits) -> Result<(), ErrorReply> {
    if value.len() as u64 > u64::from(limits.max_value_bytes) {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!(
                "{field} has {} bytes; at most {} are allowed (max_value_bytes)",
                value.len(),
                limits.max_value_bytes
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Condition, KeyDelete, KeyGet, KeyScan, KeySet, LockGuard};
    use crate::lock::{LockAcquire, LockRelease};
    use crate::sequence::{SequenceCreate, SequenceNext, SequenceReserve};
    use crate::{Request, RequestRef};

    fn check(request: impl Into<Request>) -> Result<(), (ErrorCode, String)> {
        let request = request.into();
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let view = RequestRef::access(request.kind(), &body).expect("own archive validates");
        view.check(&Limits::default()).map_err(|reply| (reply.code(), reply.text))
    }

    fn refused(request: impl Into<Request>, field: &str) {
        let (code, text) = check(request).expect_err("out of range");
        assert_eq!(code, ErrorCode::BadRequest, "{text}");
        assert!(text.contains(field), "{text:?} does not name {field}");
    }

    fn acquire(name: &[u8], owner: &[u8], ttl_ms: u64) -> LockAcquire {
        LockAcquire { name: name.to_vec(), owner: owner.to_vec(), ttl_ms, wait_ms: 0 }
    }

    fn set(key: &str, condition: Condition) -> KeySet {
        KeySet { key: key.into(), value: Vec::new(), ttl_ms: None, condition, no_history: false }
    }

    fn scan_of(space: &str, from: &str) -> KeyScan {
        KeyScan {
            space: space.into(),
            from: from.into(),
            after: false,
            prefix: Vec::new(),
            limit: 1,
            as_of: None,
            keys_only: false,
        }
    }

    #[test]
    fn names_and_owners_are_bounded_utf8_without_nul() {
        assert_eq!(check(acquire(&[b'x'; 1024], &[0xff; 256], 1)), Ok(()));
        refused(acquire(b"", b"me", 1), "name");
        refused(acquire(&[b'x'; 1025], b"me", 1), "1025");
        refused(acquire(b"a\0b", b"me", 1), "NUL");
        refused(acquire(b"a\xff", b"me", 1), "UTF-8");
        refused(acquire(b"x", b"", 1), "owner");
        refused(acquire(b"x", &[b'o'; 257], 1), "257");
        refused(LockRelease { name: b"x".to_vec(), owner: Vec::new() }, "owner");
    }

    #[test]
    fn numbers_that_must_not_be_zero_are_refused() {
        refused(acquire(b"x", b"me", 0), "ttl_ms");
        refused(KeySet { ttl_ms: Some(0), ..set("k", Condition::default()) }, "ttl_ms");
        refused(SequenceCreate { name: b"s".to_vec(), initial: 0, increment: 0, max: None }, "increment");
        refused(SequenceReserve { name: b"s".to_vec(), count: 0, idempotency_key: Vec::new() }, "count");
        refused(KeyScan { limit: 0, ..scan_of("a", "") }, "limit");
        refused(SequenceNext { name: b"s".to_vec(), idempotency_key: vec![1; 257] }, "idempotency_key");
    }

    #[test]
    fn contradictory_arguments_are_refused() {
        refused(set("k", Condition { absent: true, present: true, ..Condition::default() }), "absent");
        refused(KeyGet { key: b"k".to_vec(), revision: Some(1), as_of: Some(1) }, "as_of");
        refused(scan_of("a", "b/c"), "from");
        refused(KeyScan { after: true, ..scan_of("a", "") }, "after");
        assert_eq!(check(scan_of("a/b", "a/b/c")), Ok(()));
    }

    #[test]
    fn a_guard_must_name_the_lock_of_the_same_name() {
        let guard =
            |name: &str| Condition { if_lock: Some(LockGuard { name: name.into(), token: 1 }), ..Condition::default() };
        assert_eq!(check(set("k", guard("k"))), Ok(()));
        refused(set("k", guard("other")), "only by the lock of the same name");
        refused(KeyDelete { key: b"k".to_vec(), condition: guard("other") }, "if_lock");
    }

    #[test]
    fn a_value_over_the_limit_is_too_large_by_name() {
        let limit = Limits::default().max_value_bytes as usize;
        let with = |length: usize| KeySet { value: vec![0; length], ..set("k", Condition::default()) };
        assert_eq!(check(with(limit)), Ok(()));
        let (code, text) = check(with(limit + 1)).expect_err("over the limit");
        assert_eq!(code, ErrorCode::TooLarge);
        assert!(text.contains("max_value_bytes"), "{text}");
    }
}
