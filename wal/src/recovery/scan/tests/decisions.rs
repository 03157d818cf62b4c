//! What recovery decides at a place of the log, for every combination of what may stand there and around it.
//!
//! The place is the next one expected: in the second of up to four segments. All combinations are generated as the cross
//! product of the questions below; the first row of [`TABLE`] that fits one says what must come of it.

use super::{BLOCK, Given, IDENTITY, Segment, given};
use crate::format::Position;
use crate::recovery::scan::{Refusal, scan};

/// What stands at the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// The expected batch, verified.
    Whole,
    /// Its header verifies, the rest does not.
    Torn,
    /// A batch that verifies, of a lower run than the one before.
    Stale,
    /// Nothing that was ever written for this place: zeros.
    Zeros,
    /// The same: bytes of an earlier use of the file, or damage.
    Unreadable,
}

/// The segment behind that of the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// There is no such file.
    Missing,
    /// It has a header and no batch.
    Prepared,
    /// It begins with the batch that follows the last one found before it.
    Continues,
    /// It begins with a later batch: at least one is missing.
    Skips,
}

/// The segment behind the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newer {
    /// There is no such file.
    Missing,
    /// It has a header and no batch.
    Prepared,
    /// It holds a batch.
    Holds,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    header_valid: bool,
    here: Here,
    /// Whether a verified batch with a higher number follows in the same segment.
    behind: bool,
    /// Whether a later header claims the place durable.
    claimed: bool,
    next: Next,
    newer: Newer,
    /// Whether the place is the first of its segment.
    first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Replay the batch and look at the next place.
    Replay,
    /// The writer went on at the first place of the next segment: look there.
    GoOn,
    /// The log ends before the place; what follows is cut off.
    Cut,
    /// Corrupt, at the place.
    RefuseHere,
    /// Corrupt, at offset 0 of the segment of the place.
    RefuseHeader,
    /// Corrupt, at offset 0 of the next segment, which has no file.
    RefuseNext,
    /// No writer and no crash leave this behind; here is why. Whatever is replayed is a prefix of the log all the same.
    Impossible(&'static str),
}
use Action::{Cut, GoOn, Impossible, RefuseHeader, RefuseHere, RefuseNext, Replay};

/// A row fits a case when all that it names fits; an empty list and `None` fit everything.
struct Row {
    header_valid: Option<bool>,
    here: &'static [Here],
    behind: Option<bool>,
    claimed: Option<bool>,
    next: &'static [Next],
    newer: &'static [Newer],
    first: Option<bool>,
    action: Action,
}

/// Fits everything and decides nothing yet.
const fn row(action: Action) -> Row {
    Row { header_valid: None, here: &[], behind: None, claimed: None, next: &[], newer: &[], first: None, action }
}

const TABLE: &[Row] = &[
    Row {
        behind: Some(false),
        claimed: Some(true),
        next: &[Next::Missing, Next::Prepared],
        newer: &[Newer::Missing, Newer::Prepared],
        ..row(Impossible("there is no later header that could claim the place"))
    },
    Row { header_valid: Some(false), ..row(RefuseHeader) },
    Row { here: &[Here::Whole], ..row(Replay) },
    Row {
        next: &[Next::Continues],
        first: Some(true),
        ..row(Impossible(
            "a batch that fits in no segment is not taken, so the first place of a segment is never skipped",
        ))
    },
    Row {
        next: &[Next::Continues],
        behind: Some(true),
        ..row(Impossible(
            "within a run a number stands at one place: here that of the next segment's first, or a later one",
        ))
    },
    Row {
        next: &[Next::Continues],
        here: &[Here::Torn],
        ..row(Impossible("the number was used here in the same run, so it does not stand in the next segment"))
    },
    Row {
        next: &[Next::Continues],
        claimed: Some(true),
        ..row(Impossible("a place that was skipped is behind the end of its segment, and is claimed by nobody"))
    },
    Row { next: &[Next::Continues], ..row(GoOn) },
    Row { claimed: Some(true), ..row(RefuseHere) },
    Row { next: &[Next::Missing], newer: &[Newer::Prepared, Newer::Holds], ..row(RefuseNext) },
    row(Cut),
];

impl Row {
    fn fits(&self, case: &Case) -> bool {
        self.header_valid.is_none_or(|valid| valid == case.header_valid)
            && (self.here.is_empty() || self.here.contains(&case.here))
            && self.behind.is_none_or(|behind| behind == case.behind)
            && self.claimed.is_none_or(|claimed| claimed == case.claimed)
            && (self.next.is_empty() || self.next.contains(&case.next))
            && (self.newer.is_empty() || self.newer.contains(&case.newer))
            && self.first.is_none_or(|first| first == case.first)
    }
}

fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 0..1u32 << 4 {
        let [header_valid, behind, claimed, first] = [0, 1, 2, 3].map(|bit| bits >> bit & 1 == 1);
        for here in [Here::Whole, Here::Torn, Here::Stale, Here::Zeros, Here::Unreadable] {
            for next in [Next::Missing, Next::Prepared, Next::Continues, Next::Skips] {
                for newer in [Newer::Missing, Newer::Prepared, Newer::Holds] {
                    cases.push(Case { header_valid, here, behind, claimed, next, newer, first });
                }
            }
        }
    }
    cases
}

/// The run that wrote the log.
const RUN: u64 = 2;

/// A log in which a case holds.
struct Built {
    segments: Vec<Segment>,
    /// The block of the place in segment 2.
    block: u64,
    /// The number that is expected there.
    number: u64,
}

impl Built {
    fn new(case: &Case) -> Self {
        let (block, number) = if case.first { (1, 3) } else { (2, 4) };
        let is_whole = case.here == Here::Whole;
        let last = if case.behind { number + 1 } else { number - u64::from(!is_whole) };
        let of_next = match case.next {
            Next::Missing | Next::Prepared => None,
            Next::Continues if is_whole => Some(last + 1),
            Next::Continues => Some(number),
            Next::Skips => Some(last.max(number) + 1 + u64::from(is_whole)),
        };
        let of_newer = (case.newer == Newer::Holds).then(|| of_next.unwrap_or(last) + 1);

        // Everything before the place is claimed by all, the place itself by the newest batch.
        let before = if case.first { (1, 3) } else { (2, block) };
        let newest = of_newer.or(of_next).or(case.behind.then_some(last));
        let batch = |block: u64, number: u64| {
            let claims = case.claimed && Some(number) == newest;
            given(block, RUN, number, if claims { (2, block_behind(case)) } else { before })
        };
        let one = Segment::new(1, &[given(1, RUN, 1, (1, 1)), given(2, RUN, 2, (1, 2))]);
        let mut two = Segment::new(2, &[]);
        if !case.first {
            two.put(&given(1, RUN, 3, (1, 3)));
        }
        match case.here {
            Here::Zeros => {}
            Here::Unreadable => two.bytes[(block * BLOCK) as usize..][..BLOCK as usize].fill(0xa5),
            Here::Whole | Here::Torn => two.put(&batch(block, number)),
            Here::Stale => two.put(&Given { run: RUN - 1, ..batch(block, number) }),
        }
        if case.here == Here::Torn {
            two = two.tear_body(block as usize);
        }
        if case.behind {
            two.put(&batch(block + 1, number + 1));
        }
        if !case.header_valid {
            two.bytes[100] ^= 1;
        }
        let mut segments = vec![one, two];
        if case.next != Next::Missing {
            let batches: Vec<Given> = of_next.map(|number| batch(1, number)).into_iter().collect();
            segments.push(Segment::new(3, &batches));
        }
        if case.newer != Newer::Missing {
            let batches: Vec<Given> = of_newer.map(|number| batch(1, number)).into_iter().collect();
            segments.push(Segment::new(4, &batches));
        }
        Self { segments, block, number }
    }

    /// What must come of it: batches replayed and the end of the log, or where it is refused.
    fn verdict(&self, case: &Case, action: Action) -> Result<(u64, Position), Position> {
        let at = |segment: u64, block: u64| Position { segment, offset: block * BLOCK };
        let replayed = self.number - 1;
        let behind_next = |replayed: u64| match case.newer {
            Newer::Holds => (replayed + 2, at(4, 2)),
            Newer::Missing | Newer::Prepared => (replayed + 1, at(3, 2)),
        };
        // What is replayed here does not make up for a segment that is missing behind it.
        let is_missing = case.next == Next::Missing && case.newer != Newer::Missing;
        match action {
            Replay if is_missing => Err(at(3, 0)),
            Replay => {
                let here = 1 + u64::from(case.behind);
                Ok(match case.next {
                    Next::Continues => behind_next(replayed + here),
                    _ => (replayed + here, at(2, self.block + here)),
                })
            }
            GoOn => Ok(behind_next(replayed)),
            Cut => Ok((replayed, if case.first { at(1, 3) } else { at(2, self.block) })),
            RefuseHere => Err(at(2, self.block)),
            RefuseHeader => Err(at(2, 0)),
            RefuseNext => Err(at(3, 0)),
            Impossible(_) => unreachable!("asked for possible cases only"),
        }
    }
}

fn block_behind(case: &Case) -> u64 {
    if case.first { 2 } else { 3 }
}

#[test]
fn every_combination_is_decided_as_its_row_says() {
    let cases = all_cases();
    assert_eq!(cases.len(), 5 * 4 * 3 * 16);
    let mut used = vec![0; TABLE.len()];
    for case in &cases {
        let row = TABLE.iter().position(|row| row.fits(case)).expect("the last row fits everything");
        used[row] += 1;
        let action = TABLE[row].action;
        let built = Built::new(case);
        let slices: Vec<(u64, &[u8])> =
            built.segments.iter().map(|one| (one.header.sequence, &one.bytes[..])).collect();
        let outcome = scan(&IDENTITY, &slices);
        if let Ok((groups, end)) = &outcome {
            let vote = groups.get(&1).and_then(|group| group.vote.clone()).expect("segment 1 is whole");
            assert_eq!(vote, format!("{RUN}.{}", end.batches), "a prefix of the log: {case:?}");
        }
        let found = match outcome {
            Ok((_, end)) => Ok((end.batches, end.position)),
            Err(Refusal::Corrupt { at, .. }) => Err(at),
            Err(refusal) => panic!("{case:?}: {refusal:?}"),
        };
        match action {
            Impossible(why) => assert!(!why.is_empty()),
            action => assert_eq!(found, built.verdict(case, action), "row {row}, {action:?}: {case:?}"),
        }
    }
    assert!(used.iter().all(|&cases| cases > 0), "every row decides something: {used:?}");
}
