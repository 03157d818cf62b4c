//! A key's operations, made ready for the search, with what the answers reveal beforehand.
//!
//! - A revision that an answer gave to a write belongs to it alone; a value that was read at a revision is what the
//!   write of that revision wrote. Two answers that disagree are a finding by themselves.
//! - A write of unknown outcome whose value nobody else writes, and which somebody saw, did take effect: before the
//!   first answer that shows it returned. It is then searched like an answered one.
//! - A condition on a value that one write wrote, at a known revision, is a condition on that revision.

use std::collections::HashMap;

use super::breach::Breach;
use super::history::{Action, Conditions, Ending, Operation, Reply};
use super::numbering::{NONE, Numbering};
use super::register::{Claim, Guard, KeyOp, Register};
use super::search::Entry;

pub(super) struct Prepared {
    pub register: Register,
    pub entries: Vec<Entry<KeyOp>>,
    /// The operation of each entry.
    pub sources: Vec<usize>,
    pub values: Numbering,
}

pub(super) fn prepare(operations: &[&Operation], dense: bool) -> Result<Prepared, Breach> {
    let values = mentioned(operations);
    let mut entries = Vec::new();
    let mut sources = Vec::new();
    for (source, operation) in operations.iter().enumerate() {
        if let Some(entry) = entry_of(operation, &values) {
            entries.push(entry);
            sources.push(source);
        }
    }
    bind_seen_writes(&mut entries);
    bind_guards(&mut entries);
    let counted = entries.iter().any(|entry| speaks_of_revisions(&entry.op));
    let claims = claims(&entries, |entry| operations[sources[entry]].end_line, &values)?;
    Ok(Prepared { register: Register { counted, dense, claims }, entries, sources, values })
}

fn mentioned(operations: &[&Operation]) -> Numbering {
    let mut values = Numbering::default();
    for operation in operations {
        if let Action::Set { conditions, .. } | Action::Delete { conditions } = &operation.action
            && let Some(value) = &conditions.value
        {
            values.mention(value);
        }
        if let Ending::Ok { reply: Reply::Value { value, .. }, .. } = &operation.ending {
            values.mention(value);
        }
    }
    values
}

/// None for what says nothing: it failed, or is a read of unknown outcome.
fn entry_of(operation: &Operation, values: &Numbering) -> Option<Entry<KeyOp>> {
    let guard = |asked: &Conditions| {
        Guard::new(asked.absent, asked.present, asked.value.as_deref().map(|value| values.of(value)), asked.revision)
    };
    let (written, guard) = match &operation.action {
        Action::Set { value, conditions } => (Some(values.of(value)), guard(conditions)),
        Action::Delete { conditions } => (Some(NONE), guard(conditions)),
        _ => (None, Guard::default()),
    };
    let (op, returned_ns) = match &operation.ending {
        Ending::Fail => return None,
        Ending::Unknown => (KeyOp::Write { value: written?, guard, revision: None }, None),
        Ending::Ok { at_ns, reply } => {
            let op = match reply {
                Reply::Set { revision } | Reply::Deleted { revision } => {
                    KeyOp::Write { value: written?, guard, revision: *revision }
                }
                Reply::NotSet { revision } => KeyOp::Refused { guard, revision: *revision },
                Reply::Value { value, revision } => KeyOp::Saw { value: values.of(value), revision: *revision },
                Reply::NotFound { revision } => KeyOp::Saw { value: NONE, revision: *revision },
                _ => return None,
            };
            (op, Some(*at_ns))
        }
    };
    Some(Entry { op, invoked_ns: operation.invoked_ns, returned_ns })
}

/// The value that an answered operation proves to have been there, and the revision it had then.
fn sight(op: &KeyOp) -> Option<(u32, Option<u64>)> {
    match op {
        KeyOp::Saw { value, revision } => (*value != NONE).then_some((*value, *revision)),
        KeyOp::Write { guard, revision, .. } => {
            Some((guard.value?, revision.and_then(|revision| revision.checked_sub(1)).or(guard.revision)))
        }
        KeyOp::Refused { .. } => None,
    }
}

fn bind_seen_writes(entries: &mut [Entry<KeyOp>]) {
    let mut writers: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut sights: HashMap<u32, (u64, Option<u64>)> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        if let KeyOp::Write { value, .. } = &entry.op
            && *value != NONE
        {
            writers.entry(*value).or_default().push(at);
        }
        if let (Some(returned_ns), Some((value, revision))) = (entry.returned_ns, sight(&entry.op)) {
            let first = sights.entry(value).or_insert((returned_ns, revision));
            *first = (first.0.min(returned_ns), first.1.or(revision));
        }
    }
    for (value, (seen_ns, seen_revision)) in sights {
        let Some(&[only]) = writers.get(&value).map(Vec::as_slice) else {
            continue;
        };
        let entry = &mut entries[only];
        // Seen before it was asked for: no order explains that, and the search will say so.
        if entry.returned_ns.is_some() || seen_ns < entry.invoked_ns {
            continue;
        }
        entry.returned_ns = Some(seen_ns);
        if let KeyOp::Write { revision, .. } = &mut entry.op {
            *revision = seen_revision;
        }
    }
}

/// A condition on a value that was written once, at a known revision, is a condition on that revision too: it is over
/// when the revision is.
fn bind_guards(entries: &mut [Entry<KeyOp>]) {
    let mut revisions: HashMap<u32, Option<u64>> = HashMap::new();
    for entry in &*entries {
        if let KeyOp::Write { value, revision, .. } = &entry.op {
            revisions.entry(*value).and_modify(|known| *known = None).or_insert(*revision);
        }
    }
    for entry in entries {
        if let KeyOp::Write { guard, .. } = &mut entry.op
            && guard.revision.is_none()
            && let Some(value) = guard.value
        {
            guard.revision = revisions.get(&value).copied().flatten();
        }
    }
}

fn speaks_of_revisions(op: &KeyOp) -> bool {
    match op {
        KeyOp::Write { guard, revision, .. } | KeyOp::Refused { guard, revision } => {
            revision.is_some() || guard.revision.is_some()
        }
        KeyOp::Saw { revision, .. } => revision.is_some(),
    }
}

fn claims(
    entries: &[Entry<KeyOp>],
    line: impl Fn(usize) -> usize,
    values: &Numbering,
) -> Result<HashMap<u64, Claim>, Breach> {
    let mut claims: HashMap<u64, (Claim, usize)> = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let (claim, revision) = match &entry.op {
            KeyOp::Write { value, revision: Some(revision), .. } => (Claim { value: *value, owned: true }, *revision),
            // Of an absent key the revision may be a floor that no write has.
            KeyOp::Saw { value, revision: Some(revision) } if *value != NONE => {
                (Claim { value: *value, owned: false }, *revision)
            }
            _ => continue,
        };
        let (known, first) = claims.entry(revision).or_insert((claim, at));
        if *first == at {
            continue;
        }
        let lines = vec![line(*first), line(at)];
        if known.owned && claim.owned {
            let text = format!("revision {revision} was given to two writes (lines {} and {})", lines[0], lines[1]);
            return Err(Breach { lines, text });
        }
        if known.value != claim.value {
            let shown = (values.show(known.value), values.show(claim.value));
            let text = format!(
                "revision {revision} is {} in line {}, and {} in line {}",
                shown.0, lines[0], shown.1, lines[1]
            );
            return Err(Breach { lines, text });
        }
        known.owned |= claim.owned;
    }
    Ok(claims.into_iter().map(|(revision, (claim, _))| (revision, claim)).collect())
}
