//! Two candidates of one term.

use std::cell::Cell;

use kahuna_sim::NodeId;

use crate::stage::Stage;

/// The moment before an election.
struct Eve {
    stage: Stage,
    dead: NodeId,
    live: Vec<NodeId>,
    term: u64,
}

/// Four of five nodes that have no leader, reach each other slowly, and have not stood for election. `None` if one of them was
/// faster with this seed.
fn eve(seed: u64) -> Option<Eve> {
    let stage = Stage::new(seed, 5);
    let dead = stage.leader_among(&[1, 2, 3, 4, 5]);
    let term = stage.term(dead);
    let live = stage.other_nodes(&[dead]);
    // Nobody hears of anybody until all leases are over, so that nobody wins a pre-vote yet.
    stage.kill(dead);
    let alone: Vec<&[NodeId]> = live.chunks(1).collect();
    stage.partition(&alone);
    stage.run_for(1_500);
    let nobody_voted = |stage: &Stage| live.iter().all(|node| stage.term(*node) == term);
    assert!(nobody_voted(&stage), "no vote without a pre-vote");
    stage.heal_and_forget();
    // The links are dialled anew; then all stand at one moment.
    stage.run_for(12);
    stage.slow_network(8, 9);
    nobody_voted(&stage).then_some(Eve { stage, dead, live, term })
}

/// Two candidates get two of five votes each: nobody leads in that term, and somebody does in a later one.
#[test]
fn split_vote() {
    let Eve { stage, dead, live, term } =
        (1..=20).find_map(eve).expect("some seed leaves a moment before the election");
    let [one, two, one_s, two_s] = live[..] else { panic!("four are left") };
    let led = Cell::new(false);
    stage.campaign(one);
    stage.campaign(two);
    stage.until("both are candidates", || {
        led.set(led.get() || stage.leader().is_some());
        [one, two].iter().all(|node| stage.term(*node) == term + 1)
    });
    // Their requests are under way. Each reaches one other voter.
    stage.partition(&[&[one, one_s], &[two, two_s]]);
    stage.until("all have voted", || live.iter().all(|node| stage.term(*node) == term + 1));
    stage.run_for(100);
    let votes = live.iter().map(|node| (*node, stage.term(*node), stage.leads(*node))).collect::<Vec<_>>();
    assert!(votes.iter().all(|(_, at, leads)| *at == term + 1 && !leads), "two votes of five elect nobody: {votes:?}");
    stage.slow_network(0, 1);
    stage.heal();
    let new = stage.leader_among(&live);
    assert!(!led.get() && stage.term(new) > term + 1, "that term stays without a leader");
    stage.write("after");
    stage.start(dead);
    stage.until("whole", || stage.views().len() == 5);
    stage.settle();
    assert!(stage.log(new).iter().all(|entry| entry.term != term + 1), "nobody wrote in that term");
}
