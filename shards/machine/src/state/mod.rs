//! What a partition is at one point of its log.
//!
//! [`State`] is everything that a snapshot holds, in maps that share their nodes: a clone costs O(1), and a write after
//! it copies only the path it touches. Every map is a [`Table`](table::Table): one file with its row, what is due
//! of it and its items in a snapshot, and one row in `tables`. [`Index`] holds what can be computed from the state, and is never
//! cloned. An index is a
//! function of the state alone, never of the way to it: a replica that was restored from a snapshot must sweep the same
//! records at the same command as one that applied the whole log.

mod answer;
mod draw;
mod key;
mod lock;
mod meta;
mod number;
mod partition;
mod range;
mod record;
mod record_kind;
mod sequence;
mod session;
mod table;
mod tables;
mod version;

pub use answer::Answer;
pub use draw::{Draw, DrawKey};
pub use key::{Keep, Key, Lookup};
pub use lock::Lock;
pub use meta::Meta;
pub use number::{Floors, in_epoch, next_number};
pub use partition::State;
pub use range::Range;
pub use record::{InRecord, Record, close_key, ends_key, move_end};
pub use record_kind::is_past;
pub use sequence::Sequence;
pub use session::Session;
pub use table::{BadItem, Items, Restoring};
pub use tables::{Index, Making, Place, Rows, free_one, read_item};
pub use version::Version;
