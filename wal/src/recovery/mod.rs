//! From bytes to state: what an opened log knows.
//!
//! Pure: the caller reads files, this module judges bytes. Two passes, both over whole segments:
//!
//! ```text
//! survey   newest segment backwards, until one has a readable batch header: what is claimed durable,
//!          which segment is the oldest needed, the highest run
//! scan     oldest needed segment forwards: batch after batch, until the chain ends
//! ```
//!
//! Where the chain ends decides: below what is claimed durable it is corruption, else it is the end of the log.
//! [`salvage`](fn@salvage) judges the same bytes for an operator who must go on without the corrupt part.

mod recovered;
mod replay;
mod salvage;
mod scan;
mod survey;

pub use recovered::{GroupLog, LogEntry, Recovered, RecoveryReport};
pub use salvage::{Beyond, Damage, GroupBeyond, Prefix, Salvage, Salvaged, salvage};
pub use scan::{End, Refusal, scan, scan_with};
pub(crate) use scan::{NO_BATCH, Scan, Whole, check_header, claims_or_empty};
pub(crate) use survey::{Survey, header_at, place, survey};
