//! How long writes stop when a leader dies: a measurement, not a test, since it depends on the machine.

use std::time::{Duration, Instant};

use kahuna_client::CallOptions;
use kahuna_protocol::key::{Condition, KeySet};

use super::nodes::Cluster;

/// Kills the leader of one partition `KAHUNA_KILLS` times (20) and prints how long writes to it stopped, from the kill to
/// the first acknowledgement of a write that was sent after it.
#[test]
#[ignore = "a measurement: run it alone, in a release build"]
fn writes_stop_for() {
    let kills: usize = std::env::var("KAHUNA_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let mut cluster = Cluster::running(3, 1, 4);
    let mut gaps = Vec::new();
    for round in 0..kills {
        let leader = cluster.leader_of("failover");
        let witness = cluster.client_of((leader + 1) % 3);
        witness.set("failover", "warm", None).expect("served");
        cluster.kill(leader);
        let killed = Instant::now();
        let set = KeySet {
            key: b"failover".to_vec(),
            value: round.to_string().into_bytes(),
            ttl_ms: None,
            condition: Condition::default(),
            no_history: false,
        };
        let options = CallOptions { timeout: Some(Duration::from_secs(20)), ..CallOptions::default() };
        witness.call_with(set, options).expect("the others elect a leader");
        gaps.push(killed.elapsed());
        cluster.start(leader);
        cluster.wait_until_led();
        cluster.get_from(leader, "failover", Duration::from_secs(20)).expect("the restarted node serves");
    }
    gaps.sort();
    println!("{kills} kills: writes stopped for {:?} in the median, {:?} at most", gaps[kills / 2], gaps[kills - 1]);
    println!("all: {gaps:?}");
}
