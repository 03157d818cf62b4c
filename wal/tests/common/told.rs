//! What a log was given and what it acknowledged, held against what a recovery finds.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use kahuna_wal::{GroupId, GroupLog, Record, Recovered};

use super::Rng;
use super::model::{apply, random_record};

pub type Groups = BTreeMap<GroupId, GroupLog>;

/// Everything appended in one life of a log, in order, and how much of it was acknowledged.
#[derive(Default)]
pub struct Told {
    base: Groups,
    now: RefCell<Groups>,
    appended: RefCell<Vec<(GroupId, Record)>>,
    acknowledged: Cell<usize>,
}

impl Told {
    /// Goes on from what was recovered.
    pub fn after(recovered: &Recovered) -> Self {
        let base = recovered.groups.clone();
        Self { now: base.clone().into(), base, ..Self::default() }
    }

    /// Draws something for `group` to append, and notes it; returns it and how many there are now.
    pub fn draw(&self, rng: &mut Rng, group: GroupId) -> (Record, usize) {
        let record = random_record(rng, self.now.borrow().get(&group));
        (record.clone(), self.append(group, &record))
    }

    /// Notes an append; returns how many there are now.
    pub fn append(&self, group: GroupId, record: &Record) -> usize {
        apply(&mut self.now.borrow_mut(), group, record);
        self.appended.borrow_mut().push((group, record.clone()));
        self.appended.borrow().len()
    }

    /// All up to this count is acknowledged.
    pub fn acknowledge(&self, upto: usize) {
        assert!(self.acknowledged.replace(upto) <= upto, "acknowledged in order");
    }

    /// How many appends are acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.get()
    }

    /// How many appends `found` is the outcome of: all that were acknowledged, and perhaps more in their order.
    pub fn expect(&self, found: &Groups, context: &str) -> usize {
        let appended = self.appended.borrow();
        let acknowledged = self.acknowledged.get();
        let mut state = self.base.clone();
        for count in 0..=appended.len() {
            if count >= acknowledged && state == *found {
                return count;
            }
            if let Some((group, record)) = appended.get(count) {
                apply(&mut state, *group, record);
            }
        }
        panic!("{context}: not the state after {acknowledged} to {} appends: {found:#?}", appended.len());
    }
}
