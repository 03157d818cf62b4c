//! Recovery once more, in the plainest way that its description allows.

use std::collections::BTreeMap;

use crate::bytes::{BLOCK, BatchHeader, Place, Record, SegmentHeader};

/// One group, as records leave it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub created: Option<Vec<u8>>,
    pub vote: Option<Vec<u8>>,
    pub committed: Option<Vec<u8>>,
    pub snapshot: Option<Vec<u8>>,
    pub purged: Option<(u64, Vec<u8>)>,
    /// Meta and payload by index.
    pub entries: BTreeMap<u64, Vec<u8>>,
}

/// What a log amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub groups: BTreeMap<u32, Group>,
    /// Segment and offset behind the last batch.
    pub end: (u64, u64),
    pub batches: u64,
}

const FIRST: u64 = BLOCK as u64;

fn header_of(segment: &(u64, Vec<u8>)) -> Option<SegmentHeader> {
    let header = SegmentHeader::decode(&segment.1)?;
    (header.sequence == segment.0 && segment.1.len() as u64 >= header.len).then_some(header)
}

fn place(header: &SegmentHeader, offset: u64) -> Place {
    Place { generation: header.generation, segment: header.sequence, offset }
}

/// Highest claimed durable position and oldest needed segment of all readable batch headers in a segment.
fn claims(header: &SegmentHeader, bytes: &[u8]) -> Option<((u64, u64), u64)> {
    let offsets = (FIRST..bytes.len() as u64).step_by(BLOCK);
    let headers = offsets.filter_map(|at| BatchHeader::decode(&bytes[at as usize..], &place(header, at)));
    headers.map(|it| (it.durable, it.oldest)).reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
}

/// Recovers a log, or `None` if it must be refused. `segments` rise in number.
pub fn recover(segments: &[(u64, Vec<u8>)]) -> Option<Log> {
    let mut found = None;
    for segment in segments.iter().rev() {
        found = claims(&header_of(segment)?, &segment.1);
        if found.is_some() {
            break;
        }
    }
    let (durable, oldest) = match (found, segments) {
        (Some(found), _) => found,
        (None, [] | [(1, _)]) => ((0, 0), 1),
        (None, _) => return None,
    };
    let mut log = Log { groups: BTreeMap::new(), end: (oldest, FIRST), batches: 0 };
    let mut last: Option<BatchHeader> = None;
    let mut chain_ended = false;
    let mut next_segment = oldest;
    for segment in segments.iter().filter(|(number, _)| *number >= oldest) {
        let header = header_of(segment)?;
        if chain_ended || segment.0 != next_segment {
            chain_ended = true;
            continue;
        }
        let mut at = FIRST;
        while let Some((batch, records)) = next(&header, at, &segment.1, last.as_ref()) {
            for record in Record::decode_all(records, batch.records)? {
                apply(&mut log.groups, header.version, record)?;
            }
            at += batch.padded();
            log.batches += 1;
            last = Some(batch);
        }
        // A segment without a batch of the chain ends it, the very first one too.
        chain_ended = at == FIRST;
        if at > FIRST || last.is_none() {
            log.end = (segment.0, at);
        }
        next_segment = segment.0.saturating_add(1);
    }
    let needed: Vec<u64> = segments.iter().map(|segment| segment.0).filter(|number| *number >= oldest).collect();
    let no_file_is_missing = needed.first().is_none_or(|first| *first == oldest)
        && needed.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    (log.end >= durable && no_file_is_missing && log.groups.values().all(is_contiguous)).then_some(log)
}

fn next<'a>(
    header: &SegmentHeader,
    at: u64,
    bytes: &'a [u8],
    last: Option<&BatchHeader>,
) -> Option<(BatchHeader, &'a [u8])> {
    let rest = bytes.get(at as usize..)?;
    let batch = BatchHeader::decode(rest, &place(header, at))?;
    let follows = last.is_none_or(|last| last.sequence.checked_add(1) == Some(batch.sequence) && batch.run >= last.run);
    let records = batch.records(rest, &place(header, at))?;
    (follows && at + batch.padded() <= header.len).then_some((batch, records))
}

/// Whether a group's entries are without a hole, and begin right behind the purge mark.
fn is_contiguous(group: &Group) -> bool {
    if let (Some((upto, _)), Some((first, _))) = (&group.purged, group.entries.first_key_value())
        && upto + 1 != *first
    {
        return false;
    }
    group.entries.keys().zip(group.entries.keys().skip(1)).all(|(one, next)| one.checked_add(1) == Some(*next))
}

/// What one record does in a segment of this version; `None` when it breaks a rule.
fn apply(groups: &mut BTreeMap<u32, Group>, version: u32, record: Record) -> Option<()> {
    let Record { kind, group, index, body } = record;
    if kind == 8 {
        groups.remove(&group);
        return Some(());
    }
    let group = groups.entry(group).or_default();
    let is_purged = group.purged.as_ref().is_some_and(|(upto, _)| index <= *upto);
    match kind {
        1 => {
            if is_purged {
                return None;
            }
            group.entries.split_off(&index);
            group.entries.insert(index, body);
        }
        2 => group.vote = Some(body),
        3 => group.committed = Some(body),
        4 => drop(group.entries.split_off(&index)),
        5 => {
            group.entries.retain(|entry, _| *entry > index);
            if group.purged.as_ref().is_none_or(|(upto, _)| *upto <= index) {
                group.purged = Some((index, body));
            }
        }
        6 => group.snapshot = Some(body),
        7 => group.created = Some(body),
        9 if version < 2 => return None,
        9 if is_purged => {}
        9 => {
            if *group.entries.entry(index).or_insert_with(|| body.clone()) != body {
                return None;
            }
        }
        _ => unreachable!("decoding refuses other kinds"),
    }
    Some(())
}
