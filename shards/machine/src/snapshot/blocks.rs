//! Writing: a frozen state, block by block.

use kahuna_protocol::Hlc;
use kahuna_protocol::batch::digest;

use super::format::{BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockKind, seal};
use super::head;
use super::pack::pack;
use crate::codec::Writer;
use crate::state::{Items, Place, State};

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
        self.state.rows.records.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.state.rows.records.is_empty()
    }

    /// The snapshot, from its first block.
    pub fn into_blocks(self) -> Blocks {
        Blocks { state: self.state, cursor: Cursor::Head, number: 0, items: 0, hash: 0 }
    }
}

/// Where the next block starts.
#[derive(Debug)]
enum Cursor {
    Head,
    Items(Place),
    Trailer,
    End,
}

impl Cursor {
    fn items(place: Option<Place>) -> Self {
        place.map_or(Self::Trailer, Self::Items)
    }
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
                self.cursor = Cursor::items(Place::begin());
                seal(number, BlockKind::Head, |writer| head::write(&self.state, writer))
            }
            Cursor::Trailer => {
                self.cursor = Cursor::End;
                seal(number, BlockKind::Trailer, |writer| {
                    writer.u64(self.items);
                    writer.u64(self.hash);
                })
            }
            Cursor::Items(_) => seal(number, BlockKind::Items, |writer| self.fill(writer)),
        };
        self.number += 1;
        if !matches!(self.cursor, Cursor::End) {
            self.hash = digest(self.hash, &block);
        }
        Some(block)
    }

    /// Writes items until the block is full or there are none left.
    fn fill(&mut self, writer: &mut Writer) {
        let mut block = Items { writer, full: BLOCK_HEADER_BYTES + BLOCK_BYTES, count: &mut self.items };
        while !block.is_full()
            && let Cursor::Items(place) = &self.cursor
        {
            self.cursor = Cursor::items(place.write(&self.state.rows, &mut block));
        }
    }
}

impl Iterator for Blocks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let holds_items = matches!(self.cursor, Cursor::Items(_));
        self.next_plain().map(|block| if holds_items { pack(block) } else { block })
    }
}
