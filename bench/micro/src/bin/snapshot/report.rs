//! What is printed of the turns.

use std::cmp::Reverse;
use std::time::Duration;

use kahuna_microbench::{Cell, Table};

use crate::phases::{LIMITED, Measured};
use crate::probe::NOTED;
use crate::witness::Seen;

/// The longest turn of its own that a shard may take while a snapshot is written.
const LIMIT: Duration = Duration::from_millis(2);
/// Long turns shown of each phase.
const SHOWN: usize = 8;

/// One row per phase.
pub fn phases(measured: &[Measured]) -> Table {
    let mut table = Table::new([
        "phase",
        "seconds",
        "turns",
        "p50_us",
        "p99_us",
        "p999_us",
        "max_us",
        "own_p50_us",
        "own_p99_us",
        "own_p999_us",
        "own_max_us",
        "over_1_ms",
        "own_over_1_ms",
        "batches_per_s",
        "batch_p50_ms",
        "batch_p99_ms",
        "batch_max_ms",
    ]);
    for Measured { name, seconds, turns, writes } in measured {
        let us = |nanos: u64| Cell::Number(nanos as f64 / 1e3, 1);
        let ms = |nanos: u64| Cell::Number(nanos as f64 / 1e6, 1);
        table.push([
            Cell::Text((*name).to_owned()),
            Cell::Number(*seconds, 2),
            Cell::Number(turns.whole.len() as f64, 0),
            us(turns.whole.value_at_quantile(0.5)),
            us(turns.whole.value_at_quantile(0.99)),
            us(turns.whole.value_at_quantile(0.999)),
            us(turns.whole.max()),
            us(turns.own.value_at_quantile(0.5)),
            us(turns.own.value_at_quantile(0.99)),
            us(turns.own.value_at_quantile(0.999)),
            us(turns.own.max()),
            Cell::Number(turns.noted.len() as f64, 0),
            Cell::Number(turns.noted.iter().filter(|turn| turn.own() > NOTED).count() as f64, 0),
            Cell::Number(writes.len() as f64 / seconds, 0),
            ms(writes.value_at_quantile(0.5)),
            ms(writes.value_at_quantile(0.99)),
            ms(writes.max()),
        ]);
    }
    table
}

/// Of each phase, the turns of more than a millisecond with the most of the shard's own time, one per row.
pub fn long_turns(measured: &[Measured], seen: &Seen) -> Table {
    let mut table = Table::new([
        "turn_in",
        "ended_s",
        "whole_us",
        "own_us",
        "ran_us",
        "stood_us",
        "blocked_us",
        "waited_us",
        "faults",
        "waits",
        "witness_us",
    ]);
    for phase in measured {
        let mut turns = phase.turns.noted.clone();
        turns.sort_by_key(|turn| Reverse(turn.own()));
        for turn in turns.iter().take(SHOWN) {
            let us = |time: Duration| Cell::Number(time.as_nanos() as f64 / 1e3, 1);
            table.push([
                Cell::Text(phase.name.to_owned()),
                Cell::Number(turn.ended.as_secs_f64(), 6),
                us(turn.whole),
                us(turn.own()),
                us(turn.ran),
                us(turn.stood),
                us(turn.blocked),
                us(turn.waited),
                Cell::Number(turn.faults as f64, 0),
                Cell::Number(turn.waits as f64, 0),
                us(seen.beside(turn.ended, turn.whole).map_or(Duration::ZERO, |step| step.ran)),
            ]);
        }
    }
    table
}

/// When the machine was slow by itself.
pub fn bad_times(seen: &Seen) -> Table {
    let mut table = Table::new(["witness", "usual_step_us", "slow_steps", "slowest_us", "bad_times_ms"]);
    let slowest = seen.slow.iter().map(|step| step.ran).max().unwrap_or_default();
    table.push([
        Cell::Text("touches memory".to_owned()),
        Cell::Number(seen.usual.as_nanos() as f64 / 1e3, 1),
        Cell::Number(seen.slow.len() as f64, 0),
        Cell::Number(slowest.as_nanos() as f64 / 1e3, 1),
        Cell::Number(seen.covered().as_nanos() as f64 / 1e6, 1),
    ]);
    table
}

/// The longest turns of the phases that are held against the limit, all of them and those at times at which the witness was not
/// slow; and whether the latter are within.
pub fn verdict(measured: &[Measured], seen: &Seen) -> (Table, bool) {
    let limited = || measured.iter().filter(|phase| LIMITED.contains(&phase.name)).map(|phase| &phase.turns);
    let longest = limited().map(|turns| turns.longest_own).max().unwrap_or_default();
    let alone = limited().flat_map(|turns| &turns.noted).filter(|turn| seen.beside(turn.ended, turn.whole).is_none());
    // What was not noted is shorter than what is.
    let longest_alone = alone.map(|turn| turn.own()).max().unwrap_or(NOTED.min(longest));
    let within = longest_alone < LIMIT;
    let mut table = Table::new(["held_against_the_limit", "own_max_us", "alone_own_max_us", "limit_us", "verdict"]);
    table.push([
        Cell::Text("turns while a snapshot is written".to_owned()),
        Cell::Number(longest.as_nanos() as f64 / 1e3, 1),
        Cell::Number(longest_alone.as_nanos() as f64 / 1e3, 1),
        Cell::Number(LIMIT.as_micros() as f64, 0),
        Cell::Text(if within { "within" } else { "EXCEEDED" }.to_owned()),
    ]);
    (table, within)
}
