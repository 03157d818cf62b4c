//! A node without a quorum: what its data directory still holds becomes a new cluster of this one node.
//!
//! ```text
//!   logs ── salvage ──▶ longest valid prefix of each ─┐
//!   snapshots ── newest that verifies ────────────────┴─▶ state of each group ──▶ D.recovering ──▶ switch
//! ```
//! For the cases in which nothing better is left: a single node whose log is damaged, or the last node of a lost cluster.
//! The other nodes may hold more; writes that they acknowledged and this node never received are lost.
//!
//! **What is kept.** Of every shard's log the longest prefix of batches that verify, in sequence. Of every group the newest
//! snapshot that verifies, and all its entries of that prefix behind it, known committed or not: an acknowledged entry may
//! not have been marked committed here. An entry that was not acknowledged may therefore take effect, as an unknown outcome
//! may. Whatever is behind damage, or behind a hole, is not used.
//!
//! **Why nothing comes twice.** The new cluster has an id, a node incarnation and replica ids of its own, so no old node can
//! talk to it. Its restore epoch is higher, so every token, revision and incarnation minted from now on is above all that were
//! acknowledged before, lost ones included. Each group begins with a snapshot of its state at `(term + 1, last index)`, where
//! the term is above every one seen, with this node's replica as the only voter.
//!
//! **What it cannot know.** A lock granted in the lost part is free here, and its holder does not know: the higher token
//! fences it off. Recovering two copies of the same data makes two clusters of the same epoch: give the second one a higher
//! epoch, or never serve both.
//!
//! **Steps.** Nothing of the old directory changes: see [`switch`].

mod error;
mod group;
mod job;
mod linux;
mod logs;
mod report;
mod successor;
pub mod switch;

pub use error::RecoverError;
pub use job::{Job, Mint};
pub use linux::{Asked, Done, recover};
pub use report::{Beyond, Damage, GroupReport, LogReport, Loss, Report};
