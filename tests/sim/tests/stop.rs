//! Nodes that are asked to stop at every moment of their start.

use std::{path::Path, time::Duration};

use kahuna_shards::{env::Env, node::manifest::Manifest};
use kahuna_sim::{
    Sim, World,
    cluster::{Cluster, Shape},
};

/// Between two moments of the stop: shorter than any operation of a disk.
const STEP: Duration = Duration::from_micros(10);
/// Longest that a stop may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Asks node 1 to stop; it must do so, and not end itself meanwhile.
fn stop(cluster: &Cluster, moment: u32) {
    let stopped = cluster.world().block_on(cluster.stop(1, LIMIT));
    assert_eq!(cluster.world().exits(), [], "moment {moment}");
    assert!(stopped, "asked to stop at moment {moment}, it does not");
}

/// Claim: a node that is stopped while it starts stops in order, whatever it was about to do: it does not take what its own stop
/// refuses it for a bug.
/// Method: each start of a cluster of one is stopped a little later than the one before.
#[test]
fn a_start_can_be_stopped_at_any_moment() {
    let world = World::new(1);
    let cluster = Cluster::new(&world, Shape::small(1));
    for moment in 0..400 {
        cluster.start_with_shards(1, 2);
        world.run_for(STEP * moment);
        stop(&cluster, moment);
    }
}

/// A node that has just founded its cluster; its groups are not made yet.
fn founded() -> Cluster {
    let world = World::new(1);
    let cluster = Cluster::new(&world, Shape::small(1));
    cluster.start(1);
    let disk = cluster.disk(1);
    world.block_on(async {
        while !matches!(
            Manifest::read(&disk, Path::new(Cluster::data_dir())).await,
            Ok(Some(Manifest { founding: Some(_), .. }))
        ) {
            Sim::sleep(STEP).await;
        }
    });
    cluster
}

/// Claim: the same of the first start, in which groups begin.
#[test]
fn a_founding_can_be_stopped_at_any_moment() {
    for moment in 0..400 {
        let cluster = founded();
        cluster.world().run_for(STEP * moment);
        stop(&cluster, moment);
    }
}
