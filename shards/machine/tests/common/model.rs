//! What the machine should do, said as plainly as possible: everything is kept, everything is searched from the start.
//! It collects no dead records, so it is right for runs shorter than the time they stay.

use std::collections::BTreeMap;

use kahuna_protocol::key::{Condition, Deleted, KeyDelete, KeyExtended, KeySet, NotFound, NotSet, Set, Unmet};
use kahuna_protocol::lock::{Acquired, Held, LockExtended, NotHeld, NotOwner, Released};
use kahuna_protocol::meta::Done;
use kahuna_protocol::sequence::{
    Allocated, Exhausted, SequenceCreated, SequenceDeleted, SequenceExists, SequenceNotFound,
};
use kahuna_protocol::{ErrorCode, ErrorReply, Hlc, Outcome, Request, RequestPrelude, SessionId};

use super::SKEW_MS;

const GRACE_MS: u64 = 60_000;
const KEPT: usize = 16;

pub struct Version {
    pub revision: u64,
    pub value: Option<Vec<u8>>,
    pub stamp: Hlc,
    pub deadline_ms: Option<u64>,
    pub kept: bool,
}

impl Version {
    pub fn live(&self, ms: u64) -> bool {
        self.value.is_some() && self.deadline_ms.is_none_or(|deadline_ms| ms <= deadline_ms + SKEW_MS)
    }
}

pub struct Lock {
    pub owner: Vec<u8>,
    pub token: u64,
    pub deadline_ms: u64,
    pub released: bool,
}

impl Lock {
    pub fn held(&self, ms: u64) -> bool {
        !self.released && ms <= self.deadline_ms + SKEW_MS
    }
}

pub struct Sequence {
    pub incarnation: u64,
    pub value: i64,
    pub increment: i64,
    pub max: i64,
    draws: BTreeMap<Vec<u8>, (Allocated, u64)>,
}

struct Answer {
    request: Request,
    outcome: Outcome,
    expiry_ms: u64,
}

#[derive(Default)]
struct Session {
    acknowledged: u64,
    answers: BTreeMap<u64, Answer>,
    expiry_ms: u64,
}

#[derive(Default)]
pub struct Model {
    pub time: Hlc,
    pub keys: BTreeMap<Vec<u8>, Vec<Version>>,
    pub locks: BTreeMap<Vec<u8>, Lock>,
    pub sequences: BTreeMap<Vec<u8>, Sequence>,
    incarnation_floor: u64,
    sessions: BTreeMap<SessionId, Session>,
}

fn error(code: ErrorCode) -> Outcome {
    ErrorReply::new(code, "").into()
}

impl Model {
    /// Applies one command; errors come without text.
    pub fn apply(&mut self, batch_ms: u64, prelude: RequestPrelude, request: &Request) -> Outcome {
        self.time = Hlc::from_millis(batch_ms).max(Hlc(self.time.0 + 1));
        let ms = self.time.millis();
        let outcome = self.once(prelude, request, ms);
        if let Some(session) = self.sessions.get_mut(&prelude.session) {
            session.acknowledged = session.acknowledged.max(prelude.acknowledged);
            session.answers.retain(|&number, _| number >= session.acknowledged);
        }
        for session in self.sessions.values_mut() {
            session.answers.retain(|_, answer| ms <= answer.expiry_ms);
        }
        self.sessions.retain(|_, session| !session.answers.is_empty() || ms <= session.expiry_ms);
        outcome
    }

    fn once(&mut self, prelude: RequestPrelude, request: &Request, ms: u64) -> Outcome {
        let RequestPrelude { session: id, number, valid_until_ms, .. } = prelude;
        if id == SessionId(0) {
            return self.decide(request, ms);
        }
        if let Some(session) = self.sessions.get(&id) {
            match session.answers.get(&number) {
                Some(answer) if answer.request == *request => return answer.outcome.clone(),
                Some(_) => return error(ErrorCode::Conflict),
                None if number < session.acknowledged => return error(ErrorCode::Forgotten),
                None => {}
            }
        }
        let expiry_ms = valid_until_ms + GRACE_MS;
        if ms > expiry_ms {
            return error(ErrorCode::Forgotten);
        }
        if ms > valid_until_ms {
            return error(ErrorCode::Expired);
        }
        let outcome = self.decide(request, ms);
        let session = self.sessions.entry(id).or_default();
        session.expiry_ms = session.expiry_ms.max(expiry_ms);
        session.answers.insert(number, Answer { request: request.clone(), outcome: outcome.clone(), expiry_ms });
        outcome
    }

    fn decide(&mut self, request: &Request, ms: u64) -> Outcome {
        match request {
            Request::KeySet(body) => self.set(body, ms),
            Request::KeyDelete(body) => self.delete(body, ms),
            Request::KeyExtend(body) => self.move_deadline(&body.key, Some(ms + body.ttl_ms), ms),
            Request::KeyPersist(body) => self.move_deadline(&body.key, None, ms),
            Request::LockAcquire(body) => self.acquire(&body.name, &body.owner, ms + body.ttl_ms, ms),
            Request::LockExtend(body) => self.held_by(&body.name, &body.owner, ms).map_or_else(
                |other| other,
                |lock| {
                    lock.deadline_ms = ms + body.ttl_ms;
                    LockExtended { token: lock.token, deadline_ms: lock.deadline_ms }.into()
                },
            ),
            Request::LockRelease(body) => self.held_by(&body.name, &body.owner, ms).map_or_else(
                |other| other,
                |lock| {
                    lock.released = true;
                    Released { token: lock.token }.into()
                },
            ),
            Request::SequenceCreate(body) => {
                if let Some(Sequence { incarnation, value, .. }) = self.sequences.get(&body.name) {
                    return SequenceExists { incarnation: *incarnation, value: *value }.into();
                }
                let incarnation = self.incarnation_floor + 1;
                let max = body.max.expect("the workload gives one");
                let (value, increment) = (body.initial, body.increment);
                let sequence = Sequence { incarnation, value, increment, max, draws: BTreeMap::new() };
                self.sequences.insert(body.name.clone(), sequence);
                SequenceCreated { incarnation }.into()
            }
            Request::SequenceNext(body) => self.draw(&body.name, 1, &body.idempotency_key, ms),
            Request::SequenceReserve(body) => self.draw(&body.name, body.count, &body.idempotency_key, ms),
            Request::SequenceDelete(body) => match self.sequences.remove(&body.name) {
                None => SequenceNotFound { last_incarnation: self.incarnation_floor }.into(),
                Some(Sequence { incarnation, .. }) => {
                    self.incarnation_floor = self.incarnation_floor.max(incarnation);
                    SequenceDeleted { incarnation }.into()
                }
            },
            Request::Tick(_) => Done {}.into(),
            other => panic!("the workload makes no {other:?}"),
        }
    }

    fn unmet(&self, name: &[u8], condition: &Condition, ms: u64) -> Option<Unmet> {
        let newest = self.keys.get(name).and_then(|versions| versions.last());
        let live = newest.filter(|version| version.live(ms));
        let guard_fails = condition.if_lock.as_ref().is_some_and(|guard| {
            !self.locks.get(&guard.name).is_some_and(|lock| lock.held(ms) && lock.token == guard.token)
        });
        let revision = live.map_or(0, |version| version.revision);
        let checks = [
            (guard_fails, Unmet::Lock),
            (condition.absent && live.is_some(), Unmet::Present),
            (condition.present && live.is_none(), Unmet::Absent),
            (condition.revision.is_some_and(|wanted| wanted != revision), Unmet::Revision),
            (
                condition.value.is_some()
                    && live.and_then(|version| version.value.as_ref()) != condition.value.as_ref(),
                Unmet::Value,
            ),
        ];
        checks.into_iter().find(|(fails, _)| *fails).map(|(_, why)| why)
    }

    fn revision(&self, name: &[u8]) -> u64 {
        self.keys.get(name).and_then(|versions| versions.last()).map_or(0, |version| version.revision)
    }

    fn set(&mut self, body: &KeySet, ms: u64) -> Outcome {
        let revision = self.revision(&body.key);
        if let Some(why) = self.unmet(&body.key, &body.condition, ms) {
            return NotSet { revision, why }.into();
        }
        self.push(&body.key, Some(body.value.clone()), body.ttl_ms.map(|ttl_ms| ms + ttl_ms), body.no_history);
        Set { revision: revision + 1 }.into()
    }

    fn delete(&mut self, body: &KeyDelete, ms: u64) -> Outcome {
        let revision = self.revision(&body.key);
        let live =
            self.keys.get(&body.key).and_then(|versions| versions.last()).is_some_and(|version| version.live(ms));
        match self.unmet(&body.key, &body.condition, ms) {
            Some(why) if live || why == Unmet::Lock => NotSet { revision, why }.into(),
            _ if !live => NotFound { revision }.into(),
            _ => {
                self.push(&body.key, None, None, false);
                Deleted { revision: revision + 1 }.into()
            }
        }
    }

    fn push(&mut self, name: &[u8], value: Option<Vec<u8>>, deadline_ms: Option<u64>, no_history: bool) {
        let (revision, stamp) = (self.revision(name) + 1, self.time);
        let versions = self.keys.entry(name.to_vec()).or_default();
        if no_history && let Some(replaced) = versions.last_mut() {
            replaced.kept = false;
        }
        versions.push(Version { revision, value, stamp, deadline_ms, kept: true });
        let kept = versions.iter().filter(|version| version.kept).count();
        let excess = versions.iter_mut().filter(|version| version.kept).take(kept.saturating_sub(KEPT));
        excess.for_each(|version| version.kept = false);
    }

    fn move_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>, ms: u64) -> Outcome {
        let revision = self.revision(name);
        match self.keys.get_mut(name).and_then(|versions| versions.last_mut()) {
            Some(version) if version.live(ms) => {
                version.deadline_ms = deadline_ms;
                KeyExtended { revision, deadline_ms }.into()
            }
            _ => NotFound { revision }.into(),
        }
    }

    fn acquire(&mut self, name: &[u8], owner: &[u8], deadline_ms: u64, ms: u64) -> Outcome {
        let before = self.locks.get(name);
        if let Some(lock) = before.filter(|lock| lock.held(ms)) {
            let token = lock.token;
            return if lock.owner == owner {
                Acquired { token, deadline_ms: lock.deadline_ms }.into()
            } else {
                let remaining_ms = lock.deadline_ms.saturating_sub(ms);
                Held { owner: lock.owner.clone(), token, remaining_ms }.into()
            };
        }
        let token = before.map_or(0, |lock| lock.token) + 1;
        self.locks.insert(name.to_vec(), Lock { owner: owner.to_vec(), token, deadline_ms, released: false });
        Acquired { token, deadline_ms }.into()
    }

    #[allow(clippy::result_large_err)] // an outcome is what the callers return
    fn held_by(&mut self, name: &[u8], owner: &[u8], ms: u64) -> Result<&mut Lock, Outcome> {
        match self.locks.get_mut(name) {
            None => Err(NotHeld { last_token: 0 }.into()),
            Some(lock) if !lock.held(ms) => Err(NotHeld { last_token: lock.token }.into()),
            Some(lock) if lock.owner != owner => Err(NotOwner { owner: lock.owner.clone(), token: lock.token }.into()),
            Some(lock) => Ok(lock),
        }
    }

    fn draw(&mut self, name: &[u8], count: u64, key: &[u8], ms: u64) -> Outcome {
        let Some(sequence) = self.sequences.get_mut(name) else {
            return SequenceNotFound { last_incarnation: self.incarnation_floor }.into();
        };
        if let Some((first, expiry_ms)) = sequence.draws.get(key)
            && ms <= *expiry_ms
        {
            return if first.count == count { first.clone().into() } else { error(ErrorCode::Conflict) };
        }
        let &mut Sequence { incarnation, value, increment, max, .. } = sequence;
        let end = value + increment * count as i64;
        if end > max {
            let remaining = ((max - value) / increment).max(0) as u64;
            return Exhausted { incarnation, value, remaining }.into();
        }
        sequence.value = end;
        let drawn = Allocated { incarnation, start: value + increment, end, count };
        if !key.is_empty() {
            sequence.draws.insert(key.to_vec(), (drawn.clone(), ms + 600_000));
        }
        drawn.into()
    }
}
