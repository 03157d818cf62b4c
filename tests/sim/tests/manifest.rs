//! Kills and power losses while a node's manifest is replaced.

use std::{path::Path, time::Duration};

use kahuna_protocol::{
    ClusterId, Incarnation, Limits, NodeId, ReplicaId, ShardId,
    meta::{Replica, Settings},
};
use kahuna_shards::{
    config::{NodeConfig, Timing},
    node::{founding::Founding, manifest::Manifest, open_or_format},
};
use kahuna_sim::{DiskOptions, SimDisk, World};

const DATA_DIR: &str = "/data";
const INCARNATION: Incarnation = Incarnation(7);
/// Moments at which the node is killed, this far apart.
const MOMENTS: u32 = 120;
const STEP: Duration = Duration::from_micros(20);

fn config() -> NodeConfig {
    NodeConfig {
        node: NodeId(1),
        data_dir: DATA_DIR.into(),
        listen: ([10, 0, 0, 1], 1).into(),
        peer_listen: ([10, 0, 0, 1], 2).into(),
        peers: Vec::new(),
        advertise: None,
        peer_advertise: None,
        shards: 1,
        cpus: Vec::new(),
        partitions: None,
        limits: Limits::default(),
        settings: Settings::default(),
        timing: Timing::default(),
        segment_bytes: 64 << 10,
        snapshot_log_bytes: 8 << 10,
        io_memory_bytes: 0,
        wall_clock_offset_ms: 0,
    }
}

fn founding() -> Founding {
    let members = vec![Replica { replica: ReplicaId(1), node: NodeId(1), incarnation: INCARNATION }];
    Founding { cluster: ClusterId([1; 16]), members, partitions: 1, settings: Settings::default() }
}

/// Claim: what a start has read from the manifest is not undone by a power loss, whenever the process before was killed.
/// Method: a second process opens the directory after the first one was killed while it counted a loss, then power fails.
#[test]
fn what_a_start_has_read_outlives_the_power() {
    let mut seen = Vec::new();
    for moment in 0..MOMENTS {
        let world = World::new(u64::from(moment));
        let disk = SimDisk::new(DiskOptions { seed: u64::from(moment), ..DiskOptions::default() });
        let formatted = world.block_on(open_or_format(&disk, &config(), INCARNATION)).expect("a new directory");
        let founded = Manifest { founding: Some(founding()), ..formatted };
        world.block_on(founded.write(&disk, Path::new(DATA_DIR))).expect("room");
        let writer = disk.clone();
        world.spawn_on(1, async move {
            // Killed in the middle, it has nobody to tell.
            let _ = founded.after_loss(Some(ShardId(0))).write(&writer, Path::new(DATA_DIR)).await;
        });
        world.run_for(STEP * moment);
        world.kill(1);
        let read = world.block_on(open_or_format(&disk, &config(), INCARNATION)).expect("a whole manifest");
        disk.crash();
        let left = world.block_on(Manifest::read(&disk, Path::new(DATA_DIR))).expect("a whole manifest");
        assert_eq!(left.as_ref(), Some(&read), "killed after {:?}", STEP * moment);
        seen.push(read.losses);
    }
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&1)), "from before the write to behind it");
}
