//! Nodes that fail and come back.

use crate::stage::Stage;

/// Writes are replicated to everybody, in one order, under one leader.
#[test]
fn normal_operation() {
    let stage = Stage::new(1, 3);
    let leader = stage.leader_among(&[1, 2, 3]);
    let (term, before) = (stage.term(leader), stage.last_index(leader));
    for number in 0..20 {
        stage.write(&format!("key-{number}"));
    }
    stage.settle();
    assert!((0..20).all(|number| stage.is_there(&format!("key-{number}"))));
    assert!(stage.last_index(leader) >= before + 20, "each write waited for the one before it");
    // Nobody stood for election meanwhile, and nobody else leads.
    assert!(stage.views().iter().all(|(node, view)| view.term == term && view.leading == (*node == leader)));
}

/// A follower that is gone is not missed, and has everything soon after it is back.
#[test]
fn follower_failure() {
    let stage = Stage::new(2, 3);
    let leader = stage.leader_among(&[1, 2, 3]);
    let (term, follower) = (stage.term(leader), stage.other_nodes(&[leader])[0]);
    stage.kill(follower);
    for number in 0..10 {
        stage.write(&format!("key-{number}"));
    }
    assert_eq!((stage.leads(leader), stage.term(leader)), (true, term), "a follower's end changes no term");
    stage.start(follower);
    stage.until("caught up", || stage.last_index(follower) == stage.last_index(leader));
    stage.settle();
    // Its copy counts: without the other follower it is half of the majority.
    stage.kill(stage.other_nodes(&[leader, follower])[0]);
    stage.write("with its help");
    assert!((0..10).all(|number| stage.is_there(&format!("key-{number}"))));
}

/// Another leader follows in a higher term, has everything that was acknowledged, and the old one follows it.
#[test]
fn leader_failure() {
    let stage = Stage::new(3, 3);
    let old = stage.leader_among(&[1, 2, 3]);
    let term = stage.term(old);
    for number in 0..10 {
        stage.write(&format!("key-{number}"));
    }
    stage.kill(old);
    let new = stage.leader_among(&stage.other_nodes(&[old]));
    assert!(stage.term(new) > term, "a leader of its own term");
    assert!((0..10).all(|number| stage.is_there(&format!("key-{number}"))), "acknowledged is not lost");
    stage.write("after");
    stage.start(old);
    stage.until("back", || stage.last_index(old) == stage.last_index(new) && stage.term(old) == stage.term(new));
    assert!(!stage.leads(old), "a restarted leader leads in no term that it led in before");
    stage.settle();
    assert!(stage.is_there("after"));
}

/// Three of five are enough, two are not; what could not be decided then is decided when a third one is back.
#[test]
fn minimum_quorum_of_five() {
    let stage = Stage::new(4, 5);
    stage.kill(1);
    stage.kill(2);
    stage.leader_among(&[3, 4, 5]);
    stage.write("three");
    assert!(stage.is_there("three"));
    stage.kill(3);
    assert!(!stage.acknowledges(1, &[4, 5], "two", 1_000), "two of five cannot commit");
    let read = stage.ask(1, &[4, 5], crate::stage::get("three"), kahuna_protocol::ReadLevel::Linearizable, 1_000);
    assert!(read.is_err(), "two of five cannot know that they are up to date: {read:?}");
    stage.start(2);
    stage.leader_among(&[2, 4, 5]);
    assert!(stage.is_there("three"), "node 2 has it from the others now");
    stage.write("three again");
    stage.start(1);
    stage.start(3);
    stage.until("whole", || stage.views().len() == 5);
    stage.settle();
    assert!(stage.is_there("three again"));
}
