//! Nodes that move are found again: one by one without a word to the others, and all at once with new addresses for all.

use std::process::Command;

use super::nodes::{Cluster, free_address};

/// The same command with another value for `flag`.
fn with(command: &Command, flag: &str, value: &str) -> Command {
    let mut changed = Command::new(command.get_program());
    let mut replace = false;
    for arg in command.get_args() {
        changed.arg(if replace { value.as_ref() } else { arg });
        replace = arg == flag;
    }
    changed
}

/// The same command without `flag` and its value.
fn without(command: &Command, flag: &str) -> Command {
    let mut changed = Command::new(command.get_program());
    let mut args = command.get_args();
    while let Some(arg) = args.next() {
        if arg == flag {
            args.next();
        } else {
            changed.arg(arg);
        }
    }
    changed
}

/// Two of three nodes serve, in every partition: with the third one gone, the other two must find each other.
fn serves_without(cluster: &mut Cluster, gone: usize, what: &str) {
    cluster.kill(gone);
    cluster.wait_until_led();
    for name in cluster.names_of_partitions() {
        cluster.client().set(name.as_str(), what, None).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// Claim: nodes that start again with another `--peer-listen`, one after the other, while the `--peers` of all stay what they
/// were, are found by those that they dial, and by all; majorities form with each of them.
#[test]
fn nodes_that_move_one_by_one_are_found() {
    let mut cluster = Cluster::running(3, 2, 4);
    let listed: Vec<Command> = (0..3).map(|at| cluster.command(at, 2)).collect();
    let mut addresses = Vec::new();
    for at in 0..3 {
        assert_eq!(cluster.terminate(at), Some(0));
        addresses.push(free_address());
        cluster.spawn(at, with(&listed[at], "--peer-listen", &addresses[at]));
        cluster.wait_until_reached(at);
    }
    for gone in 0..3 {
        serves_without(&mut cluster, gone, &format!("without node {}", gone + 1));
        cluster.spawn(gone, with(&listed[gone], "--peer-listen", &addresses[gone]));
        cluster.wait_until_reached(gone);
    }
}

/// Claim: nodes that all start again elsewhere, with `--peers` that say where, find each other; from then on they need no
/// list.
#[test]
fn nodes_that_all_move_at_once_are_found() {
    let mut cluster = Cluster::running(3, 2, 4);
    (0..3).for_each(|at| cluster.kill(at));
    cluster.nodes.iter_mut().for_each(|node| node.peer_address = free_address());
    (0..3).for_each(|at| cluster.start(at));
    cluster.wait_until_led();
    for gone in 0..3 {
        serves_without(&mut cluster, gone, &format!("without node {}", gone + 1));
        let command = without(&cluster.command(gone, 2), "--peers");
        cluster.spawn(gone, command);
        cluster.wait_until_reached(gone);
    }
    (0..3).for_each(|at| cluster.kill(at));
    for at in 0..3 {
        let command = without(&cluster.command(at, 2), "--peers");
        cluster.spawn(at, command);
    }
    cluster.wait_until_led();
}

/// Claim: a node that is killed and starts again elsewhere, without a list, finds those that moved before, wherever the list of
/// the founding says that they were: it remembers where it reached the others.
#[test]
fn a_node_that_was_killed_finds_those_that_moved_without_a_list() {
    let mut cluster = Cluster::running(3, 2, 4);
    let start = |cluster: &mut Cluster, at: usize| {
        let command = without(&cluster.command(at, 2), "--peers");
        cluster.spawn(at, command);
    };
    for moved in 0..3 {
        let (same, next) = ((moved + 1) % 3, (moved + 2) % 3);
        cluster.kill(moved);
        cluster.nodes[moved].peer_address = free_address();
        start(&mut cluster, moved);
        cluster.wait_until_reached(moved);
        [same, next].into_iter().for_each(|at| cluster.kill(at));
        cluster.nodes[next].peer_address = free_address();
        start(&mut cluster, same);
        start(&mut cluster, next);
        (0..3).for_each(|at| cluster.wait_until_reached(at));
        cluster.wait_until_led();
    }
    serves_without(&mut cluster, 0, "without node 1");
}
