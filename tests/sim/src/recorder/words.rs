//! The history's words for what the protocol says.

use kahuna_protocol::{Outcome as Answer, Request, key::Condition};

use crate::check::{Datum, Event, Kind, Op, Outcome};

fn text(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The line that says that `process` asks for this; none if a history has no words for it.
pub(crate) fn invocation(process: u64, request: &Request, at_ns: u64) -> Option<Event> {
    let (op, name) = match request {
        Request::KeyGet(get) => (Op::Get, &get.key),
        Request::KeySet(set) if set.condition == Condition::default() => (Op::Set, &set.key),
        Request::KeySet(set) => (Op::Cas, &set.key),
        Request::KeyDelete(delete) => (Op::Delete, &delete.key),
        Request::LockAcquire(acquire) => (Op::LockAcquire, &acquire.name),
        Request::LockExtend(extend) => (Op::LockExtend, &extend.name),
        Request::LockRelease(release) => (Op::LockRelease, &release.name),
        Request::LockInfo(info) => (Op::LockInfo, &info.name),
        Request::SequenceNext(next) => (Op::SeqNext, &next.name),
        Request::SequenceReserve(reserve) => (Op::SeqReserve, &reserve.name),
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

/// Says an answer in the history's words; false if it has none for it.
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
            Outcome::Extended
        }
        Answer::LockState(state) => {
            event.owner = text(&state.owner);
            event.token = Some(state.token);
            Outcome::Held
        }
        // Only `lock info` has a token to say in the history.
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
            if event.op == Op::SeqNext {
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
