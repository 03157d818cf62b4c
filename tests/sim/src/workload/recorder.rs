//! What all processes saw.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use kahuna_protocol::Outcome as Answer;

use super::{cuts::Bucket, named::Named, reliance::Reliance};
use crate::{
    check::{ClockBounds, Datum, Event, Fence, KeyLife, Kind, Outcome, Revisions},
    finding::{Finding, Judge},
};

/// An operation that is not over yet.
#[derive(Debug, Clone)]
pub struct Open {
    /// What was asked.
    pub invoked: Event,
    /// When, on the boot clock.
    pub at: Duration,
}

/// The history of a run, and what is noticed while it is written.
#[derive(Debug, Default)]
pub struct Recorder {
    events: RefCell<Vec<Event>>,
    problems: RefCell<Vec<Finding>>,
    open: RefCell<BTreeMap<u64, Open>>,
    acks: Rc<Cell<u64>>,
    /// The client's own promise.
    pub(super) reliance: RefCell<Reliance>,
    /// Keys with a time to live.
    pub(super) lives: RefCell<Named<KeyLife>>,
    /// Buckets that are scanned.
    pub(super) buckets: RefCell<Named<Bucket>>,
    /// Locks that guard a key of their name.
    pub(super) fences: RefCell<Named<Fence>>,
    /// What was seen of the revisions of keys.
    pub(super) revisions: RefCell<Revisions>,
    /// Operations that begin from now on must be answered within the bound.
    pub(super) demand: Cell<Option<Duration>>,
    pub(super) demanded: Cell<u64>,
    pub(super) duplicates: Cell<u64>,
}

impl Recorder {
    /// Takes note of something that must not be.
    pub fn problem(&self, judge: Judge, text: String) {
        self.find(Finding::new(judge, text));
    }

    pub(super) fn find(&self, finding: Finding) {
        self.problems.borrow_mut().push(finding);
    }

    /// What must not be and was, if clocks are as good as that.
    pub fn problems(&self, clocks: ClockBounds) -> Vec<Finding> {
        let found = |judge, name: &str, texts: Vec<String>| {
            texts.into_iter().map(|text| Finding::new(judge, format!("{name:?}: {text}"))).collect::<Vec<_>>()
        };
        let mut all = self.problems.borrow().clone();
        for (name, life) in self.lives.borrow().iter() {
            all.extend(found(Judge::Expiry, name, life.breaches(clocks)));
        }
        for (name, bucket) in self.buckets.borrow().iter() {
            all.extend(found(Judge::Cut, name, bucket.breaches()));
        }
        for (name, fence) in self.fences.borrow().iter() {
            all.extend(found(Judge::Fence, name, fence.breaches()));
        }
        all.extend(self.revisions.borrow().breaches().into_iter().map(|text| Finding::new(Judge::Revision, text)));
        all
    }

    /// Keys that were seen to have ended by themselves.
    pub fn ended_keys(&self) -> u64 {
        self.lives.borrow().iter().map(|(_, life)| life.ends_seen()).sum()
    }

    /// Scans of several pages while the bucket was written.
    pub fn scans(&self) -> u64 {
        self.buckets.borrow().iter().map(|(_, bucket)| bucket.scans_amid_writes()).sum()
    }

    /// Reads of the past of keys that were answered.
    pub fn reads_back(&self) -> u64 {
        self.revisions.borrow().reads_back()
    }

    /// Writes that were refused because they carried another token than that of the lock.
    pub fn fenced_writes(&self) -> u64 {
        self.fences.borrow().iter().map(|(_, fence)| fence.refusals()).sum()
    }

    /// An answer that is in no history.
    pub(super) fn count_ack(&self) {
        self.acks.set(self.acks.get() + 1);
    }

    /// All lines so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.borrow().clone()
    }

    /// Answers so far.
    pub fn acks(&self) -> Rc<Cell<u64>> {
        self.acks.clone()
    }

    /// Operations that were sent twice and answered twice.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.get()
    }

    /// Operations that began while an answer was demanded.
    pub fn demanded(&self) -> u64 {
        self.demanded.get()
    }

    /// From now on the cluster is whole: whatever begins must be answered within `bound`.
    pub fn demand_answers(&self, bound: Duration) {
        self.demand.set(Some(bound));
    }

    /// The operations without an end.
    pub fn open(&self) -> Vec<Open> {
        self.open.borrow().values().cloned().collect()
    }

    /// The process is gone: what it asked for last has no end.
    pub fn forget(&self, process: u64) {
        self.open.borrow_mut().remove(&process);
    }

    pub(super) fn begin(&self, invoked: &Event, at: Duration) {
        self.events.borrow_mut().push(invoked.clone());
        self.open.borrow_mut().insert(invoked.process, Open { invoked: invoked.clone(), at });
    }

    pub(super) fn end(&self, completed: Event) {
        self.open.borrow_mut().remove(&completed.process);
        if completed.kind == Kind::Ok {
            self.acks.set(self.acks.get() + 1);
        }
        self.events.borrow_mut().push(completed);
    }
}

/// Says an answer in the history's words; false if it has none for it.
pub(crate) fn fill(event: &mut Event, answer: &Answer) -> bool {
    let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
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
            event.token = (event.op == crate::check::Op::LockInfo).then_some(free.last_token);
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
            if event.op == crate::check::Op::SeqNext {
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
