//! From bytes to state: what an opened log knows.
//!
//! Pure: the caller reads files, this module judges bytes. Two passes, both over whole segments:
//!
//! ```text
//! survey   newest segment backwards, until one has a readable batch header: what is claimed durable,
//!          which segment is the oldest needed, the highest run
//! walk     oldest needed segment forwards: batch after batch, until the chain ends
//! ```
//!
//! Where the chain ends decides: below what is claimed durable it is corruption, else it is the end of the log.

mod recovered;

pub use recovered::{GroupLog, LogEntry, Recovered, RecoveryReport};
