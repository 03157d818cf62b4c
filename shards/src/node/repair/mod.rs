//! Repairing: a lost log or snapshot is counted, the lost replicas get new ids, and other nodes feed them.
//!
//! ```text
//!   losses ─▶ manifest: losses + 1 ─▶ Reseed: asks for ids, one group at a time ─▶ GroupOpener: makes the new replicas
//!   carry_out_replacements: the groups' leaders take the new replicas in
//! ```

mod losses;
mod may_create;
mod progress;
mod replacements;
mod reseed;

pub use losses::{LossCounter, open_or_replace_log, report_loss};
pub use may_create::{initializes_group, may_create, taken_place};
pub use replacements::carry_out_replacements;
pub use reseed::Reseed;
