//! The one way to change records: what a command decided is written, and the index of ends follows.

use std::rc::Rc;

use kahuna_protocol::Position;

use super::draft::Write;
use super::effects::{Changed, Effects, Interest, Released};
use crate::state::{Draw, DrawKey, Index, Key, Lock, Record, Sequence, State, in_epoch};

/// A machine's state with its indices, to be changed.
pub struct Store<'a> {
    /// What a snapshot holds.
    pub state: &'a mut State,
    /// What follows from it.
    pub index: &'a mut Index,
}

impl Store<'_> {
    /// Carries out the writes of one command, in their order, and notes for `interest` what they bring about.
    pub fn commit(&mut self, writes: &mut Vec<Write>, interest: Interest, effects: &mut Effects) {
        for write in writes.drain(..) {
            match write {
                Write::Version { position, version, keep, fresh } => {
                    if interest.keys {
                        effects.changed.push(Changed { position: position.clone(), revision: version.revision });
                    }
                    if fresh {
                        self.insert(position, Record::Key(Rc::new(Key::new(version))));
                    } else {
                        self.edit_key(&position, |key| key.push(version, keep));
                    }
                }
                Write::Deadline { position, deadline_ms } => {
                    self.edit_key(&position, |key| key.newest_mut().deadline_ms = deadline_ms);
                }
                Write::Forget { position } => self.edit_key(&position, Key::forget_history),
                Write::Lock { position, lock } => {
                    if interest.locks && lock.released_ms.is_some() {
                        effects.released.push(Released { position: position.clone(), token: lock.token });
                    }
                    self.put_lock(position, lock);
                }
                Write::Sequence { position, sequence } => self.put_sequence(position, sequence),
                Write::EndSequence { position, .. } => self.collect(&position),
                Write::Draw { key, draw } => self.keep_draw(key, draw),
                Write::Time(to) => self.state.time = self.state.time.max(to),
                Write::Meta(meta) => {
                    self.state.meta = meta;
                    self.state.meta_version += 1;
                }
            }
        }
    }

    /// Removes a record and raises the floor of its kind to its number.
    pub fn collect(&mut self, position: &Position) {
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

    /// Puts a record where none is.
    fn insert(&mut self, position: Position, record: Record) {
        let end = record.end_ms(self.state.skew_ms());
        self.index.move_ending(&position, None, end);
        let before = self.state.records.insert(position, record);
        assert!(before.is_none(), "a record was overwritten without its end");
    }

    /// Changes a record where one is; the record that is not there otherwise. `change` says whether it is of the right kind.
    fn edit(&mut self, position: &Position, change: impl FnOnce(&mut Record) -> bool) -> bool {
        let skew_ms = self.state.skew_ms();
        let Some(record) = self.state.records.get_mut(position) else { return false };
        let from = record.end_ms(skew_ms);
        let changed = change(record);
        let to = record.end_ms(skew_ms);
        self.index.move_ending(position, from, to);
        assert!(changed, "the record at {position:?} is of another kind");
        true
    }

    /// Changes the key at `position`; it must be there.
    fn edit_key(&mut self, position: &Position, change: impl FnOnce(&mut Key)) {
        let there = self.edit(position, |record| {
            let Record::Key(key) = record else { return false };
            change(Rc::make_mut(key));
            true
        });
        assert!(there, "no key at {position:?}");
    }

    fn put_lock(&mut self, position: Position, new: Lock) {
        let mut new = Some(new);
        let there = self.edit(&position, |record| {
            let Record::Lock(lock) = record else { return false };
            new.take().into_iter().for_each(|new| *Rc::make_mut(lock) = new);
            true
        });
        if let Some(new) = new.filter(|_| !there) {
            self.insert(position, Record::Lock(Rc::new(new)));
        }
    }

    fn put_sequence(&mut self, position: Position, new: Sequence) {
        let mut new = Some(new);
        let there = self.edit(&position, |record| {
            let Record::Sequence(sequence) = record else { return false };
            new.take().into_iter().for_each(|new| *Rc::make_mut(sequence) = new);
            true
        });
        if let Some(new) = new.filter(|_| !there) {
            self.insert(position, Record::Sequence(Rc::new(new)));
        }
    }

    fn keep_draw(&mut self, key: DrawKey, draw: Draw) {
        self.index.draws.insert((draw.expires_ms, key.clone()));
        if let Some(before) = self.state.draws.insert(key.clone(), draw)
            && before.expires_ms != draw.expires_ms
        {
            self.index.draws.remove(&(before.expires_ms, key));
        }
    }
}
