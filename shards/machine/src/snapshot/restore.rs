//! Reading: blocks into a machine, one at a time, believing none of them.

use kahuna_protocol::batch::digest;

use super::format::{BlockKind, Fault, SnapshotError, open};
use super::head;
use super::pack::unpack;
use crate::Machine;
use crate::codec::Reader;
use crate::state::{BadItem, Index, Making, Restoring, close_key, ends_key, read_item};

/// A machine in the making. Blocks go in one by one, so that the shard can do other work between them.
#[derive(Debug, Default)]
pub struct Restore {
    machine: Option<Machine>,
    making: Making,
    number: u32,
    items: u64,
    hash: u64,
    complete: bool,
}

impl From<BadItem> for Fault {
    fn from(bad: BadItem) -> Self {
        match bad {
            BadItem::Content(what) => Self::Content(what),
            BadItem::Order(what) => Self::Order(what),
        }
    }
}

impl Restore {
    /// Before the first block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next block in.
    ///
    /// # Errors
    /// What is wrong with the block; nothing can be restored from this snapshot then.
    pub fn push_block(&mut self, block: &[u8]) -> Result<(), SnapshotError> {
        self.take(block).map_err(|fault| SnapshotError { block: self.number, fault })?;
        self.number += 1;
        Ok(())
    }

    /// The machine, once the trailer was taken in.
    ///
    /// # Errors
    /// `Missing` before that.
    pub fn finish(self) -> Result<Machine, SnapshotError> {
        let missing = SnapshotError { block: self.number, fault: Fault::Missing };
        if self.complete { self.machine.ok_or(missing) } else { Err(missing) }
    }

    /// Whether the trailer was taken in.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// What was made so far, to be thrown away.
    pub(crate) fn into_machine(self) -> Option<Machine> {
        self.machine
    }

    fn take(&mut self, block: &[u8]) -> Result<(), Fault> {
        let block = &*unpack(self.number, block)?;
        let (kind, mut reader) = open(self.number, block)?;
        match (kind, self.machine.is_some(), self.complete) {
            (BlockKind::Head, false, _) => {
                let state = head::read(reader)?;
                self.machine = Some(Machine::of(state, Index::default()));
            }
            (BlockKind::Items, true, false) => {
                while !reader.is_empty() {
                    self.take_item(&mut reader)?;
                    self.items += 1;
                }
            }
            (BlockKind::Trailer, true, false) => return self.take_trailer(reader),
            _ => return Err(Fault::Kind(kind as u8)),
        }
        self.hash = digest(self.hash, block);
        Ok(())
    }

    fn take_trailer(&mut self, mut reader: Reader<'_>) -> Result<(), Fault> {
        close_key(&mut self.restoring()?)?;
        let (Some(items), Some(hash), true) = (reader.u64(), reader.u64(), reader.is_empty()) else {
            return Err(Fault::Content("trailer"));
        };
        if items != self.items {
            return Err(Fault::Count { stated: items, read: self.items });
        }
        if hash != self.hash {
            return Err(Fault::Hash { stated: hash, computed: self.hash });
        }
        self.making.finish()?;
        self.complete = true;
        Ok(())
    }

    fn take_item(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let tag = reader.u8().ok_or(Fault::Content("item"))?;
        let mut to = self.restoring()?;
        if ends_key(tag) {
            close_key(&mut to)?;
        }
        Ok(read_item(tag, reader, &mut to)?)
    }

    fn restoring(&mut self) -> Result<Restoring<'_>, Fault> {
        let machine = self.machine.as_mut().ok_or(Fault::Kind(BlockKind::Items as u8))?;
        Ok(Restoring { state: &mut machine.state, index: &mut machine.index, making: &mut self.making })
    }
}
