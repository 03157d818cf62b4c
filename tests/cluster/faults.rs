//! Nothing acknowledged is lost, and no answer is stale, whatever happens to the processes.

use std::time::Duration;

use kahuna_protocol::GroupId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::load::Load;
use super::nodes::Cluster;

/// How many requests must be acknowledged between two faults.
const BETWEEN_FAULTS: u64 = 150;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Claim: every acknowledged write is there, tokens and values are unique and rise, every key is linearizable.
/// Method: clients record what they see while a leader, a follower, or all nodes are killed in turn and restarted.
/// `KAHUNA_KILLS=50` for the long run, `KAHUNA_SEED=n` to replay the clients' choices.
#[test]
fn what_was_acknowledged_survives_kill_9() {
    let kills = from_env("KAHUNA_KILLS", 8);
    let seed = from_env("KAHUNA_SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::running(3, 2, 16);
    let load = Load::start(&cluster, 6, seed);
    load.progress.wait_for(BETWEEN_FAULTS);
    for round in 0..kills {
        match round % 4 {
            0 => {
                let leader = cluster.leader_of("key-1");
                cluster.kill(leader);
                load.progress.wait_for(BETWEEN_FAULTS);
                cluster.start(leader);
            }
            1 => {
                let leader = cluster.leader_of("key-1");
                let follower = (leader + rng.random_range(1..3)) % 3;
                cluster.kill(follower);
                load.progress.wait_for(BETWEEN_FAULTS);
                cluster.start(follower);
            }
            2 => {
                // Back at once, in its own term: it must not go on as the leader that it was.
                let leader = cluster.leader_of("key-1");
                cluster.kill(leader);
                cluster.start(leader);
            }
            _ => {
                (0..3).for_each(|at| cluster.kill(at));
                let first = rng.random_range(0..3);
                (0..3).for_each(|offset| cluster.start((first + offset) % 3));
            }
        }
        load.progress.wait_for(BETWEEN_FAULTS);
    }
    cluster.wait_until_led();
    load.finish(&mut cluster);
}

/// Claim: a leader that was stopped while another took over answers nothing from its old state.
/// Method: the history of clients that talk to all nodes, the stopped one included, while it stops and resumes.
#[test]
fn a_paused_leader_never_answers_from_old_state() {
    let seed = from_env("KAHUNA_SEED", 2);
    let mut cluster = Cluster::running(3, 1, 2);
    let load = Load::start(&cluster, 4, seed);
    for _ in 0..2 {
        load.progress.wait_for(BETWEEN_FAULTS);
        let leader = cluster.leader_of("key-1");
        cluster.pause(leader);
        let value = format!("while {leader} is paused");
        let others = (0..3).filter(|&at| at != leader);
        let writer = cluster.client_of(others.clone().next().expect("two others"));
        writer.set("paused/key", value.clone(), None).expect("the others elect a leader");
        load.progress.wait_for(BETWEEN_FAULTS);
        cluster.resume(leader);
        let read = cluster.get_from(leader, "paused/key", Duration::from_secs(20));
        assert_eq!(read, Ok(Some(value.into_bytes())), "the resumed node answered from old state");
    }
    load.finish(&mut cluster);
}

/// Claim: a node that was away while the others wrote, took snapshots and purged their logs catches up, and what it
/// holds then counts for a quorum.
#[test]
fn a_node_that_was_away_while_others_purged_catches_up() {
    let mut cluster = Cluster::new(3, 1, 1);
    let start = |cluster: &mut Cluster, at: usize| {
        let mut command = cluster.command(at, 1);
        command.args(["--snapshot-log-size", "64KiB"]);
        cluster.spawn(at, command);
    };
    (0..3).for_each(|at| start(&mut cluster, at));
    cluster.wait_until_led();
    let away = (cluster.leader_of("away/0") + 1) % 3;
    cluster.kill(away);
    let client = cluster.client();
    let value = vec![7; 1024];
    for number in 0..600 {
        client.set(format!("away/{number}"), value.clone(), None).expect("two of three serve");
    }
    let endpoint = |cluster: &Cluster, at: usize| cluster.nodes[at].client_address.clone();
    let present = (away + 1) % 3;
    let status = client.status(endpoint(&cluster, present)).expect("a live node answers");
    let purged =
        status.replicas.iter().find(|replica| replica.group == GroupId(1)).expect("the data group").first_index;
    assert!(purged > 50, "the others have purged their logs: first index {purged}");
    start(&mut cluster, away);
    let written = cluster.client_of(present);
    written.set("away/after", "1", None).expect("all serve");
    // With one of the two others gone, only a caught-up node can complete the quorum.
    cluster.kill(present);
    let client = cluster.client();
    client.set("away/last", "1", None).expect("the returned node votes and stores");
    for number in [0, 299, 599] {
        let answer = client.get(format!("away/{number}")).expect("served");
        assert!(matches!(answer, kahuna_client::call::GetAnswer::Value(read) if read.value == value), "away/{number}");
    }
}
