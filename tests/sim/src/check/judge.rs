//! A history is cut into names, each of which is judged alone.

use std::collections::BTreeMap;

use super::breach::Breach;
use super::coverage;
use super::frontier::Model;
use super::history::{Action, Ending, History, Operation};
use super::locks::{self, Lock, LockState};
use super::numbering::{NONE, Numbering};
use super::prepare::prepare;
use super::register::KeyState;
use super::report::{Counts, Limits, Problem, Report, Verdict};
use super::search::{Answer, Entry, search};
use super::sequence::check_sequence;

/// How many of the possible states a problem names.
const STATES_SHOWN: usize = 4;

/// Checks every name of a history.
pub fn check(history: &History, limits: &Limits) -> Report {
    let mut names: BTreeMap<(&'static str, &str), Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        names.entry((kind(&operation.action), &operation.key)).or_default().push(operation);
    }
    let mut counts = Counts::default();
    let mut problems = Vec::new();
    let mut shortfalls = Vec::new();
    for ((kind, name), operations) in names {
        coverage::count(&operations, &mut counts);
        let mut left = limits.max_steps;
        let finding = match kind {
            "key" => check_key(&operations, limits.dense_revisions, &mut left),
            "lock" => check_lock(&operations, &mut left),
            _ => {
                let (breaches, missing) = check_sequence(&operations);
                counts.missing_sequence_values += missing;
                problems.extend(breaches.into_iter().map(|breach| Problem::new(kind, name, breach)));
                Finding::None
            }
        };
        counts.steps += limits.max_steps - left;
        match finding {
            Finding::None => {}
            Finding::Breach(breach) => problems.push(Problem::new(kind, name, breach)),
            Finding::OutOfBudget => {
                shortfalls.push(format!("the search of {kind} {name:?} was given up after {} steps", limits.max_steps));
            }
        }
    }
    shortfalls.extend(too_little(&counts, limits));
    let outcome = match (problems.is_empty(), shortfalls.is_empty()) {
        (false, _) => Verdict::Invalid,
        (true, false) => Verdict::Unknown,
        (true, true) => Verdict::Valid,
    };
    Report { outcome, counts, problems, shortfalls }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Get | Action::Set { .. } | Action::Delete { .. } => "key",
        Action::Draw { .. } => "sequence",
        Action::Acquire { .. } | Action::Extend { .. } | Action::Release { .. } | Action::LockInfo => "lock",
    }
}

fn too_little(counts: &Counts, limits: &Limits) -> Vec<String> {
    let mut missing = Vec::new();
    if counts.ok < limits.min_ok {
        missing.push(format!("{} operations were answered, {} are asked for", counts.ok, limits.min_ok));
    }
    if counts.keys > 0 && counts.reads_with_value < limits.min_reads_with_value {
        let (seen, asked) = (counts.reads_with_value, limits.min_reads_with_value);
        missing.push(format!("{seen} reads saw a value, {asked} are asked for"));
    }
    if counts.concurrent_pairs < limits.min_concurrent_pairs {
        let (seen, asked) = (counts.concurrent_pairs, limits.min_concurrent_pairs);
        missing.push(format!("{seen} pairs of answered operations overlapped, {asked} are asked for"));
    }
    if counts.uncovered_keys > limits.max_uncovered_keys {
        let (seen, allowed) = (counts.uncovered_keys, limits.max_uncovered_keys);
        missing.push(format!("{seen} keys were not read after their last acknowledged write, {allowed} are allowed"));
    }
    missing
}

enum Finding {
    None,
    Breach(Breach),
    OutOfBudget,
}

fn check_key(operations: &[&Operation], dense: bool, budget: &mut u64) -> Finding {
    match prepare(operations, dense) {
        Err(breach) => Finding::Breach(breach),
        Ok(ready) => {
            let show = |state: KeyState| show_key(state, &ready.values);
            explore(&ready.register, &ready.entries, &ready.sources, operations, budget, show)
        }
    }
}

fn check_lock(operations: &[&Operation], budget: &mut u64) -> Finding {
    match locks::prepare(operations) {
        Err(breach) => Finding::Breach(breach),
        Ok((entries, sources, owners)) => {
            explore(&Lock, &entries, &sources, operations, budget, |state| show_lock(state, &owners))
        }
    }
}

fn explore<M: Model>(
    model: &M,
    entries: &[Entry<M::Op>],
    sources: &[usize],
    operations: &[&Operation],
    budget: &mut u64,
    show: impl Fn(M::State) -> String,
) -> Finding {
    match search(model, entries, budget) {
        Answer::Linearizable => Finding::None,
        Answer::OutOfBudget => Finding::OutOfBudget,
        Answer::Stuck { entry, states, open } => {
            let stuck = operations[sources[entry]];
            let mut shown: Vec<String> = states.into_iter().map(show).collect();
            shown.sort();
            shown.dedup();
            let more = if shown.len() > STATES_SHOWN { ", or other" } else { "" };
            shown.truncate(STATES_SHOWN);
            let mut lines = vec![stuck.end_line];
            lines.extend(open.iter().map(|&entry| operations[sources[entry]].line));
            let beside: Vec<String> = lines[1..].iter().map(ToString::to_string).collect();
            let beside = if beside.is_empty() { "none".into() } else { beside.join(", ") };
            let text = format!(
                "{} fits nowhere. Before it: {}{more}. Also open: {beside}",
                describe(stuck),
                shown.join(", or ")
            );
            Finding::Breach(Breach { lines, text })
        }
    }
}

fn describe(operation: &Operation) -> String {
    let Operation { process, action, line, end_line, ending, .. } = operation;
    match ending {
        Ending::Ok { reply, .. } => format!("{action:?} -> {reply:?} (process {process}, lines {line} and {end_line})"),
        _ => format!("{action:?}, which a later answer shows (process {process}, line {line})"),
    }
}

fn show_key(state: KeyState, values: &Numbering) -> String {
    let revision = state.revision.show();
    match state.value {
        NONE => format!("absent at revision {revision}"),
        value => format!("{} at revision {revision}", values.show(value)),
    }
}

fn show_lock(state: LockState, owners: &Numbering) -> String {
    let token = state.token.show();
    match state.owner {
        NONE => format!("free after token {token}"),
        owner => format!("held by {} with token {token}", owners.show(owner)),
    }
}
