//! Figure 8 of the Raft paper: why a leader counts replicas only for entries of its own term.
//!
//! ```text
//!        (a)          (b)          (c)            (d)                  (e)
//!   S1   1 2 lead     1 2  down    1 2 4 lead     1 2 4  down          1 2 4  lead, then down
//!   S2   1 2          1 2          1 2            1 3                  1 2 4
//!   S3   1            1            1 2            1 3                  1 2 4
//!   S4   1            1            1              1 3                  1
//!   S5   1            1 3 lead     1 3  down      1 3 lead             1 3  cannot be elected
//! ```
//! Numbers are terms; the paper's 1, 2, 3, 4 stand for whatever terms there are. The entries of term 2 are large, so that
//! one message does not hold all of them, and a leader can be cut off between them and its first entry of term 4.

use std::time::Duration;

use kahuna_protocol::ReadLevel;
use kahuna_sim::NodeId;
use kahuna_sim::cluster::Shape;

use crate::stage::{Stage, set};

/// More than a quarter of what one message holds.
const LARGE_BYTES: usize = 300_000;
/// How many of them are written.
const LARGE: u64 = 4;
/// Of a log whose values may be as long.
const SEGMENT_BYTES: u64 = 5 << 19;
/// Long enough for answers under way to arrive, shorter than a lease.
const MOMENT_MS: u64 = 100;

/// The stage at the end of (c): the first entry of term 2 is on a majority, and its leader is cut off.
struct EntryOfAnOlderTerm {
    stage: Stage,
    s: [NodeId; 5],
    /// Where the first entry of term 2 stands.
    index: u64,
    term_2: u64,
    term_3: u64,
    term_4: u64,
}

impl EntryOfAnOlderTerm {
    fn new(seed: u64) -> Self {
        let shape =
            Shape { partitions: 1, segment_bytes: SEGMENT_BYTES, snapshot_log_bytes: 1 << 30, ..Shape::small(5) };
        let stage = Stage::with_shape(seed, shape);
        // (a) S1 leads in term 2 and reaches S2 only.
        let first = stage.leader_among(&[1, 2, 3, 4, 5]);
        let (term_2, index) = (stage.term(first), stage.last_index(first) + 1);
        let others = stage.other_nodes(&[first]);
        stage.partition(&[&[first, others[0], Stage::client(1)], &[others[1]], &[others[2]], &[others[3]]]);
        for number in 0..LARGE {
            let (value, end) = ("x".repeat(LARGE_BYTES), stage.last_index(first));
            let request = set(&format!("large-{number}"), &value);
            stage.begin(1, &[first], request, ReadLevel::Linearizable, Duration::from_secs(5));
            stage
                .until("appended on S1 and S2", || [first, others[0]].iter().all(|node| stage.last_index(*node) > end));
        }
        stage.run_for(5);
        // (b) S1 fails, and S5 is elected by S3, S4 and itself. Its first entry reaches nobody before it fails.
        stage.end_client(1);
        stage.kill(first);
        stage.heal_and_forget();
        stage.partition(&[&[others[0]], &others[1..]]);
        let s5 = stage.leader_among(&others[1..]);
        let term_3 = stage.term(s5);
        stage.nodes().for_each(|node| stage.cut(s5, node));
        stage.until("its entry is appended", || stage.last_index(s5) == index);
        stage.run_for(MOMENT_MS);
        stage.kill(s5);
        stage.heal_and_forget();
        // (c) S1 is back. It or S2 is elected, which have the same log: S4 is kept out, so S3 makes the majority.
        let [s3, s4] = stage.other_nodes(&[first, others[0], s5])[..] else { panic!("two are left") };
        for node in [s3, s4] {
            assert_eq!(stage.last_index(node), index - 1, "nothing of terms 2 and 3 has reached it");
        }
        stage.partition(&[&[first, others[0], s3], &[s4]]);
        stage.start(first);
        let s1 = stage.leader_among(&[first, others[0]]);
        let s2 = if s1 == first { others[0] } else { first };
        let term_4 = stage.term(s1);
        stage.until("the first entry of term 2 is on S3", || stage.last_index(s3) >= index);
        // Nothing of it is heard any more, but it hears the others: S2 and S3 have told that they hold that entry.
        stage.nodes().for_each(|node| stage.cut(s1, node));
        stage.run_for(MOMENT_MS);
        let this = Self { stage, s: [s1, s2, s3, s4, s5], index, term_2, term_3, term_4 };
        this.expect_c();
        this
    }

    /// What the figure shows at (c).
    fn expect_c(&self) {
        let Self { stage, s: [s1, s2, s3, s4, _], index, .. } = self;
        assert!(self.term_2 < self.term_3 && self.term_3 < self.term_4);
        for node in [*s1, *s2, *s3] {
            assert_eq!(stage.term_at(node, *index), Some(self.term_2), "node {node} holds the entry of term 2");
        }
        assert_eq!(stage.last_index(*s4), index - 1);
        assert!(stage.leads(*s1), "S1 leads in term 4");
        assert!(stage.log(*s1).iter().any(|entry| entry.term == self.term_4), "S1 has an entry of term 4");
        for node in [*s2, *s3] {
            assert!(stage.log(node).iter().all(|entry| entry.term <= self.term_2), "which nobody else has");
        }
        let applied = |node: NodeId| stage.view(node).map(|view| view.applied_index);
        for node in [*s1, *s2, *s3] {
            assert!(applied(node) < Some(*index), "on a majority, and not committed: nobody applies it");
        }
    }

    /// Only S5 has a wire to everybody else, so that only S5 can be elected.
    fn only_s5_is_heard(&self) {
        let [_, s2, s3, s4, _] = self.s;
        self.stage.partition(&[&[s2], &[s3], &[s4]]);
    }
}

/// (d) S1 fails before its entry of term 4 is on a majority: S5 is elected by S2, S3 and S4, and overwrites the entry of
/// term 2 with its own of term 3.
#[test]
fn figure_8_an_entry_of_an_older_term_on_a_majority_may_be_overwritten() {
    let c = EntryOfAnOlderTerm::new(9);
    let (stage, [s1, .., s5]) = (&c.stage, c.s);
    stage.kill(s1);
    stage.heal_and_forget();
    c.only_s5_is_heard();
    stage.start(s5);
    assert_eq!(stage.leader_among(&[s5]), s5);
    stage.heal_and_forget();
    stage.start(s1);
    stage.until("whole", || stage.views().len() == 5);
    stage.settle();
    for node in stage.nodes() {
        assert_eq!(stage.term_at(node, c.index), Some(c.term_3), "node {node} has S5's entry");
        assert!(stage.log(node).iter().all(|entry| entry.index < c.index || entry.term != c.term_2));
    }
    assert!((0..LARGE).all(|number| !stage.is_there(&format!("large-{number}"))), "never acknowledged, and gone");
    stage.write("after");
}

/// (e) S1's entry of term 4 gets on a majority: with it the entries of term 2 are committed, and S5 cannot be elected.
#[test]
fn figure_8_an_entry_of_its_own_term_commits_those_before_it() {
    let c = EntryOfAnOlderTerm::new(9);
    let (stage, [s1, s2, s3, s4, s5]) = (&c.stage, c.s);
    stage.heal_and_forget();
    stage.partition(&[&[s1, s2, s3], &[s4]]);
    stage.until("committed", || stage.view(s1).is_some_and(|view| view.applied_index >= c.index + LARGE));
    for node in [s1, s2, s3] {
        assert_eq!(stage.term_at(node, c.index), Some(c.term_2));
        assert!(stage.log(node).iter().any(|entry| entry.term == c.term_4), "node {node} has the entry of term 4");
    }
    stage.kill(s1);
    stage.heal_and_forget();
    c.only_s5_is_heard();
    stage.start(s5);
    for _ in 0..12 {
        stage.run_for(MOMENT_MS);
        assert!(!stage.leads(s5), "its log is behind those of S2 and S3");
    }
    stage.heal_and_forget();
    stage.leader_among(&[s2, s3]);
    stage.start(s1);
    stage.until("whole", || stage.views().len() == 5);
    stage.settle();
    assert!(stage.nodes().all(|node| stage.term_at(node, c.index) == Some(c.term_2)));
    assert!(stage.nodes().all(|node| stage.log(node).iter().all(|entry| entry.term != c.term_3)), "S5's entry is gone");
    let all: Vec<NodeId> = stage.nodes().collect();
    for number in 0..LARGE {
        let told = stage.ask(0, &all, crate::stage::get(&format!("large-{number}")), ReadLevel::Linearizable, 5_000);
        assert!(matches!(&told, Ok(kahuna_protocol::Outcome::Value(value)) if value.value.len() == LARGE_BYTES));
    }
}
