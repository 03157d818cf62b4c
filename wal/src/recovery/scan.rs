//! The judge: segments in, state or damage out. No I/O. What it decides at a place is a table in the crate's FORMAT.md, and
//! once more, as data, in the tests.

use std::collections::BTreeMap;

use super::recovered::GroupLog;
use super::replay::Replay;
use super::survey::{Survey, header_at, place, survey};
use crate::LogIdentity;
use crate::format::batch::BatchHeader;
use crate::format::record::GroupId;
use crate::format::segment::{SegmentHeader, SegmentHeaderError};
use crate::format::{BLOCK_BYTES, Position};
use crate::log::{Hole, Index};

/// What is wrong with a segment that has no file.
pub(super) const MISSING: &str = "the segment file is missing";

/// What is wrong with a log that was used and holds nothing.
pub(crate) const NO_BATCH: &str = "no readable batch in any segment of the log";

/// Why a log must be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Durable bytes are damaged.
    Corrupt {
        /// Where the damage begins.
        at: Position,
        /// What was found.
        why: String,
    },
    /// The segment belongs to another log.
    Foreign {
        /// The segment whose header was read.
        segment: u64,
        /// Whose it is.
        found: LogIdentity,
    },
    /// A newer program wrote the segment.
    Newer {
        /// The segment whose header was read.
        segment: u64,
        /// Format version in the segment's header.
        found: u32,
    },
}

impl Refusal {
    fn corrupt(segment: u64, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt { at: Position { segment, offset }, why: why.into() }
    }
}

/// Where the log ends and where it continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The first byte behind the last batch.
    pub position: Position,
    /// The sequence number of the next batch.
    pub next_sequence: u64,
    /// Segments that held batches of the log.
    pub segments: u64,
    /// Batches replayed.
    pub batches: u64,
    /// Records replayed.
    pub records: u64,
    /// Whether an unfinished batch stood at the end.
    pub torn: bool,
}

/// A log that is whole: its groups, the index that it starts with, and its end.
pub struct Whole {
    pub groups: BTreeMap<GroupId, GroupLog>,
    pub index: Index,
    pub end: End,
}

/// The second pass over a log: feed it the segments from the oldest needed one upwards, then ask for the end.
pub struct Scan {
    claims: Survey,
    replay: Replay,
    end: End,
    run: u64,
    /// The first segment without a file among those with one.
    missing: Option<u64>,
    /// The chain of batches broke: the rest is read only to report the place.
    ended: bool,
    /// The most likely place of the damage, if the claims show that the log was longer.
    suspect: Option<Position>,
}

/// Checks a segment's header block against name, owner and length of the file.
pub fn check_header(identity: &LogIdentity, segment: u64, bytes: &[u8]) -> Result<SegmentHeader, Refusal> {
    let header = SegmentHeader::decode(bytes).map_err(|error| match error {
        SegmentHeaderError::Damaged(why) => Refusal::corrupt(segment, 0, why),
        SegmentHeaderError::Newer(found) => Refusal::Newer { segment, found },
    })?;
    if header.identity != *identity {
        return Err(Refusal::Foreign { segment, found: header.identity });
    }
    if header.sequence != segment {
        let why = format!("the header says segment {}, the name says segment {segment}", header.sequence);
        return Err(Refusal::corrupt(segment, 0, why));
    }
    if (bytes.len() as u64) < header.segment_bytes {
        let why = format!("the file ends here, its header says {} bytes", header.segment_bytes);
        return Err(Refusal::corrupt(segment, bytes.len() as u64, why));
    }
    Ok(header)
}

impl Scan {
    /// Begins at the oldest segment that `claims` names as needed. `segments` are all that have a file, rising, those that are
    /// not fed to the scan as well: files get their names one after the other, and lose them from both ends, so none is
    /// missing in between unless it was lost.
    pub fn new(claims: Survey, segments: &[u64]) -> Self {
        let position = Position::first_in(claims.oldest_segment);
        let end = End { position, next_sequence: 1, segments: 0, batches: 0, records: 0, torn: false };
        let mut needed = segments.iter().copied().filter(|&segment| segment >= claims.oldest_segment).enumerate();
        let missing = needed.find_map(|(count, found)| {
            let expected = claims.oldest_segment.saturating_add(count as u64);
            (expected != found).then_some(expected)
        });
        Self { claims, replay: Replay::default(), end, run: 0, missing, ended: false, suspect: None }
    }

    /// Takes in the next segment, whose header was checked.
    pub fn segment(&mut self, header: &SegmentHeader, bytes: &[u8]) -> Result<(), Refusal> {
        let first = Position::first_in(header.sequence);
        let expected = self.next_segment();
        if !self.ended && header.sequence != expected {
            self.ended = true;
            self.suspect.get_or_insert(Position { segment: expected, offset: 0 });
        }
        if self.ended {
            return Ok(());
        }
        let mut at = first.offset;
        while let Some((batch, records)) = self.next_batch(header, at, bytes) {
            let here = Position { segment: header.sequence, offset: at };
            let replayed = self.replay.batch(here, header.version, batch.records, records);
            replayed.map_err(|why| Refusal::corrupt(header.sequence, at, why))?;
            at += batch.padded_bytes();
            self.run = batch.run;
            self.end.next_sequence = batch.sequence.saturating_add(1);
            self.end.batches += 1;
            self.end.records += u64::from(batch.records);
        }
        self.end.torn |= has_header_from(header, at, bytes);
        if at == first.offset {
            // No batch of the chain here, so it ended before this segment. A readable header shows which batch is missing.
            self.ended = true;
            let missing_here =
                header_at(header, at, bytes).is_none_or(|batch| batch.sequence == self.end.next_sequence);
            if missing_here {
                self.suspect.get_or_insert(first);
            } else {
                self.suspect = Some(self.end.position);
            }
        } else {
            self.end.position = Position { segment: header.sequence, offset: at };
            self.end.segments += 1;
            // A batch behind this place in this segment: the one missing stood here, not in the next segment.
            let claimed_here = self.claims.durable.segment == header.sequence && self.claims.durable.offset > at;
            let missing_here = claimed_here || has_header_from(header, at, bytes);
            self.suspect = missing_here.then_some(self.end.position);
        }
        Ok(())
    }

    /// The verdict: the state, or damage below what was claimed durable.
    pub fn finish(self) -> Result<Whole, Refusal> {
        match self.damage() {
            None => {
                let (groups, index) = self.replay.finish();
                Ok(Whole { groups, index, end: self.end })
            }
            Some((at, why)) => Err(Refusal::Corrupt { at, why }),
        }
    }

    /// How far the scan came.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// The run of the last batch replayed.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// What was replayed so far, whatever stands behind it, and the damage that ended it, if any did. Where older entries of
    /// a group would have followed as copies, those above the hole are left out.
    pub fn give_up(self) -> (BTreeMap<GroupId, GroupLog>, End, Option<(Position, String)>) {
        let damage = self.damage();
        (self.replay.finish().0, self.end, damage)
    }

    /// Where the log is damaged, and how that shows: it ends below what was claimed durable, or a file or entries are missing.
    fn damage(&self) -> Option<(Position, String)> {
        let durable = self.claims.durable;
        if self.end.position >= durable {
            if let Some(segment) = self.missing {
                return Some((Position { segment, offset: 0 }, MISSING.to_owned()));
            }
            let Hole { group, below, above, at } = self.replay.hole()?;
            return Some((at, format!("group {group} has entry {above} here, and none between it and index {below}")));
        }
        let at = self.suspect.unwrap_or(Position { segment: self.next_segment(), offset: 0 });
        let why = match at.offset {
            0 => MISSING.to_owned(),
            _ => format!(
                "no valid batch {} here, but later bytes say the log was durable up to segment {} offset {}",
                self.end.next_sequence, durable.segment, durable.offset
            ),
        };
        Some((at, why))
    }

    /// The segment that the log goes on in, or begins in.
    fn next_segment(&self) -> u64 {
        self.end.position.segment.saturating_add(u64::from(self.end.segments > 0))
    }

    fn next_batch<'a>(&self, header: &SegmentHeader, at: u64, bytes: &'a [u8]) -> Option<(BatchHeader, &'a [u8])> {
        let batch = header_at(header, at, bytes)?;
        let in_chain = self.end.batches == 0 || batch.sequence == self.end.next_sequence;
        let in_segment = at + batch.padded_bytes() <= header.segment_bytes;
        if !in_chain || !in_segment || batch.run < self.run {
            return None;
        }
        let records = batch.verified_records(&bytes[usize::try_from(at).ok()?..], &place(header, at))?;
        Some((batch, records))
    }
}

fn has_header_from(header: &SegmentHeader, at: u64, bytes: &[u8]) -> bool {
    (at..bytes.len() as u64).step_by(BLOCK_BYTES).any(|offset| header_at(header, offset, bytes).is_some())
}

/// Judges a whole log held in memory: `segments` are (sequence number, bytes), in rising order. Never panics, whatever the
/// bytes are. This is what [`Log::open`](crate::Log::open) does with files, and what tools and fuzzers call.
pub fn scan(identity: &LogIdentity, segments: &[(u64, &[u8])]) -> Result<(BTreeMap<GroupId, GroupLog>, End), Refusal> {
    let numbers: Vec<u64> = segments.iter().map(|(segment, _)| *segment).collect();
    let bytes: BTreeMap<u64, &[u8]> = segments.iter().copied().collect();
    scan_with(identity, &numbers, |segment| Ok(bytes[&segment]))
}

/// [`scan`] over segments that `read` gives one at a time: first the newest ones, falling, then all that are needed, rising.
pub fn scan_with<B: AsRef<[u8]>, E: From<Refusal>>(
    identity: &LogIdentity,
    segments: &[u64],
    mut read: impl FnMut(u64) -> Result<B, E>,
) -> Result<(BTreeMap<GroupId, GroupLog>, End), E> {
    let mut claims = None;
    for &segment in segments.iter().rev() {
        let bytes = read(segment)?;
        claims = survey(&check_header(identity, segment, bytes.as_ref())?, bytes.as_ref());
        if claims.is_some() {
            break;
        }
    }
    let claims = claims_or_empty(claims, segments)?;
    let mut scan = Scan::new(claims, segments);
    for &segment in segments.iter().filter(|&&segment| segment >= claims.oldest_segment) {
        let bytes = read(segment)?;
        scan.segment(&check_header(identity, segment, bytes.as_ref())?, bytes.as_ref())?;
    }
    Ok(scan.finish().map(|Whole { groups, end, .. }| (groups, end))?)
}

/// Without any batch only the very first segment may exist: the next one is prepared when a batch of the first is durable.
pub fn claims_or_empty(claims: Option<Survey>, segments: &[u64]) -> Result<Survey, Refusal> {
    match (claims, segments) {
        (Some(claims), _) => Ok(claims),
        (None, [] | [1]) => Ok(Survey { durable: Position::default(), oldest_segment: 1, run: 0 }),
        (None, [segment, ..]) => Err(Refusal::corrupt(*segment, BLOCK_BYTES as u64, NO_BATCH)),
    }
}

#[cfg(test)]
pub(super) mod tests;
