//! Groups of real replicas for tests.

#![allow(dead_code, unused_imports, reason = "not every test file needs all of it")]

mod nodes;

pub use nodes::{
    GROUP, LIMIT, Node, Options, empty, flip, incarnation, introduce, leader_among, members, newest_snapshot, noise,
    on_shard, replica_id, revision, sender, set_batch, snapshot_dir, start, three, timing, try_start,
};
