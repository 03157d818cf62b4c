//! A short notation for histories: what was asked, what was answered, and when.

use kahuna_sim::check::{Datum, Event, Kind, Op, Outcome};

/// One operation: when it was invoked, when and how it ended.
#[derive(Clone)]
pub struct Line {
    pub invoke: Event,
    pub end: Option<Event>,
}

/// An operation that nobody has invoked yet; [`Asked::ok`] and its like put it on the time line.
pub struct Asked(Event);

impl Asked {
    fn new(op: Op, key: &str) -> Self {
        Self(Event::new(0, Kind::Invoke, op, key, 0))
    }

    pub fn with(mut self, set: impl FnOnce(&mut Event)) -> Self {
        set(&mut self.0);
        self
    }

    fn ended(mut self, from: u64, kind: Kind, to: u64, answer: impl FnOnce(&mut Event)) -> Line {
        self.0.at_ns = from;
        let mut end = self.0.completion(kind, to);
        answer(&mut end);
        Line { invoke: self.0, end: Some(end) }
    }

    /// Answered: invoked at `from`, returned at `to`, with the fields that `answer` sets.
    pub fn ok(self, from: u64, to: u64, answer: impl FnOnce(&mut Event)) -> Line {
        self.ended(from, Kind::Ok, to, answer)
    }

    pub fn fail(self, from: u64, to: u64) -> Line {
        self.ended(from, Kind::Fail, to, |_| ())
    }

    pub fn info(self, from: u64, to: u64) -> Line {
        self.ended(from, Kind::Info, to, |_| ())
    }

    /// The history ends before the operation does.
    pub fn cut_off(mut self, from: u64) -> Line {
        self.0.at_ns = from;
        Line { invoke: self.0, end: None }
    }
}

pub fn get(key: &str) -> Asked {
    Asked::new(Op::KeyGet, key)
}

pub fn set(key: &str, value: &str) -> Asked {
    Asked::new(Op::KeySet, key).with(|event| event.value = Some(Datum::Text(value.into())))
}

pub fn cas(key: &str, value: &str, condition: impl FnOnce(&mut Event)) -> Asked {
    Asked::new(Op::Cas, key).with(|event| event.value = Some(Datum::Text(value.into()))).with(condition)
}

pub fn delete(key: &str) -> Asked {
    Asked::new(Op::KeyDelete, key)
}

pub fn lock(op: Op, name: &str, owner: &str) -> Asked {
    Asked::new(op, name).with(|event| event.owner = Some(owner.into()))
}

pub fn acquire(name: &str, owner: &str) -> Asked {
    lock(Op::LockAcquire, name, owner)
}

pub fn release(name: &str, owner: &str) -> Asked {
    lock(Op::LockRelease, name, owner)
}

pub fn next(name: &str) -> Asked {
    Asked::new(Op::SequenceNext, name)
}

pub fn reserve(name: &str, count: u64) -> Asked {
    Asked::new(Op::SequenceReserve, name).with(|event| event.count = Some(count))
}

/// An answer that carries a revision.
pub fn at(outcome: Outcome, revision: u64) -> impl FnOnce(&mut Event) {
    move |event| {
        event.outcome = Some(outcome);
        event.revision = Some(revision);
    }
}

/// An answer that carries nothing.
pub fn bare(outcome: Outcome) -> impl FnOnce(&mut Event) {
    move |event| event.outcome = Some(outcome)
}

pub fn saw(value: &str, revision: u64) -> impl FnOnce(&mut Event) {
    let value = Datum::Text(value.into());
    move |event| {
        event.outcome = Some(Outcome::Value);
        event.value = Some(value);
        event.revision = Some(revision);
    }
}

pub fn saw_value(value: &str) -> impl FnOnce(&mut Event) {
    let value = Datum::Text(value.into());
    move |event| {
        event.outcome = Some(Outcome::Value);
        event.value = Some(value);
    }
}

pub fn token(outcome: Outcome, token: u64) -> impl FnOnce(&mut Event) {
    move |event| {
        event.outcome = Some(outcome);
        event.token = Some(token);
    }
}

pub fn holder(outcome: Outcome, owner: &str, token: u64) -> impl FnOnce(&mut Event) {
    let owner = owner.to_owned();
    move |event| {
        event.outcome = Some(outcome);
        event.owner = Some(owner);
        event.token = Some(token);
    }
}

pub fn drew(value: i64) -> impl FnOnce(&mut Event) {
    move |event| {
        event.outcome = Some(Outcome::Next);
        event.value = Some(Datum::Integer(value));
    }
}

pub fn reserved(start: i64, end: i64) -> impl FnOnce(&mut Event) {
    move |event| {
        event.outcome = Some(Outcome::Reserved);
        event.start = Some(start);
        event.end = Some(end);
    }
}

/// The events of these operations, each of a process of its own, in order of time.
pub fn events(lines: &[Line]) -> Vec<Event> {
    let mut events = Vec::new();
    for (process, line) in lines.iter().enumerate() {
        for mut event in [Some(line.invoke.clone()), line.end.clone()].into_iter().flatten() {
            event.process = process as u64;
            events.push(event);
        }
    }
    events.sort_by_key(|event| event.at_ns);
    events
}
