//! The one way to change a record: the index of ends follows.

use std::rc::Rc;

use kahuna_protocol::Position;

use crate::Machine;
use crate::state::{Key, Lock, Record, Sequence, in_epoch, next_number};

impl Machine {
    /// Puts a record where none is.
    pub(super) fn insert(&mut self, position: Position, record: Record) {
        let end = record.end_ms(self.state.skew_ms());
        self.index.move_ending(&position, None, end);
        let before = self.state.records.insert(position, record);
        debug_assert!(before.is_none(), "a record was overwritten without its end");
    }

    /// Changes a record where one is. Whether there was one.
    fn edit(&mut self, position: &Position, change: impl FnOnce(&mut Record)) -> bool {
        let skew_ms = self.state.skew_ms();
        let Some(record) = self.state.records.get_mut(position) else { return false };
        let from = record.end_ms(skew_ms);
        change(record);
        let to = record.end_ms(skew_ms);
        self.index.move_ending(position, from, to);
        true
    }

    /// Changes the key at `position`; it must be there.
    pub(super) fn edit_key(&mut self, position: &Position, change: impl FnOnce(&mut Key)) {
        let there = self.edit(position, |record| {
            if let Record::Key(key) = record {
                change(Rc::make_mut(key));
            }
        });
        debug_assert!(there, "no key at {position:?}");
    }

    /// Changes the lock at `position`; it must be there.
    pub(super) fn edit_lock(&mut self, position: &Position, change: impl FnOnce(&mut Lock)) {
        let there = self.edit(position, |record| {
            if let Record::Lock(lock) = record {
                change(Rc::make_mut(lock));
            }
        });
        debug_assert!(there, "no lock at {position:?}");
    }

    /// Changes the sequence at `position`; it must be there.
    pub(super) fn edit_sequence(&mut self, position: &Position, change: impl FnOnce(&mut Sequence)) {
        let there = self.edit(position, |record| {
            if let Record::Sequence(sequence) = record {
                change(Rc::make_mut(sequence));
            }
        });
        debug_assert!(there, "no sequence at {position:?}");
    }

    /// Removes a record and raises the floor of its kind to its number.
    pub(super) fn collect(&mut self, position: &Position) {
        let Some(record) = self.state.records.remove(position) else { return };
        self.index.move_ending(position, record.end_ms(self.state.skew_ms()), None);
        let floors = &mut self.state.floors;
        match record {
            Record::Key(key) => floors.revision = floors.revision.max(key.newest().revision),
            Record::Lock(lock) => floors.token = floors.token.max(lock.token),
            Record::Sequence(sequence) => {
                let incarnation = in_epoch(sequence.incarnation, self.state.settings.restore_epoch);
                floors.incarnation = floors.incarnation.max(incarnation);
            }
        }
    }

    /// What is said of a name that is not there, and last had the number `last`: in a restored partition a higher one may
    /// have been minted and lost.
    pub(crate) fn last_number(&self, last: u64) -> u64 {
        in_epoch(last, self.state.settings.restore_epoch)
    }

    /// The number after `last`.
    pub(super) fn number_after(&self, last: u64) -> u64 {
        next_number(last, self.state.settings.restore_epoch)
    }
}
