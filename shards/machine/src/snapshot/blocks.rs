//! Writing: a frozen state, block by block.

use std::ops::Bound;

use kahuna_protocol::batch::digest;
use kahuna_protocol::{Hlc, Position};

use super::bytes::Writer;
use super::format::{BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockKind, seal};
use super::{head, items};
use crate::state::{DrawKey, Record, SharedMap, State};

/// A machine's state at one moment. It shares everything with the machine that did not change since.
#[derive(Clone, Debug)]
pub struct Frozen {
    state: State,
}

impl Frozen {
    pub(crate) fn new(state: State) -> Self {
        Self { state }
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// The machine's time at that moment.
    pub fn time(&self) -> Hlc {
        self.state.time
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.state.records.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.state.records.is_empty()
    }

    /// The snapshot, from its first block.
    pub fn into_blocks(self) -> Blocks {
        Blocks { state: self.state, cursor: Cursor::Head, number: 0, items: 0, hash: 0 }
    }
}

/// Where the next block starts: what was written last of each part.
#[derive(Debug)]
enum Cursor {
    Head,
    Sessions(Option<u64>),
    Answers(Option<(u64, u64)>),
    Records(Option<Position>),
    /// Inside a key: the version that comes next, counted from the newest.
    Versions(Position, usize),
    Draws(Option<DrawKey>),
    Trailer,
    End,
}

/// A snapshot's blocks in their order, some 64 KiB each, or one value more; made one at a time.
#[derive(Debug)]
pub struct Blocks {
    state: State,
    cursor: Cursor,
    number: u32,
    items: u64,
    /// Over all blocks so far, each seeded with the hash before it.
    hash: u64,
}

impl Blocks {
    /// The hash that the trailer holds: of everything in the state.
    pub(crate) fn hash_all(mut self) -> u64 {
        while !matches!(self.cursor, Cursor::Trailer | Cursor::End) {
            self.next();
        }
        self.hash
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    fn fill(&mut self, writer: &mut Writer) {
        let mut items = 0;
        while writer.len() < BLOCK_HEADER_BYTES + BLOCK_BYTES {
            self.cursor = match &self.cursor {
                Cursor::Sessions(last) => match after(&self.state.sessions, last.as_ref()) {
                    None => Cursor::Answers(None),
                    Some((&id, session)) => {
                        items += 1;
                        items::write_session(id, session, writer);
                        Cursor::Sessions(Some(id))
                    }
                },
                Cursor::Answers(last) => match after(&self.state.answers, last.as_ref()) {
                    None => Cursor::Records(None),
                    Some((&key, answer)) => {
                        items += 1;
                        items::write_answer(key, answer, writer);
                        Cursor::Answers(Some(key))
                    }
                },
                Cursor::Records(last) => match after(&self.state.records, last.as_ref()) {
                    None => Cursor::Draws(None),
                    Some((position, record)) => {
                        items += 1;
                        write_record(position, record, writer)
                    }
                },
                Cursor::Versions(position, next) => match self.state.key(position).and_then(|key| key.version(*next)) {
                    None => Cursor::Records(Some(position.clone())),
                    Some(version) => {
                        items += 1;
                        items::write_version(version, writer);
                        Cursor::Versions(position.clone(), next + 1)
                    }
                },
                Cursor::Draws(last) => match after(&self.state.draws, last.as_ref()) {
                    None => Cursor::Trailer,
                    Some((key, draw)) => {
                        items += 1;
                        items::write_draw(key, draw, writer);
                        Cursor::Draws(Some(key.clone()))
                    }
                },
                Cursor::Head | Cursor::Trailer | Cursor::End => break,
            };
        }
        self.items += items;
    }
}

impl Iterator for Blocks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let number = self.number;
        let block = match self.cursor {
            Cursor::End => return None,
            Cursor::Head => {
                self.cursor = Cursor::Sessions(None);
                seal(number, BlockKind::Head, |writer| head::write(&self.state, writer))
            }
            Cursor::Trailer => {
                self.cursor = Cursor::End;
                seal(number, BlockKind::Trailer, |writer| {
                    writer.u64(self.items);
                    writer.u64(self.hash);
                })
            }
            _ => seal(number, BlockKind::Items, |writer| self.fill(writer)),
        };
        self.number += 1;
        if !matches!(self.cursor, Cursor::End) {
            self.hash = digest(self.hash, &block);
        }
        Some(block)
    }
}

fn write_record(position: &Position, record: &Record, writer: &mut Writer) -> Cursor {
    match record {
        Record::Key(_) => {
            items::write_key(position, writer);
            return Cursor::Versions(position.clone(), 0);
        }
        Record::Lock(lock) => items::write_lock(position, lock, writer),
        Record::Sequence(sequence) => items::write_sequence(position, sequence, writer),
    }
    Cursor::Records(Some(position.clone()))
}

/// The first entry behind `last`, or the first of all.
fn after<'a, K: Ord, V>(map: &'a SharedMap<K, V>, last: Option<&K>) -> Option<(&'a K, &'a V)> {
    match last {
        None => map.get_min().map(|(key, value)| (key, value)),
        Some(last) => map.range::<_, K>((Bound::Excluded(last), Bound::Unbounded)).next(),
    }
}
