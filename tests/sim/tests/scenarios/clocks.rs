//! Clocks that are wrong at the worst moment.

use std::time::Duration;

use kahuna_shards::env::Env as _;
use kahuna_sim::cluster::{Cluster, Shape};
use kahuna_sim::{NodeId, Sim, World};

/// Before it: a node that hears one other clock, equal to its own, would go by it.
const JUMP_AFTER: Duration = Duration::from_millis(150);
const BEHIND_NANOS: i64 = 6_600_000_000;

/// Claim: a node whose clock jumps between its start and its first judgement goes by no clock until a third one is heard.
/// What it stamped by the slower of two that differ would end early once the clock is set right.
#[test]
fn a_clock_that_jumps_before_the_first_judgement_waits_for_a_third() {
    for seed in 1..=6 {
        let world = World::new(seed);
        let cluster = Cluster::new(&world, Shape::small(3));
        cluster.shape().numbers().for_each(|node| cluster.start(node));
        let agreed = |node: NodeId| {
            let probe = cluster.probe(node);
            world.block_on(async { probe.and_then(|probe| probe.agreed_clock()) })
        };
        let nanos = || u64::try_from(world.block_on(async { Sim::boot_clock() }).as_nanos()).expect("a run is short");
        world.run_for(Duration::from_secs(3));
        let boot_time = agreed(3).expect("all are up") - nanos();
        (1..=3).for_each(|node| cluster.kill(node));
        cluster.start(1);
        cluster.start(2);
        world.run_for(JUMP_AFTER);
        assert_eq!(agreed(1), None, "seed {seed}: nothing was tested");
        world.jump_wall_clock(1, -BEHIND_NANOS);
        world.run_for(Duration::from_secs(1));
        assert_eq!(agreed(1), None, "seed {seed}: two clocks differ");
        cluster.start(3);
        world.run_for(Duration::from_secs(2));
        let off = |node| agreed(node).map(|agreed| agreed.abs_diff(boot_time + nanos()));
        for node in 1..=3 {
            assert!(
                off(node).is_some_and(|off| off < 125_000_000),
                "seed {seed}: node {node} is off {:?} ns",
                off(node)
            );
        }
    }
}
