//! A sequence needs no search: values that are unique, that rise over real time, and of which none is missing, are a
//! linearizable counter.

use super::breach::Breach;
use super::history::{Action, Ending, Operation, Reply};

/// An answered draw; positions rise by one per value, whatever the increment.
struct Draw<'a> {
    operation: &'a Operation,
    returned_ns: u64,
    incarnation: u64,
    first: i128,
    last: i128,
}

/// What one sequence broke, and how many values lie between seen ones and were seen by nobody.
pub(super) fn check_sequence(operations: &[&Operation]) -> (Vec<Breach>, u64) {
    let Some(Action::Draw { increment, .. }) = operations.first().map(|operation| &operation.action) else {
        return (Vec::new(), 0);
    };
    let increment = i128::from(*increment);
    let mut breaches = Vec::new();
    let mut draws: Vec<Draw> = Vec::new();
    for operation in operations {
        match draw_of(operation, increment) {
            Ok(draw) => draws.extend(draw),
            Err(breach) => breaches.push(breach),
        }
    }
    breaches.extend(check_order(&draws));
    draws.sort_by_key(|draw| (draw.incarnation, draw.first, draw.last, draw.operation.line));
    let mut missing = 0;
    for draws in draws.chunk_by(|a, b| a.incarnation == b.incarnation) {
        for pair in draws.windows(2) {
            if pair[1].first <= pair[0].last {
                let lines = vec![pair[0].operation.end_line, pair[1].operation.end_line];
                let value = pair[1].first * increment + origin(&draws[0], increment);
                let text = format!("value {value} was given twice (lines {} and {})", lines[0], lines[1]);
                breaches.push(Breach { lines, text });
            }
        }
        let (unseen, breach) = check_gaps(draws, operations);
        missing += unseen;
        breaches.extend(breach);
    }
    (breaches, missing)
}

/// What a value is at position 0 of a draw's numbering.
fn origin(draw: &Draw, increment: i128) -> i128 {
    match draw.operation.ending {
        Ending::Ok { reply: Reply::Drawn { start, .. }, .. } => i128::from(start) - draw.first * increment,
        _ => 0,
    }
}

fn draw_of<'a>(operation: &'a Operation, increment: i128) -> Result<Option<Draw<'a>>, Breach> {
    let breach = |text: String| Err(Breach { lines: vec![operation.end_line], text });
    let Action::Draw { count, increment: own } = operation.action else {
        return Ok(None);
    };
    if i128::from(own) != increment {
        return breach(format!("increment {own} in line {}, {increment} before", operation.line));
    }
    let Ending::Ok { at_ns, reply: Reply::Drawn { incarnation, start, end } } = operation.ending else {
        return Ok(None);
    };
    let (start, end) = (i128::from(start), i128::from(end));
    if end - start != (i128::from(count) - 1) * increment {
        return breach(format!(
            "{count} values were asked for, and {start}..={end} given (line {})",
            operation.end_line
        ));
    }
    // Values that are not on one grid of the increment get positions that overlap or leave gaps: either is reported.
    let (first, last) = (start.div_euclid(increment), end.div_euclid(increment));
    Ok(Some(Draw { operation, returned_ns: at_ns, incarnation, first, last }))
}

/// What began after another draw had returned must lie beyond it.
fn check_order(draws: &[Draw]) -> Option<Breach> {
    let mut by_start: Vec<&Draw> = draws.iter().collect();
    by_start.sort_by_key(|draw| draw.operation.invoked_ns);
    let mut by_end: Vec<&Draw> = draws.iter().collect();
    by_end.sort_by_key(|draw| draw.returned_ns);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<&Draw> = None;
    for draw in by_start {
        while let Some(before) = ended.next_if(|before| before.returned_ns < draw.operation.invoked_ns) {
            if highest.is_none_or(|high| (before.incarnation, before.last) > (high.incarnation, high.last)) {
                highest = Some(before);
            }
        }
        if let Some(high) = highest
            && (draw.incarnation, draw.first) <= (high.incarnation, high.last)
        {
            let lines = vec![high.operation.end_line, draw.operation.end_line];
            let text = format!(
                "the value of line {} had arrived before line {} was asked, and is not below it",
                lines[0], lines[1]
            );
            return Some(Breach { lines, text });
        }
    }
    None
}

/// The missing values of one incarnation. Each needs a draw of unknown outcome that was asked for before any higher
/// value arrived.
fn check_gaps(draws: &[Draw], operations: &[&Operation]) -> (u64, Option<Breach>) {
    // When each was asked for, and how many values it and the earlier ones can have drawn.
    let mut unknown: Vec<(u64, u128)> = operations
        .iter()
        .filter_map(|operation| match (&operation.action, &operation.ending) {
            (Action::Draw { count, .. }, Ending::Unknown) => Some((operation.invoked_ns, u128::from(*count))),
            _ => None,
        })
        .collect();
    unknown.sort_unstable();
    let mut total = 0;
    for (_, count) in &mut unknown {
        total += *count;
        *count = total;
    }
    let mut arrived_above = vec![u64::MAX; draws.len()];
    let mut earliest = u64::MAX;
    for (at, draw) in draws.iter().enumerate().rev() {
        earliest = earliest.min(draw.returned_ns);
        arrived_above[at] = earliest;
    }
    let mut missing: u128 = 0;
    let mut breach = None;
    let mut reached = draws.first().map_or(0, |draw| draw.last);
    for (at, draw) in draws.iter().enumerate() {
        let gap = (draw.first - reached - 1).max(0).unsigned_abs();
        reached = reached.max(draw.last);
        if at == 0 || gap == 0 {
            continue;
        }
        missing += gap;
        let askers = unknown.partition_point(|&(invoked_ns, _)| invoked_ns <= arrived_above[at]);
        let possible = askers.checked_sub(1).map_or(0, |last| unknown[last].1);
        if missing > possible && breach.is_none() {
            let line = draw.operation.end_line;
            let text = format!(
                "{missing} values up to the one of line {line} were seen by nobody, and operations of unknown outcome \
                 can have drawn {possible}"
            );
            breach = Some(Breach { lines: vec![line], text });
        }
    }
    (u64::try_from(missing).unwrap_or(u64::MAX), breach)
}
