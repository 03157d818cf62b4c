//! Writing: a frozen state, block by block.

use std::ops::Bound;
use std::rc::Rc;

use kahuna_protocol::batch::digest;
use kahuna_protocol::{Hlc, Position};

use super::bytes::Writer;
use super::format::{BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockKind, seal};
use super::pack::pack;
use super::{head, items};
use crate::state::{DrawKey, Key, Record, SharedMap, State};

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
            self.next_plain();
        }
        self.hash
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    /// The next block before it is packed.
    fn next_plain(&mut self) -> Option<Vec<u8>> {
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

    /// Writes items until the block is full or there are none left.
    fn fill(&mut self, writer: &mut Writer) {
        let Self { state, items, .. } = self;
        while !is_full(writer) {
            self.cursor = match &self.cursor {
                Cursor::Sessions(last) => {
                    let write = |id: &u64, session: &_, writer: &mut _| items::write_session(*id, session, writer);
                    write_part(&state.sessions, last.as_ref(), writer, items, write)
                        .map_or(Cursor::Answers(None), |last| Cursor::Sessions(Some(last)))
                }
                Cursor::Answers(last) => {
                    let write = |key: &_, answer: &Rc<_>, writer: &mut _| items::write_answer(*key, answer, writer);
                    write_part(&state.answers, last.as_ref(), writer, items, write)
                        .map_or(Cursor::Records(None), |last| Cursor::Answers(Some(last)))
                }
                Cursor::Records(last) => write_records(state, last.as_ref(), writer, items),
                Cursor::Versions(position, next) => {
                    let left = state.key(position).and_then(|key| write_versions(key, *next, writer, items));
                    left.map_or(Cursor::Records(Some(position.clone())), |next| {
                        Cursor::Versions(position.clone(), next)
                    })
                }
                Cursor::Draws(last) => write_part(&state.draws, last.as_ref(), writer, items, items::write_draw)
                    .map_or(Cursor::Trailer, |last| Cursor::Draws(Some(last))),
                Cursor::Head | Cursor::Trailer | Cursor::End => break,
            };
        }
    }
}

impl Iterator for Blocks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let holds_items = !matches!(self.cursor, Cursor::Head | Cursor::Trailer);
        self.next_plain().map(|block| if holds_items { pack(block) } else { block })
    }
}

fn is_full(writer: &Writer) -> bool {
    writer.len() >= BLOCK_HEADER_BYTES + BLOCK_BYTES
}

/// Writes the entries behind `last`; the last one written if the block was full before there were none left.
fn write_part<K: Ord + Clone, V>(
    map: &SharedMap<K, V>,
    last: Option<&K>,
    writer: &mut Writer,
    items: &mut u64,
    write: impl Fn(&K, &V, &mut Writer),
) -> Option<K> {
    for (key, value) in behind(map, last) {
        write(key, value, writer);
        *items += 1;
        if is_full(writer) {
            return Some(key.clone());
        }
    }
    None
}

/// Writes the records behind `last`; where to go on.
fn write_records(state: &State, last: Option<&Position>, writer: &mut Writer, items: &mut u64) -> Cursor {
    for (position, record) in behind(&state.records, last) {
        *items += 1;
        match record {
            Record::Lock(lock) => items::write_lock(position, lock, writer),
            Record::Sequence(sequence) => items::write_sequence(position, sequence, writer),
            Record::Key(key) => {
                items::write_key(position, writer);
                if let Some(next) = write_versions(key, 0, writer, items) {
                    return Cursor::Versions(position.clone(), next);
                }
            }
        }
        if is_full(writer) {
            return Cursor::Records(Some(position.clone()));
        }
    }
    Cursor::Draws(None)
}

/// Writes a key's versions from the one at `from`, counted from the newest; the next one if some are left.
fn write_versions(key: &Key, from: usize, writer: &mut Writer, items: &mut u64) -> Option<usize> {
    for next in from..key.len() {
        if is_full(writer) {
            return Some(next);
        }
        if let Some(version) = key.version(next) {
            items::write_version(version, writer);
            *items += 1;
        }
    }
    None
}

/// The entries behind `last`, or all.
fn behind<'a, K: Ord, V>(map: &'a SharedMap<K, V>, last: Option<&K>) -> impl Iterator<Item = (&'a K, &'a V)> {
    let start = last.map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<_, K>((start, Bound::Unbounded))
}
