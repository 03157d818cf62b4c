use super::*;

const MS: i64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1000);
/// The own clock.
const OWN: i64 = 7_000_000 * MS;
/// Of another node: what its clock is ahead of the own one, and what the clock is that it goes by, in milliseconds.
type Heard = (i64, Option<i64>);

/// Nodes 2, 3, ..
fn heard(clocks: &[Heard]) -> Vec<Offset> {
    let offset = |((ahead_ms, agreed_ms), node): (&Heard, u32)| Offset {
        node: NodeId(node),
        minus_boot: OWN + ahead_ms * MS,
        agreed: agreed_ms.map(|ms| OWN + ms * MS),
        round_trip: Duration::ZERO,
    };
    clocks.iter().zip(2..).map(offset).collect()
}

/// Nodes that have not judged yet.
fn offsets(ahead_ms: &[i64]) -> Vec<Offset> {
    heard(&ahead_ms.iter().map(|ms| (*ms, None)).collect::<Vec<_>>())
}

fn judge(ahead_ms: &[i64]) -> Option<(Trouble, i64)> {
    let alarm = Skew::new(NodeId(1), 250).judge(OWN, &offsets(ahead_ms), NOW)?;
    Some((alarm.trouble?, alarm.off / MS))
}

/// What it goes by: milliseconds ahead of its own clock, and whether it is sure.
fn goes_by(skew: &Skew) -> Option<(i64, bool)> {
    skew.agreed().map(|agreed| ((agreed.minus_boot - OWN) / MS, agreed.sure))
}

/// A node that heard this, a second apart.
fn after(rounds: &[&[Heard]]) -> Skew {
    let mut skew = Skew::new(NodeId(1), 250);
    for (clocks, second) in rounds.iter().zip(0..) {
        skew.judge(OWN, &heard(clocks), NOW + second * SECOND);
    }
    skew
}

/// What a node goes by first that heard this.
fn first(clocks: &[Heard]) -> Option<(i64, bool)> {
    goes_by(&after(&[clocks]))
}

fn first_of(ahead_ms: &[i64]) -> Option<(i64, bool)> {
    first(&ahead_ms.iter().map(|ms| (*ms, None)).collect::<Vec<_>>())
}

#[test]
fn the_median_tells_who_is_wrong() {
    assert_eq!(judge(&[0, 126]), None, "node 3 is wrong, and says so itself");
    assert_eq!(judge(&[126, 130]), Some((Trouble::Own, -126)));
    assert_eq!(judge(&[-140, -126]), Some((Trouble::Own, 126)));
    assert_eq!(judge(&[125, 125]), None, "half of the limit is allowed");
    assert_eq!(judge(&[500, -500, 500, -500]), None);
    assert_eq!(judge(&[500, 500, 3]), None, "four clocks, two against two");
}

#[test]
fn two_nodes_only_differ() {
    assert_eq!(judge(&[126]), Some((Trouble::Either(NodeId(2)), -126)));
    assert_eq!(judge(&[-125]), None);
    assert_eq!(judge(&[]), None);
}

#[test]
fn where_nobody_goes_by_a_clock_yet_the_wall_clocks_say() {
    assert_eq!(first_of(&[]), None, "nobody was heard");
    assert_eq!(first_of(&[0, 120_000]), Some((0, true)), "another one is off");
    assert_eq!(first_of(&[-120_000, -119_990]), Some((-120_000 + 10, true)), "ahead: the upper median");
    assert_eq!(first_of(&[120_000, 119_990]), Some((119_990, true)), "behind: the lower one");
    assert_eq!(first_of(&[-120_000, 120_000]), Some((0, true)), "each is off in its own way");
    assert_eq!(first_of(&[-9_000, -9_000, 0, 0]), Some((0, true)));
    assert_eq!(first_of(&[-60_000]), Some((-60_000, false)), "of two that differ the slower one");
    assert_eq!(first_of(&[60_000]), Some((0, false)));
    assert_eq!(first_of(&[125]), Some((0, true)), "they agree");
}

#[test]
fn a_node_that_starts_goes_by_what_the_others_go_by() {
    assert_eq!(first(&[(0, Some(-9_000)), (0, Some(-9_000))]), Some((-9_000, true)), "all were set forward, and slew");
    assert_eq!(first(&[(0, Some(9_000)), (0, Some(9_000))]), Some((9_000, true)), "leases were given by that clock");
    assert_eq!(first(&[(0, None), (0, Some(-9_000))]), Some((-9_000, true)), "one of them knows");
    assert_eq!(first(&[(0, Some(-9_000)), (0, Some(-4_000))]), Some((-9_000, true)), "the lower median");
    assert_eq!(first(&[(-60_000, Some(-3_000))]), Some((-3_000, false)));
    assert_eq!(first(&[(-60_000, Some(-125)), (0, Some(-120))]), Some((0, true)), "its own is close to theirs");
}

#[test]
fn of_a_slow_answer_the_earliest_is_taken() {
    let round_trip = Duration::from_millis(80);
    let far = Offset { round_trip, ..heard(&[(0, Some(-9_000))])[0] };
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN, &[far], NOW);
    assert_eq!(goes_by(&skew), Some((-9_040, true)));
}

#[test]
fn forward_it_goes_slowly_and_back_at_once() {
    let all = |ms: i64| heard(&[(ms, None), (ms, None)]);
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN, &all(-120_000), NOW);
    for (seconds, slewed_ms) in [(2, 1), (10, 5), (1_000, 500)] {
        // However often it looks.
        skew.judge(OWN, &all(0), NOW + Duration::from_secs(seconds));
        assert_eq!(goes_by(&skew), Some((-120_000 + slewed_ms, true)), "after {seconds} s");
    }
    skew.judge(OWN, &all(-150_000), NOW + Duration::from_secs(1_001));
    assert_eq!(goes_by(&skew), Some((-150_000, true)), "set back");
    skew.judge(OWN, &all(-149_999), NOW + Duration::from_secs(1_003));
    skew.judge(OWN, &all(-149_999), NOW + Duration::from_secs(1_103));
    assert_eq!(goes_by(&skew), Some((-149_999, true)), "and no further than the clocks say");
}

#[test]
fn its_own_clock_is_followed_slowly_too() {
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN - 9_000 * MS, &offsets(&[-9_000, -9_000]), NOW);
    let alarm = skew.judge(OWN, &offsets(&[0, 0]), NOW + 2 * SECOND).expect("it is behind");
    assert_eq!((goes_by(&skew), alarm.behind), (Some((-8_999, true)), Some(8_999 * MS)), "all were set forward");
    let mut alone = Skew::new(NodeId(1), 250);
    assert_eq!(alone.alone(OWN, NOW), None);
    alone.alone(OWN + 9_000 * MS, NOW + 2 * SECOND).expect("it is behind");
    assert_eq!(goes_by(&alone), Some((1, true)), "a node that is alone");
    alone.alone(OWN - 9_000 * MS, NOW + 3 * SECOND).expect("it is behind no more");
    assert_eq!(goes_by(&alone), Some((-9_000, true)));
}

#[test]
fn who_is_ahead_of_what_most_go_by_goes_back() {
    let goes = |agreed: &[i64]| {
        let clocks: Vec<Heard> = agreed.iter().map(|ms| (0, Some(*ms))).collect();
        goes_by(&after(&[&[(0, None), (0, None)], &clocks])).expect("judged").0
    };
    assert_eq!(goes(&[-9_000, -9_000]), -9_000);
    assert_eq!(goes(&[-9_000]), -9_000, "of two it is the one that is ahead");
    assert_eq!(goes(&[-9_000, 0]), 0, "another one is behind");
    assert_eq!(goes(&[-9_000, -9_000, 0]), -9_000, "two against two");
    assert_eq!(goes(&[9_000, 9_000]), 0, "others are ahead");
    assert_eq!(goes(&[-125, -125]), 0, "close enough");
}

#[test]
fn a_step_forward_while_others_went_on_is_taken_slowly() {
    let set_right = after(&[&[(60_000, None)], &[(0, Some(0))]]);
    assert_eq!(goes_by(&set_right), Some((0, true)), "both went by the slower one, and the faster one was set right");
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN - 60_000 * MS, &offsets(&[-60_000]), NOW);
    skew.judge(OWN, &offsets(&[-60_000]), NOW + SECOND);
    assert_eq!(goes_by(&skew), Some((-60_000, false)), "one of two is set right");
    skew.judge(OWN, &offsets(&[0]), NOW + 3 * SECOND);
    assert_eq!(goes_by(&skew), Some((-59_999, true)), "then the other one");
}

#[test]
fn what_was_agreed_on_outlasts_the_silence_of_the_others() {
    assert_eq!(goes_by(&after(&[&[(-9_000, None), (-9_000, None)], &[]])), Some((-9_000, true)));
    assert_eq!(goes_by(&after(&[&[(-9_000, None), (-9_000, None)], &[(-9_000, None)]])), Some((-9_000, false)));
    assert_eq!(goes_by(&after(&[&[(0, None), (9_000, None)], &[(9_000, None)]])), Some((0, false)), "that one is off");
}

#[test]
fn a_slow_round_trip_proves_nothing() {
    let heard = |ms, millis| {
        let round_trip = Duration::from_millis(millis);
        offsets(&[ms, ms]).into_iter().map(|offset| Offset { round_trip, ..offset }).collect::<Vec<_>>()
    };
    let alarm = |millis| Skew::new(NodeId(1), 250).judge(OWN, &heard(200, millis), NOW);
    assert!(alarm(149).is_some());
    assert!(alarm(150).is_none());
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN, &heard(-9_000, 0), NOW);
    skew.judge(OWN, &heard(-9_070, 150), NOW + SECOND);
    assert_eq!(goes_by(&skew), Some((-9_000, true)), "it stays where it was");
}

#[test]
fn an_alarm_is_said_once_a_minute_and_when_it_ends() {
    let mut skew = Skew::new(NodeId(1), 250);
    assert!(skew.judge(OWN, &offsets(&[-300, -300]), NOW).is_some());
    assert!(skew.judge(OWN, &offsets(&[-310, -300]), NOW + SECOND).is_none());
    assert!(skew.judge(OWN, &offsets(&[-310, -300]), NOW + REPEAT_EVERY).is_some());
    skew.judge(OWN, &offsets(&[0, 1]), NOW + REPEAT_EVERY + SECOND).expect("its clock was set right, it slews");
    let end = skew.judge(OWN, &offsets(&[0, 1]), NOW + 11 * REPEAT_EVERY).expect("said");
    assert_eq!(end.to_string(), "node 1: the clocks agree again");
    assert!(skew.judge(OWN, &offsets(&[0, 1]), NOW + 13 * REPEAT_EVERY).is_none());
}

#[test]
fn the_alarm_says_what_is_wrong_and_how_long_it_lasts() {
    let mut skew = Skew::new(NodeId(1), 250);
    skew.judge(OWN, &heard(&[(0, Some(-300_000)), (0, Some(-300_000))]), NOW).map_or_else(
        || panic!("it is five minutes behind"),
        |alarm| {
            let note = alarm.note().expect("something is wrong");
            assert!(note.contains("is 300000 ms behind the nodes' clocks") && note.contains("(in 166 h)"), "{note}");
        },
    );
    let alarm = skew.judge(OWN + 700 * MS, &heard(&[(0, None), (0, None)]), NOW + SECOND).expect("its own is off too");
    let note = alarm.note().expect("something is wrong");
    assert!(
        note.starts_with("this node's clock is 700 ms ahead of the median") && note.contains("; the time that"),
        "{note}"
    );
}
