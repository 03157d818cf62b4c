//! Founding a cluster: how listed nodes become one, what is fixed then, and where the first replicas are placed.
//!
//! ```text
//!   Bootstrap ─▶ Founding, in the manifest ─▶ place_groups ─▶ meta group ─▶ Creation: the first record of a group's log
//! ```

mod bootstrap;
pub mod creation;
mod placement;

pub use bootstrap::Bootstrap;
pub use placement::place_groups;
