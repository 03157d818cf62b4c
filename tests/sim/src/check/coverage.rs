//! What a history exercised. A history in which nothing happened is linearizable, and worth nothing.

use super::history::{Action, Ending, Operation, Reply};
use super::report::Counts;

/// Adds one name's operations to the counts.
pub(super) fn count(operations: &[&Operation], counts: &mut Counts) {
    for operation in operations {
        counts.operations += 1;
        match &operation.ending {
            Ending::Ok { reply, .. } => {
                counts.ok += 1;
                counts.reads_with_value += u64::from(matches!(reply, Reply::Value { .. }));
            }
            Ending::Fail => counts.failed += 1,
            Ending::Unknown => counts.unknown += 1,
        }
    }
    counts.concurrent_pairs += concurrent_pairs(operations);
    match operations.first().map(|operation| &operation.action) {
        Some(Action::Get | Action::Set { .. } | Action::Delete { .. }) => {
            counts.keys += 1;
            counts.uncovered_keys += u64::from(!is_covered(operations));
        }
        Some(Action::Draw { .. }) => counts.sequences += 1,
        Some(_) => counts.locks += 1,
        None => {}
    }
}

/// Pairs of answered operations that overlapped, at least one of which changed something.
fn concurrent_pairs(operations: &[&Operation]) -> u64 {
    let mut events: Vec<(u64, bool, bool)> = Vec::new();
    for operation in operations {
        if let Ending::Ok { at_ns, reply } = &operation.ending {
            let changes = changes(reply);
            events.push((operation.invoked_ns, false, changes));
            events.push((*at_ns, true, changes));
        }
    }
    events.sort_unstable();
    let (mut open, mut open_changes, mut pairs) = (0u64, 0u64, 0u64);
    for (_, is_return, changes) in events {
        if is_return {
            open -= 1;
            open_changes -= u64::from(changes);
        } else {
            pairs += if changes { open } else { open_changes };
            open += 1;
            open_changes += u64::from(changes);
        }
    }
    pairs
}

fn changes(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Set { .. }
            | Reply::Deleted { .. }
            | Reply::Acquired { .. }
            | Reply::Extended { .. }
            | Reply::Released
            | Reply::Drawn { .. }
    )
}

/// Whether a key has no acknowledged write, or a read that began after the last one had returned.
fn is_covered(operations: &[&Operation]) -> bool {
    let mut last_write_ns = None;
    let mut last_read_ns = None;
    for operation in operations {
        let Ending::Ok { at_ns, reply } = &operation.ending else {
            continue;
        };
        match reply {
            Reply::Set { .. } | Reply::Deleted { .. } => last_write_ns = last_write_ns.max(Some(*at_ns)),
            _ if operation.action == Action::Get => last_read_ns = last_read_ns.max(Some(operation.invoked_ns)),
            _ => {}
        }
    }
    last_write_ns.is_none() || last_read_ns > last_write_ns
}
