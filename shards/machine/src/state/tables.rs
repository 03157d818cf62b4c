//! The tables of the state, one row each: all that goes over every table is made from these rows.

use super::answer::Answers;
use super::draw::Draws;
use super::record::Records;
use super::session::Sessions;
use super::table::{BadItem, Items, Restoring, SharedMap, Table};
use crate::codec::Reader;

/// The name of a table as a field, its type, and the tags of its items, in the order of a snapshot.
macro_rules! tables {
    ($( $(#[$meta:meta])* $field:ident: $Table:ident [$tags:pat]; )+) => {
        /// The rows of every table, in maps that share their nodes: a clone costs O(1).
        #[derive(Clone, Debug, Default)]
        pub struct Rows { $( $(#[$meta])* pub $field: SharedMap<<$Table as Table>::Key, <$Table as Table>::Row>, )+ }

        /// What is due of every table when.
        #[derive(Debug, Default)]
        pub struct Index { $( $(#[$meta])* pub $field: <$Table as Table>::Due, )+ }

        /// What a restore has to remember of every table.
        #[derive(Debug, Default)]
        pub struct Making { $( $(#[$meta])* pub $field: <$Table as Table>::Making, )+ }

        impl Making {
            /// All items have come: whether every table is whole.
            ///
            /// # Errors
            /// [`BadItem`].
            pub fn finish(&self) -> Result<(), BadItem> {
                $( $Table::finish(&self.$field)?; )+
                Ok(())
            }
        }

        #[cfg(test)]
        impl Rows {
            /// How many rows each table has, in their order.
            pub fn lengths(&self) -> Vec<usize> {
                vec![$( self.$field.len() ),+]
            }
        }

        /// Where a snapshot continues: the table, and the position in it.
        #[derive(Clone, Debug)]
        pub enum Place { $( $(#[$meta])* $Table(Option<<$Table as Table>::Place>), )+ }

        impl Place {
            /// The beginnings of all tables, in their order.
            fn beginnings() -> impl Iterator<Item = Self> {
                [$( Self::$Table(None) ),+].into_iter()
            }

            fn same_table(&self, other: &Self) -> bool {
                std::mem::discriminant(self) == std::mem::discriminant(other)
            }

            /// Writes items from here until the block is full or the table ends; where to go on.
            pub fn write(&self, rows: &Rows, block: &mut Items<'_>) -> Option<Self> {
                let left = match self {
                    $( Self::$Table(place) => {
                        $Table::write(&rows.$field, place.as_ref(), block).map(|place| Self::$Table(Some(place)))
                    } )+
                };
                left.or_else(|| self.next_table())
            }
        }

        /// Takes an item of any table in.
        ///
        /// # Errors
        /// [`BadItem`].
        pub fn read_item(tag: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem> {
            match tag {
                $( $tags => $Table::read(tag, reader, to), )+
                _ => Err(BadItem::Content("item")),
            }
        }

        /// Takes one row, and one thing that is due, off every table; whether there was something.
        pub fn free_one(rows: &mut Rows, index: &mut Index) -> bool {
            let mut some = false;
            $(
                some |= free_first(&mut rows.$field);
                some |= $Table::free_due(&mut index.$field);
            )+
            some
        }
    };
}

tables! {
    /// Every session that has an answer, or had one that a late repeat could still ask for.
    sessions: Sessions [1];
    /// The recorded answers by (session, number).
    answers: Answers [2];
    /// Keys, locks and sequences in the order of their positions.
    records: Records [3..=6];
    /// Draws under an idempotency key.
    draws: Draws [7];
}

impl Place {
    /// The beginning of the first table.
    pub fn begin() -> Option<Self> {
        Self::beginnings().next()
    }

    fn next_table(&self) -> Option<Self> {
        Self::beginnings().skip_while(|begin| !begin.same_table(self)).nth(1)
    }
}

fn free_first<K: Ord + Clone, V: Clone>(rows: &mut SharedMap<K, V>) -> bool {
    let first = rows.get_min().map(|(key, _)| key.clone());
    first.is_some_and(|first| rows.remove(&first).is_some())
}
