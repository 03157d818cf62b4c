//! Claim: the checker tells possible answers about a key from impossible ones. Method: histories by hand, each of them
//! a few operations; an impossible one becomes possible when its culprit is left out.

mod check_support;

use check_support::{accept, at, bare, cas, delete, get, judge, no_minima, reject, saw, saw_value, set};
use kahuna_sim::check::Outcome::{Deleted, NotFound, NotSet, Set};

#[test]
fn a_sequential_life_of_a_key_is_accepted() {
    accept(&[
        get("k").ok(0, 1, at(NotFound, 0)),
        set("k", "x").ok(2, 3, at(Set, 1)),
        get("k").ok(4, 5, saw("x", 1)),
        cas("k", "y", |event| event.if_revision = Some(1)).ok(6, 7, at(Set, 2)),
        cas("k", "z", |event| event.if_value = Some("x".into())).ok(8, 9, at(NotSet, 2)),
        delete("k").ok(10, 11, at(Deleted, 3)),
        get("k").ok(12, 13, at(NotFound, 3)),
        delete("k").ok(14, 15, at(NotFound, 3)),
        cas("k", "w", |event| event.if_present = true).ok(16, 17, at(NotSet, 3)),
        cas("k", "w", |event| event.if_absent = true).ok(18, 19, at(Set, 4)),
        cas("k", "v", |event| event.if_revision = Some(0)).ok(20, 21, at(NotSet, 4)),
        get("k").ok(22, 23, saw("w", 4)),
    ]);
}

#[test]
fn overlapping_operations_may_take_effect_in_any_order() {
    accept(&[
        set("k", "x").ok(0, 10, at(Set, 2)),
        set("k", "y").ok(5, 15, at(Set, 1)),
        get("k").ok(1, 14, saw("y", 1)),
        get("k").ok(6, 8, saw("y", 1)),
        get("k").ok(9, 20, saw("x", 2)),
    ]);
}

#[test]
fn a_stale_read_is_rejected() {
    let history = |second: u64| {
        [set("k", "x").ok(0, 1, at(Set, 1)), set("k", "y").ok(2, 3, at(Set, 2)), get("k").ok(second, 20, saw("x", 1))]
    };
    reject(&history(4), &[2]);
    // Equal instants overlap, so this read may have come first.
    accept(&history(3));
}

#[test]
fn a_stale_read_is_rejected_without_revisions() {
    reject(
        &[set("k", "x").ok(0, 1, bare(Set)), set("k", "y").ok(2, 3, bare(Set)), get("k").ok(4, 5, saw_value("x"))],
        &[2],
    );
}

#[test]
fn reads_that_disagree_on_the_order_of_two_writes_are_rejected() {
    reject(
        &[
            set("k", "x").ok(0, 100, bare(Set)),
            set("k", "y").ok(0, 100, bare(Set)),
            get("k").ok(10, 11, saw_value("x")),
            get("k").ok(12, 13, saw_value("y")),
            get("k").ok(14, 15, saw_value("x")),
        ],
        &[4],
    );
}

#[test]
fn a_lost_update_is_rejected() {
    // Both read revision 1, both wrote over it, and both were told that they had succeeded.
    let both = |first, second| {
        [
            set("k", "x").ok(0, 1, at(Set, 1)),
            cas("k", "y", |event| event.if_revision = Some(1)).ok(2, 9, first),
            cas("k", "z", |event| event.if_revision = Some(1)).ok(3, 8, second),
        ]
    };
    reject(&both(at(Set, 2), at(Set, 2)), &[2]);
    reject(&both(at(Set, 2), at(Set, 3)), &[2]);
}

#[test]
fn two_successes_on_one_value_are_rejected_without_revisions() {
    reject(
        &[
            set("k", "x").ok(0, 1, bare(Set)),
            cas("k", "y", |event| event.if_value = Some("x".into())).ok(2, 9, bare(Set)),
            cas("k", "z", |event| event.if_value = Some("x".into())).ok(3, 8, bare(Set)),
        ],
        &[2],
    );
}

#[test]
fn an_acknowledged_set_that_is_gone_is_rejected() {
    reject(&[set("k", "x").ok(0, 1, at(Set, 1)), get("k").ok(2, 3, at(NotFound, 1))], &[1]);
    reject(&[set("k", "x").ok(0, 1, bare(Set)), get("k").ok(2, 3, bare(NotFound))], &[1]);
}

#[test]
fn a_value_that_comes_back_after_its_delete_is_rejected() {
    reject(
        &[
            set("k", "x").ok(0, 1, at(Set, 1)),
            delete("k").ok(2, 3, at(Deleted, 2)),
            get("k").ok(4, 5, at(NotFound, 2)),
            get("k").ok(6, 7, saw_value("x")),
        ],
        &[3],
    );
}

#[test]
fn a_refusal_from_old_state_is_rejected() {
    reject(
        &[
            set("k", "x").ok(0, 1, at(Set, 1)),
            set("k", "y").ok(2, 3, at(Set, 2)),
            cas("k", "z", |event| event.if_value = Some("y".into())).ok(4, 5, bare(NotSet)),
        ],
        &[2],
    );
    reject(
        &[
            set("k", "x").ok(0, 1, at(Set, 1)),
            set("k", "y").ok(2, 3, at(Set, 2)),
            cas("k", "z", |event| event.if_absent = true).ok(4, 5, at(NotSet, 1)),
        ],
        &[2],
    );
}

#[test]
fn a_revision_that_skips_while_present_is_rejected() {
    reject(&[set("k", "x").ok(0, 1, at(Set, 1)), set("k", "y").ok(2, 3, at(Set, 3))], &[1]);
}

#[test]
fn a_revision_may_jump_from_absence_unless_told_otherwise() {
    let history = [
        set("k", "x").ok(0, 1, at(Set, 1)),
        delete("k").ok(2, 3, at(Deleted, 2)),
        get("k").ok(4, 5, at(NotFound, 6)),
        set("k", "y").ok(6, 7, at(Set, 9)),
    ];
    accept(&history);
    let mut dense = no_minima();
    dense.dense_revisions = true;
    assert_eq!(judge(&history, &dense).problems.len(), 1);
    assert_eq!(judge(&history[..2], &dense).problems, []);
    // It never goes back, jump or not.
    reject(&[history[0].clone(), history[1].clone(), set("k", "y").ok(4, 5, at(Set, 2))], &[2]);
}

#[test]
fn an_unknown_outcome_may_take_effect_late_or_never_but_once() {
    let lost = set("k", "x").info(0, 1);
    let kept = set("k", "y").ok(2, 3, bare(Set));
    accept(&[lost.clone(), kept.clone(), get("k").ok(4, 5, saw_value("y"))]);
    accept(&[lost.clone(), kept.clone(), get("k").ok(4, 5, saw_value("y")), get("k").ok(6, 7, saw_value("x"))]);
    accept(&[set("k", "x").cut_off(0), get("k").ok(6, 7, saw("x", 1))]);
    reject(
        &[
            lost,
            kept,
            get("k").ok(4, 5, saw_value("x")),
            set("k", "z").ok(6, 7, bare(Set)),
            get("k").ok(8, 9, saw_value("x")),
        ],
        &[4],
    );
}

#[test]
fn a_write_is_not_seen_before_it_was_asked_for() {
    reject(&[get("k").ok(0, 1, saw_value("x")), set("k", "x").ok(2, 3, bare(Set))], &[0]);
    reject(&[get("k").ok(0, 1, saw_value("x")), set("k", "x").info(2, 3)], &[0]);
}

#[test]
fn a_write_that_failed_is_never_seen() {
    reject(&[set("k", "x").fail(0, 1), get("k").ok(2, 3, saw_value("x"))], &[1]);
    reject(&[set("k", "x").fail(0, 5), get("k").ok(2, 3, saw_value("x"))], &[1]);
}

#[test]
fn revisions_that_nobody_saw_need_a_write_of_unknown_outcome() {
    let gap = |unknown: Vec<_>| {
        let mut lines = vec![set("k", "x").ok(0, 1, at(Set, 1)), set("k", "y").ok(20, 21, at(Set, 4))];
        lines.splice(1..1, unknown);
        lines
    };
    accept(&gap(vec![set("k", "a").info(2, 3), set("k", "b").info(4, 5)]));
    reject(&gap(vec![set("k", "a").info(2, 3)]), &[2]);
    // Too late for the gap.
    reject(&gap(vec![set("k", "a").info(2, 3), set("k", "b").info(30, 31)]), &[3]);
    // The condition of the second cannot hold twice.
    let once = || cas("k", "b", |event| event.if_revision = Some(2)).info(4, 5);
    accept(&gap(vec![set("k", "a").info(2, 3), once()]));
    reject(&gap(vec![once(), once()]), &[3]);
}

#[test]
fn keys_are_judged_apart() {
    let report = judge(
        &[
            set("good", "x").ok(0, 1, at(Set, 1)),
            set("bad", "x").ok(0, 1, at(Set, 1)),
            get("good").ok(2, 3, saw("x", 1)),
            get("bad").ok(2, 3, saw("y", 1)),
        ],
        &no_minima(),
    );
    let names: Vec<&str> = report.problems.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(names, ["bad"]);
}
