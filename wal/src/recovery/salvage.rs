//! What can be kept of a damaged log: its longest valid prefix, and what is seen of the rest.
//!
//! Recovery refuses a log whose durable bytes are damaged, because going on would forget what was acknowledged. Salvage is
//! for an operator without another copy: it replays verified batches in sequence by the same rules, and where recovery
//! would refuse it stops and reports. Bytes behind the damage are never replayed, only counted.
//!
//! Two passes as in recovery, but over all segments: [`Salvage::survey`], then [`Prefix::segment`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::recovered::GroupLog;
use super::scan::{End, MISSING, NO_BATCH, Refusal, Scan, check_header};
use super::survey::{Survey, header_at, place, survey};
use crate::LogIdentity;
use crate::format::record::{GroupId, RawRecord, kind};
use crate::format::segment::{MAX_SEGMENT_BYTES, SegmentHeader};
use crate::format::{BLOCK_BYTES, Position};

/// Where a log's valid prefix ends, if not at the log's own end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the damage begins; offset 0 for a whole segment.
    pub at: Position,
    /// What was found.
    pub why: String,
}

/// What stands behind the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Batches whose headers can be read.
    pub batches: u64,
    /// Their length in bytes, as the headers say.
    pub bytes: u64,
    /// Records in those of them that verify.
    pub records: u64,
    /// The groups of these records.
    pub groups: BTreeMap<GroupId, GroupBeyond>,
}

/// What stands behind the prefix of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupBeyond {
    /// Records that verify.
    pub records: u64,
    /// The highest index that one of them is of.
    pub index: Option<u64>,
}

/// What was kept of a log, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// Every group that the prefix has and does not destroy.
    pub groups: BTreeMap<GroupId, GroupLog>,
    /// Where the prefix ends, and what it is made of.
    pub end: End,
    /// End of what was durable once, by the highest claim that can be read.
    pub durable: Position,
    /// What recovery would refuse the log for, where it must not be new; none for a whole log.
    pub damage: Option<Damage>,
    /// What is seen behind the end.
    pub beyond: Beyond,
}

/// The first pass: what the segments claim.
#[derive(Debug)]
pub struct Salvage {
    identity: LogIdentity,
    claims: Option<Survey>,
    segments: Vec<u64>,
    foreign: Option<Refusal>,
    ours: bool,
}

/// The second pass: the prefix.
pub struct Prefix {
    identity: LogIdentity,
    durable: Position,
    oldest_segment: u64,
    scan: Option<Scan>,
    /// What the scan ended with, once it broke.
    broken: Option<Broken>,
    /// The first damage that shows in a file as a whole.
    file_damage: Option<Damage>,
    beyond: Beyond,
}

type Broken = (BTreeMap<GroupId, GroupLog>, End, Damage);

/// A segment as it is found.
enum FoundSegment<'a> {
    /// With all its bytes; with zeros, and the place where the file ends, for those that are missing.
    Readable(SegmentHeader, Cow<'a, [u8]>, Option<Damage>),
    /// Nothing in it can be verified.
    Lost(Damage),
}

fn read_segment<'a>(identity: &LogIdentity, segment: u64, bytes: &'a [u8]) -> Result<FoundSegment<'a>, Refusal> {
    let (at, why) = match check_header(identity, segment, bytes) {
        Ok(header) => return Ok(FoundSegment::Readable(header, Cow::Borrowed(bytes), None)),
        Err(Refusal::Corrupt { at, why }) => (at, why),
        Err(Refusal::Foreign { found, .. }) => {
            (Position { segment, offset: 0 }, format!("it belongs to another log: {found}"))
        }
        Err(newer @ Refusal::Newer { .. }) => return Err(newer),
    };
    let damage = Damage { at, why };
    match SegmentHeader::decode(bytes) {
        Ok(header) if at.offset > 0 && header.segment_bytes <= MAX_SEGMENT_BYTES => {
            let mut padded = bytes.to_vec();
            padded.resize(usize::try_from(header.segment_bytes).unwrap_or(bytes.len()), 0);
            Ok(FoundSegment::Readable(header, Cow::Owned(padded), Some(damage)))
        }
        _ => Ok(FoundSegment::Lost(damage)),
    }
}

impl Salvage {
    /// Begins with nothing seen of the log of `identity`.
    pub fn new(identity: LogIdentity) -> Self {
        Self { identity, claims: None, segments: Vec::new(), foreign: None, ours: false }
    }

    /// Takes in what the next segment claims, in rising order.
    ///
    /// # Errors
    /// `Newer`.
    pub fn survey(&mut self, segment: u64, bytes: &[u8]) -> Result<(), Refusal> {
        self.segments.push(segment);
        match check_header(&self.identity, segment, bytes) {
            Err(foreign @ Refusal::Foreign { .. }) => self.foreign = Some(foreign),
            _ => self.ours = true,
        }
        let FoundSegment::Readable(header, bytes, _) = read_segment(&self.identity, segment, bytes)? else {
            return Ok(());
        };
        if let Some(found) = survey(&header, &bytes) {
            let claims = self.claims.get_or_insert_default();
            claims.durable = claims.durable.max(found.durable);
            claims.oldest_segment = claims.oldest_segment.max(found.oldest_segment);
            claims.run = claims.run.max(found.run);
        }
        Ok(())
    }

    /// The second pass, once every segment was seen.
    ///
    /// # Errors
    /// `Foreign` when every segment is another log's.
    pub fn prefix(self) -> Result<Prefix, Refusal> {
        if let (Some(foreign), false) = (self.foreign, self.ours) {
            return Err(foreign);
        }
        let claims = self.claims.unwrap_or_default();
        // When the newest claims are lost, older ones may ask for segments that were given free since. What then begins
        // behind a hole is for the caller to judge, with the snapshots it has.
        let first = self.segments.first().copied().unwrap_or(1);
        let oldest_segment = claims.oldest_segment.max(first);
        let missing = Damage { at: Position { segment: claims.oldest_segment, offset: 0 }, why: MISSING.to_owned() };
        Ok(Prefix {
            identity: self.identity,
            durable: claims.durable,
            oldest_segment,
            scan: Some(Scan::new(Survey { oldest_segment, ..claims }, &self.segments)),
            broken: None,
            file_damage: (self.claims.is_some() && first > claims.oldest_segment).then_some(missing),
            beyond: Beyond::default(),
        })
    }
}

impl Prefix {
    /// Takes in the next segment, in rising order.
    ///
    /// # Errors
    /// `Newer`.
    pub fn segment(&mut self, segment: u64, bytes: &[u8]) -> Result<(), Refusal> {
        if segment < self.oldest_segment {
            return Ok(());
        }
        let (header, bytes) = match read_segment(&self.identity, segment, bytes)? {
            FoundSegment::Readable(header, bytes, cut) => {
                if let Some(cut) = cut {
                    self.file_damage.get_or_insert(cut);
                }
                (header, bytes)
            }
            FoundSegment::Lost(damage) => {
                self.file_damage.get_or_insert(damage);
                return Ok(());
            }
        };
        if let Some(mut scan) = self.scan.take() {
            match scan.segment(&header, &bytes) {
                Ok(()) => {
                    if scan.end().position.segment == segment {
                        // The log went on here, so what an earlier segment held behind its last batch was no part of it.
                        self.beyond = Beyond::default();
                    }
                    self.look_beyond(scan.end(), scan.run(), &header, &bytes);
                    self.scan = Some(scan);
                }
                Err(Refusal::Corrupt { at, why }) => {
                    let (groups, end, _) = scan.give_up();
                    self.look_beyond(&end, 0, &header, &bytes);
                    self.broken = Some((groups, end, Damage { at, why }));
                }
                Err(other) => return Err(other),
            }
        } else if let Some((_, end, _)) = &self.broken {
            let end = *end;
            self.look_beyond(&end, 0, &header, &bytes);
        }
        Ok(())
    }

    /// What was kept.
    pub fn finish(self) -> Salvaged {
        let (groups, end, damage) = match (self.broken, self.scan) {
            (Some((groups, end, damage)), _) => (groups, end, Some(damage)),
            (None, Some(scan)) => {
                let (groups, end, damage) = scan.give_up();
                (groups, end, damage.map(|(at, why)| Damage { at, why }))
            }
            (None, None) => unreachable!("a scan is kept until it breaks"),
        };
        let damage = match (damage, self.file_damage) {
            // It comes first, or describes the same place in more detail.
            (Some(damage), Some(file)) if file.at <= damage.at => Some(file),
            (damage, file) => damage.or(file),
        };
        let nothing = || Damage { at: end.position, why: NO_BATCH.to_owned() };
        let damage = damage.or_else(|| (end.batches == 0).then(nothing));
        Salvaged { groups, end, durable: self.durable, damage, beyond: self.beyond }
    }

    /// Counts the batches behind `end` in a segment. Those of a lower run were cut off before.
    fn look_beyond(&mut self, end: &End, run: u64, header: &SegmentHeader, bytes: &[u8]) {
        let from = if end.position.segment == header.sequence { end.position.offset } else { BLOCK_BYTES as u64 };
        for at in (from..bytes.len() as u64).step_by(BLOCK_BYTES) {
            let Some(batch) = header_at(header, at, bytes) else { continue };
            if batch.run < run || batch.sequence < end.next_sequence {
                continue;
            }
            self.beyond.batches += 1;
            self.beyond.bytes += u64::from(batch.length);
            let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
            let Some(mut records) = batch.verified_records(rest, &place(header, at)) else { continue };
            for _ in 0..batch.records {
                let Some(record) = RawRecord::take(&mut records) else { break };
                self.beyond.records += 1;
                let group = self.beyond.groups.entry(record.group).or_default();
                group.records += 1;
                if matches!(record.kind, kind::ENTRY | kind::MOVED | kind::PURGE) {
                    group.index = group.index.max(Some(record.index));
                }
            }
        }
    }
}

/// Salvages a whole log held in memory: `segments` are (sequence number, bytes), in rising order. Never panics, whatever
/// the bytes are.
///
/// # Errors
/// `Newer`; `Foreign` when every segment is another log's.
pub fn salvage(identity: &LogIdentity, segments: &[(u64, &[u8])]) -> Result<Salvaged, Refusal> {
    let mut claims = Salvage::new(*identity);
    for &(segment, bytes) in segments {
        claims.survey(segment, bytes)?;
    }
    let mut prefix = claims.prefix()?;
    for &(segment, bytes) in segments {
        prefix.segment(segment, bytes)?;
    }
    Ok(prefix.finish())
}

#[cfg(test)]
mod tests;
