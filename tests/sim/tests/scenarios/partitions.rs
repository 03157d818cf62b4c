//! Networks that fall apart: who is in the minority can neither commit nor answer, and takes over what the majority decided.

use std::time::Duration;

use kahuna_protocol::ReadLevel;

use crate::stage::{Stage, get, set};

/// The longest that a leader may serve reads on a lease without hearing of anybody.
const LEASE_MS: u64 = 300;

/// The side with the majority goes on; the other one catches up when the network is whole again.
#[test]
fn network_partition() {
    let stage = Stage::new(5, 5);
    let leader = stage.leader_among(&[1, 2, 3, 4, 5]);
    let term = stage.term(leader);
    let others = stage.other_nodes(&[leader]);
    let (minority, majority) = ([leader, others[0]], [others[1], others[2], others[3]]);
    // Client 1 is on the small side, all others are on the large one.
    stage.partition(&[
        &[minority[0], minority[1], Stage::client(1)],
        &[majority[0], majority[1], majority[2], Stage::client(0)],
    ]);
    assert!(!stage.acknowledges(1, &minority, "small side", 500));
    let new = stage.leader_among(&majority);
    assert!(stage.term(new) > term);
    stage.write("large side");
    assert!(!stage.acknowledges(1, &minority, "small side again", 500));
    assert!(stage.term(minority[1]) == term, "a pre-vote that is lost raises no term");
    stage.heal();
    stage.until("one leader", || stage.views().iter().filter(|(_, view)| view.leading).count() == 1);
    stage.settle();
    assert!(stage.is_there("large side"));
    stage.write("healed");
}

/// A leader that is cut off commits nothing and answers no read; when it hears of its successor it steps back, and its
/// uncommitted entry vanishes.
#[test]
fn stale_leader() {
    let stage = Stage::new(6, 3);
    let stale = stage.leader_among(&[1, 2, 3]);
    let (term, before) = (stage.term(stale), stage.last_index(stale));
    let others = stage.other_nodes(&[stale]);
    stage.partition(&[&[stale, Stage::client(1)], &[others[0], others[1], Stage::client(0)]]);
    let lost = stage.begin(1, &[stale], set("lost", "lost"), ReadLevel::Linearizable, Duration::from_millis(900));
    stage.until("appended by the old leader", || stage.last_index(stale) > before);
    let new = stage.leader_among(&others);
    stage.write("kept");
    assert!(stage.leads(stale) && stage.term(stale) == term, "it does not know yet");
    assert!(
        stage.view(stale).is_some_and(|view| view.applied_index <= before),
        "what it appended alone is not committed"
    );
    for level in [ReadLevel::Linearizable, ReadLevel::Lease] {
        let read = stage.ask(1, &[stale], get("first"), level, 2 * LEASE_MS);
        assert!(read.is_err(), "a leader without followers answered a read at {level:?}: {read:?}");
    }
    stage.run_for(1_000);
    assert!(matches!(lost.try_recv(), Ok(Err(_))), "its client waits no longer, and was not told that it is written");
    assert_eq!(stage.term_at(stale, before + 1), Some(term));
    stage.heal();
    stage.until("stepped back", || !stage.leads(stale) && stage.term(stale) >= stage.term(new));
    stage.settle();
    assert!(stage.term_at(stale, before + 1).is_some_and(|at| at > term), "overwritten by the new leader's entry");
    assert!(!stage.is_there("lost"), "never acknowledged, and gone");
    assert!(stage.is_there("kept"));
}

/// The uncommitted tails of an old leader and its follower are overwritten by another tail; then all logs are equal.
#[test]
fn conflicting_logs() {
    let stage = Stage::new(7, 5);
    let old = stage.leader_among(&[1, 2, 3, 4, 5]);
    let (term, before) = (stage.term(old), stage.last_index(old));
    let others = stage.other_nodes(&[old]);
    let (follower, majority) = (others[0], [others[1], others[2], others[3]]);
    stage.partition(&[&[old, follower, Stage::client(1)], &[majority[0], majority[1], majority[2], Stage::client(0)]]);
    // One batch after the other, each an entry of its own.
    for number in 0..3 {
        let (key, end) = (format!("lost-{number}"), stage.last_index(old));
        stage.begin(1, &[old], set(&key, &key), ReadLevel::Linearizable, Duration::from_millis(900));
        stage.until("appended on both", || [old, follower].iter().all(|node| stage.last_index(*node) > end));
    }
    let tail = stage.last_index(old);
    assert_eq!((tail, stage.last_index(follower)), (before + 3, before + 3));
    stage.leader_among(&majority);
    stage.write("kept");
    stage.write("kept too");
    stage.run_for(1_000);
    let terms = |node| (before + 1..=tail).map(|index| stage.term_at(node, index)).collect::<Vec<_>>();
    assert_eq!(
        (terms(old), terms(follower)),
        (vec![Some(term); 3], vec![Some(term); 3]),
        "both still have the old tail"
    );
    assert!(terms(majority[0]).iter().flatten().all(|at| *at > term), "the others have one of a later term");
    stage.heal();
    stage.settle();
    assert!(stage.nodes().all(|node| terms(node).iter().flatten().all(|at| *at > term)));
    assert!(stage.is_there("kept") && stage.is_there("kept too"));
    assert!((0..3).all(|number| !stage.is_there(&format!("lost-{number}"))));
}

/// The answers of followers to one entry come late and one after the other. The second comes after the leader has committed the
/// entry and has begun to say so: it confirms the leader as of the entry, not as of the commit, which nobody heard of.
#[test]
fn late_answers() {
    for seed in 20..25 {
        let stage = Stage::new(seed, 3);
        let stale = stage.leader_among(&[1, 2, 3]);
        let others = stage.other_nodes(&[stale]);
        let (first, second) = (others[0], others[1]);
        let before = stage.last_index(stale);
        others.iter().for_each(|&follower| stage.cut(follower, stale));
        let written = stage.begin(1, &[stale], set("late", "late"), ReadLevel::Linearizable, Duration::from_secs(2));
        stage.until("heard by both", || others.iter().all(|&follower| stage.last_index(follower) > before));
        others.iter().for_each(|&follower| stage.cut(stale, follower));
        stage.run_for(140);
        stage.mend(first, stale);
        stage.until("committed", || stage.view(stale).is_some_and(|view| view.applied_index > before));
        stage.cut(first, stale);
        stage.run_for(50);
        stage.mend(second, stale);
        stage.run_for(10);
        stage.cut(second, stale);
        assert!(stage.leads(stale) && stage.trusts_its_lease(stale), "seed {seed}: both answers say that it leads");
        let new = stage.leader_among(&others);
        assert!(stage.term(new) > stage.term(stale));
        for _ in 0..40 {
            assert!(!stage.trusts_its_lease(stale), "seed {seed}: it leads no more");
            stage.run_for(5);
        }
        assert!(matches!(written.try_recv(), Ok(Ok(_))), "a majority has it");
        stage.heal();
        stage.settle();
        assert!(stage.is_there("late"));
    }
}
