//! Translates requests and outcomes of the protocol to lines of the history.

use kahuna_protocol::{Outcome as Answer, Request, key::Condition};

use crate::check::{Datum, Event, Kind, Op, Outcome};

fn text(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The line for the invocation of `request` by `process`; `None` if a history has no words for it.
pub(crate) fn invocation(process: u64, request: &Request, at_ns: u64) -> Option<Event> {
    let (op, name) = match request {
        Request::KeyGet(get) => (Op::KeyGet, &get.key),
        Request::KeySet(set) if set.condition == Condition::default() => (Op::KeySet, &set.key),
        Request::KeySet(set) => (Op::Cas, &set.key),
        Request::KeyDelete(delete) => (Op::KeyDelete, &delete.key),
        Request::LockAcquire(acquire) => (Op::LockAcquire, &acquire.name),
        Request::LockExtend(extend) => (Op::LockExtend, &extend.name),
        Request::LockRelease(release) => (Op::LockRelease, &release.name),
        Request::LockInfo(info) => (Op::LockInfo, &info.name),
        Request::SequenceNext(next) => (Op::SequenceNext, &next.name),
        Request::SequenceReserve(reserve) => (Op::SequenceReserve, &reserve.name),
        _ => return None,
    };
    let mut event = Event::new(process, Kind::Invoke, op, String::from_utf8_lossy(name), at_ns);
    match request {
        Request::KeySet(set) => {
            event.value = text(&set.value).map(Datum::Text);
            note(&mut event, &set.condition);
        }
        Request::KeyDelete(delete) => note(&mut event, &delete.condition),
        Request::LockAcquire(acquire) => {
            (event.owner, event.ttl_ms) = (text(&acquire.owner), Some(acquire.ttl_ms));
        }
        Request::LockExtend(extend) => (event.owner, event.ttl_ms) = (text(&extend.owner), Some(extend.ttl_ms)),
        Request::LockRelease(release) => event.owner = text(&release.owner),
        Request::SequenceReserve(reserve) => event.count = Some(reserve.count),
        _ => {}
    }
    Some(event)
}

fn note(event: &mut Event, condition: &Condition) {
    (event.if_absent, event.if_present) = (condition.absent, condition.present);
    event.if_value = condition.value.as_deref().and_then(text);
    event.if_revision = condition.revision;
}

/// Fills an answer into a line of the history; false if the history has no words for it.
pub(crate) fn fill(event: &mut Event, answer: &Answer) -> bool {
    let outcome = match answer {
        Answer::Set(set) => {
            event.revision = Some(set.revision);
            Outcome::Set
        }
        Answer::NotSet(refused) => {
            event.revision = Some(refused.revision);
            Outcome::NotSet
        }
        Answer::Value(value) => {
            event.revision = Some(value.revision);
            event.value = text(&value.value).map(Datum::Text);
            Outcome::Value
        }
        Answer::NotFound(absent) => {
            event.revision = Some(absent.revision);
            Outcome::NotFound
        }
        Answer::Deleted(deleted) => {
            event.revision = Some(deleted.revision);
            Outcome::Deleted
        }
        Answer::Acquired(grant) => {
            event.token = Some(grant.token);
            Outcome::Acquired
        }
        Answer::Held(held) => {
            event.owner = text(&held.owner);
            event.token = Some(held.token);
            Outcome::Held
        }
        Answer::LockExtended(grant) => {
            event.token = Some(grant.token);
            Outcome::LockExtended
        }
        Answer::LockState(state) => {
            event.owner = text(&state.owner);
            event.token = Some(state.token);
            Outcome::Held
        }
        // In the history only `lock info` carries a token.
        Answer::NotHeld(free) => {
            event.token = (event.op == Op::LockInfo).then_some(free.last_token);
            Outcome::NotHeld
        }
        Answer::NotOwner(other) => {
            event.owner = text(&other.owner);
            event.token = Some(other.token);
            Outcome::NotOwner
        }
        Answer::Released(_) => Outcome::Released,
        Answer::Allocated(drawn) => {
            event.incarnation = Some(drawn.incarnation);
            if event.op == Op::SequenceNext {
                event.value = Some(Datum::Integer(drawn.start));
                Outcome::Next
            } else {
                (event.start, event.end) = (Some(drawn.start), Some(drawn.end));
                Outcome::Reserved
            }
        }
        Answer::Exhausted(_) => Outcome::Exhausted,
        Answer::SequenceNotFound(_) => Outcome::NotFound,
        _ => return false,
    };
    event.outcome = Some(outcome);
    true
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::{
        key::{KeyPersist, KeySet, Set},
        lock::LockAcquire,
        sequence::{Allocated, SequenceReserve},
    };

    use super::*;

    fn line(request: impl Into<Request>) -> Option<String> {
        invocation(3, &request.into(), 12).map(|event| event.to_line())
    }

    fn set(condition: Condition) -> KeySet {
        KeySet { key: b"a".into(), value: b"x".into(), ttl_ms: None, condition, no_history: false }
    }

    #[test]
    fn requests_are_said_as_documented() {
        let begin = r#"{"process":3,"type":"invoke","op":"#;
        let said = |rest: &str| Some(format!("{begin}{rest}"));
        assert_eq!(line(set(Condition::default())), said(r#""set","key":"a","at_ns":12,"value":"x"}"#));
        let condition = Condition { value: Some(b"w".into()), present: true, ..Condition::default() };
        let fields = r#""cas","key":"a","at_ns":12,"value":"x","if_value":"w","if_present":true}"#;
        assert_eq!(line(set(condition)), said(fields));
        let acquire = LockAcquire { name: b"l".into(), owner: b"o".into(), ttl_ms: 7, wait_ms: 0 };
        assert_eq!(line(acquire), said(r#""lock_acquire","key":"l","at_ns":12,"owner":"o","ttl_ms":7}"#));
        assert_eq!(line(KeyPersist { key: b"a".into() }), None, "a judge of its own writes that down");
    }

    #[test]
    fn answers_are_said_in_the_words_of_their_requests() {
        let reserve = SequenceReserve { name: b"s".into(), count: 2, idempotency_key: Vec::new() };
        let invoked = invocation(3, &reserve.into(), 12).expect("there are words for it");
        let mut completed = invoked.completion(Kind::Ok, 13);
        assert!(fill(&mut completed, &Allocated { incarnation: 1, start: 5, end: 6, count: 2 }.into()));
        assert_eq!((completed.outcome, completed.start, completed.end), (Some(Outcome::Reserved), Some(5), Some(6)));
        assert!(fill(&mut completed, &Set { revision: 4 }.into()));
        assert_eq!((completed.outcome, completed.revision), (Some(Outcome::Set), Some(4)));
    }
}
