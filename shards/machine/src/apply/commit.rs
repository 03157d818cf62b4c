//! The one way to change records: what a command decided is written, and the index of ends follows.

use kahuna_protocol::Position;

use super::draft::Write;
use super::effects::{Changed, Effects, Interest, Released};
use crate::state::{Draw, DrawKey, InRecord, Index, Key, State, move_end};

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
                        self.insert(position, Key::new(version));
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
                    self.put(position, lock);
                }
                Write::Sequence { position, sequence } => self.put(position, sequence),
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
        let Some(record) = self.state.rows.records.remove(position) else { return };
        move_end(&mut self.index.records, position, record.end_ms(self.state.skew_ms()), None);
        record.raise_floor(&mut self.state.floors, self.state.settings.restore_epoch);
    }

    /// Puts a record where none is.
    fn insert(&mut self, position: Position, record: impl InRecord) {
        let record = record.into_record();
        move_end(&mut self.index.records, &position, None, record.end_ms(self.state.skew_ms()));
        let before = self.state.rows.records.insert(position, record);
        assert!(before.is_none(), "a record was overwritten without its end");
    }

    /// Changes the record at `position`, if one is there; it must be of this kind. Whether one was.
    fn edit<T: InRecord>(&mut self, position: &Position, change: impl FnOnce(&mut T)) -> bool {
        let skew_ms = self.state.skew_ms();
        let Some(record) = self.state.rows.records.get_mut(position) else { return false };
        let from = record.end_ms(skew_ms);
        change(T::of_mut(record).unwrap_or_else(|| panic!("the record at {position:?} is of another kind")));
        let to = record.end_ms(skew_ms);
        move_end(&mut self.index.records, position, from, to);
        true
    }

    /// Changes the key at `position`; it must be there.
    fn edit_key(&mut self, position: &Position, change: impl FnOnce(&mut Key)) {
        assert!(self.edit(position, change), "no key at {position:?}");
    }

    /// Puts a record in the place of the one that is there, or where none is.
    fn put<T: InRecord>(&mut self, position: Position, new: T) {
        let mut new = Some(new);
        let put = |there: &mut T| new.take().into_iter().for_each(|new| *there = new);
        self.edit(&position, put);
        if let Some(new) = new {
            self.insert(position, new);
        }
    }

    fn keep_draw(&mut self, key: DrawKey, draw: Draw) {
        self.index.draws.insert((draw.expires_ms, key.clone()));
        if let Some(before) = self.state.rows.draws.insert(key.clone(), draw)
            && before.expires_ms != draw.expires_ms
        {
            self.index.draws.remove(&(before.expires_ms, key));
        }
    }
}
