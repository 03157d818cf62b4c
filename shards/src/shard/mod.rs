//! What one core owns, tied together: its groups, links, lanes and log, and what it knows of the cluster.
//!
//! Who fills it in, and who serves from it, stands above: [`serve`](crate::serve) and [`node`](crate::node).

mod cluster_view;
#[expect(clippy::module_inception, reason = "the file has the name of the type in it")]
mod shard;
mod status;
mod waits;

pub use cluster_view::ClusterView;
pub use shard::Shard;
