//! A table of the state: its rows, what is due of them, and how they stand in a snapshot.

use std::fmt::Debug;
use std::ops::Bound;

use imbl::GenericOrdMap;
use imbl::shared_ptr::RcK;

use super::{Index, Making, State};
use crate::codec::{Reader, Writer};

/// An ordered map whose clone shares every node with the original.
pub type SharedMap<K, V> = GenericOrdMap<K, V, RcK>;

/// What is wrong with an item of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadItem {
    /// It cannot be read as its tag, or contradicts an item before it.
    Content(&'static str),
    /// It does not ascend.
    Order(&'static str),
}

/// One map of the state. All tables are rows of [`tables!`](super::tables), in the order of a snapshot.
pub trait Table {
    /// What rows are ordered by.
    type Key: Ord + Clone + Debug;
    type Row: Clone + Debug;
    /// What is due of the rows, in the order of its time: computed from them, so never in a snapshot and never cloned.
    type Due: Default + Debug;
    /// Position in the table behind which a snapshot continues.
    type Place: Clone + Debug;
    /// What a restore has to remember until more has come.
    type Making: Default + Debug;

    /// Writes the items behind `place`, or all, until the block is full; where to go on, `None` at the end of the table.
    fn write(
        rows: &SharedMap<Self::Key, Self::Row>,
        place: Option<&Self::Place>,
        block: &mut Items<'_>,
    ) -> Option<Self::Place>;

    /// Takes an item in whose tag is one of this table's.
    ///
    /// # Errors
    /// [`BadItem`].
    fn read(tag: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem>;

    /// All items of all tables have come: whether this table is whole.
    ///
    /// # Errors
    /// [`BadItem`].
    fn finish(_: &Self::Making) -> Result<(), BadItem> {
        Ok(())
    }

    /// Takes something off what is due; whether there was something.
    fn free_due(due: &mut Self::Due) -> bool;
}

/// A block of items in the making.
#[derive(Debug)]
pub struct Items<'a> {
    /// Where they go.
    pub writer: &'a mut Writer,
    /// The block is closed once it is this long, in bytes.
    pub full: usize,
    /// How many items were written.
    pub count: &'a mut u64,
}

impl Items<'_> {
    /// Writes one item.
    pub fn put(&mut self, write: impl FnOnce(&mut Writer)) {
        write(self.writer);
        *self.count += 1;
    }

    /// Whether no other item goes into the block.
    pub fn is_full(&self) -> bool {
        self.writer.len() >= self.full
    }

    /// Writes one item per row behind `last`; the last one written if the block was full before there were none left.
    pub fn put_rows<K: Ord + Clone, V>(
        &mut self,
        rows: &SharedMap<K, V>,
        last: Option<&K>,
        write: impl Fn(&K, &V, &mut Writer),
    ) -> Option<K> {
        for (key, row) in behind(rows, last) {
            self.put(|writer| write(key, row, writer));
            if self.is_full() {
                return Some(key.clone());
            }
        }
        None
    }
}

/// The rows behind `last`, or all.
pub fn behind<'a, K: Ord, V>(rows: &'a SharedMap<K, V>, last: Option<&K>) -> impl Iterator<Item = (&'a K, &'a V)> {
    let start = last.map_or(Bound::Unbounded, Bound::Excluded);
    rows.range::<_, K>((start, Bound::Unbounded))
}

/// A state that is read from a snapshot, item by item.
#[derive(Debug)]
pub struct Restoring<'a> {
    /// What there is of it.
    pub state: &'a mut State,
    /// What is due of that.
    pub index: &'a mut Index,
    /// What is still open.
    pub making: &'a mut Making,
}

/// Puts a row behind all others.
///
/// # Errors
/// `Order`: it does not belong there.
pub fn put_last<K: Ord + Clone, V: Clone>(
    rows: &mut SharedMap<K, V>,
    key: K,
    row: V,
    table: &'static str,
) -> Result<(), BadItem> {
    if rows.get_max().is_some_and(|(last, _)| *last >= key) {
        return Err(BadItem::Order(table));
    }
    rows.insert(key, row);
    Ok(())
}
