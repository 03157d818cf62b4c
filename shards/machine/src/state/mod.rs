//! What a partition is at one point of its log.
//!
//! [`State`] is everything that a snapshot holds, in maps that share their nodes: a clone costs O(1), and a write after
//! it copies only the path it touches. [`Index`] holds what can be computed from it, and is never cloned. An index is a
//! function of the state alone, never of the way to it: a replica that was restored from a snapshot must sweep the same
//! records at the same command as one that applied the whole log.

mod index;
mod key;
mod lock;
mod meta;
mod number;
mod partition;
mod range;
mod record;
mod sequence;
mod session;

pub use index::Index;
pub use key::{Keep, Key, Lookup, Version};
pub use lock::Lock;
pub use meta::Meta;
pub use number::{in_epoch, next_number};
pub use partition::{Floors, SharedMap, State};
pub use range::Range;
pub use record::{Record, is_past};
pub use sequence::{Draw, DrawKey, Sequence};
pub use session::{Answer, Session};
