//! Claim: values of a sequence are unique, rise over real time, and none is missing without a reason. Method:
//! histories by hand.

mod check_support;

use check_support::{Line, accept, bare, drew, judge, next, no_minima, reject, reserve, reserved};
use kahuna_sim::check::Event;
use kahuna_sim::check::Outcome::Exhausted;

fn draw(from: u64, to: u64, value: i64) -> Line {
    next("s").ok(from, to, drew(value))
}

#[test]
fn rising_values_and_ranges_are_accepted() {
    accept(&[
        draw(0, 1, 1),
        draw(2, 9, 3),
        draw(3, 8, 2),
        reserve("s", 4).ok(10, 11, reserved(4, 7)),
        draw(12, 13, 8),
        next("s").ok(14, 15, bare(Exhausted)),
    ]);
}

#[test]
fn a_value_given_twice_is_rejected() {
    reject(&[draw(0, 9, 1), draw(0, 9, 2), draw(0, 9, 2)], &[2]);
    reject(&[reserve("s", 3).ok(0, 9, reserved(1, 3)), draw(0, 9, 3)], &[1]);
}

#[test]
fn a_value_below_one_that_had_arrived_is_rejected() {
    reject(&[draw(0, 1, 2), draw(2, 3, 1)], &[1]);
    accept(&[draw(0, 2, 2), draw(2, 3, 1)]);
}

#[test]
fn a_missing_value_needs_a_draw_of_unknown_outcome() {
    reject(&[draw(0, 1, 1), draw(2, 3, 3)], &[1]);
    accept(&[draw(0, 1, 1), next("s").info(2, 3), draw(4, 5, 3)]);
    reject(&[draw(0, 1, 1), next("s").fail(2, 3), draw(4, 5, 3)], &[2]);
    // Asked for after a higher value had arrived.
    reject(&[draw(0, 1, 1), draw(4, 5, 3), next("s").info(6, 7)], &[1]);
    let report = judge(&[draw(0, 1, 1), reserve("s", 2).info(2, 3), draw(4, 5, 4)], &no_minima());
    assert_eq!((report.problems.len(), report.counts.missing_sequence_values), (0, 2));
}

#[test]
fn a_range_of_another_size_is_rejected() {
    reject(&[draw(0, 1, 1), reserve("s", 3).ok(2, 3, reserved(2, 3))], &[1]);
}

#[test]
fn a_negative_increment_counts_down() {
    let down = |from, to, value| next("s").with(|event| event.increment = Some(-2)).ok(from, to, drew(value));
    accept(&[down(0, 1, 3), down(2, 3, 1), down(4, 5, -1)]);
    reject(&[down(0, 1, 1), down(2, 3, 3)], &[1]);
    reject(&[down(0, 1, 3), down(2, 3, -1)], &[1]);
}

#[test]
fn a_new_incarnation_starts_anew_and_the_old_one_is_over() {
    let reborn = |from, to, incarnation, value| {
        next("s").ok(from, to, move |event: &mut Event| {
            drew(value)(event);
            event.incarnation = Some(incarnation);
        })
    };
    accept(&[reborn(0, 1, 1, 1), reborn(2, 3, 1, 2), reborn(4, 5, 2, 1)]);
    reject(&[reborn(0, 1, 1, 1), reborn(2, 3, 2, 1), reborn(4, 5, 1, 2)], &[2]);
}
