//! Where the live entries of one group stand.

use std::collections::VecDeque;

use crate::format::record::Record;
use crate::format::{BLOCK_BYTES, Position};

/// Where an entry, or any record, stands: in which batch, and how long it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPlace {
    /// Where its batch begins.
    pub batch: Position,
    /// The encoded record, in bytes.
    pub bytes: u32,
}

/// Bytes of live entries in each segment that holds any.
#[derive(Debug, Default)]
pub struct Live {
    /// Segment and bytes, rising; most of what comes and goes is at the end, or, where a purge drops it, at the front.
    segments: VecDeque<(u64, u64)>,
    total: u64,
}

/// The live entries of a group, in order of index.
#[derive(Debug, Default)]
pub struct Spans(VecDeque<Span>);

/// The most entries of a span: growing a span copies its slots, which must not take long.
const SPAN_ENTRIES: usize = 8192;

/// Entries of neighbouring indices in one segment.
#[derive(Debug)]
struct Span {
    segment: u64,
    first: u64,
    slots: VecDeque<Slot>,
}

/// An [`EntryPlace`] within its segment; small, because there is one for every live entry.
#[derive(Clone, Copy, Debug)]
struct Slot {
    block: u32,
    bytes: u32,
}

impl EntryPlace {
    /// The place of `record`, shorter than 4 GiB, in the batch at `batch`.
    pub fn of(record: &Record, batch: Position) -> Self {
        Self { batch, bytes: u32::try_from(record.encoded_bytes()).expect("a record is shorter than 4 GiB") }
    }
}

impl Live {
    /// The oldest segment with a live entry.
    pub fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|&(segment, _)| segment)
    }

    /// Bytes of live entries in all segments.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes of live entries in `segment`.
    pub fn of(&self, segment: u64) -> u64 {
        self.find(segment).map_or(0, |at| self.segments[at].1)
    }

    fn add(&mut self, segment: u64, bytes: u64) {
        self.total += bytes;
        match self.segments.back_mut() {
            Some((last, live)) if *last == segment => *live += bytes,
            _ => match self.find(segment) {
                Ok(at) => self.segments[at].1 += bytes,
                Err(at) => self.segments.insert(at, (segment, bytes)),
            },
        }
    }

    fn remove(&mut self, segment: u64, bytes: u64) {
        self.total -= bytes;
        let at = self.find(segment).expect("it has a live entry");
        self.segments[at].1 -= bytes;
        if self.segments[at].1 == 0 {
            self.segments.remove(at);
        }
    }

    /// Where `segment` is in the line, or would be.
    fn find(&self, segment: u64) -> Result<usize, usize> {
        self.segments.binary_search_by_key(&segment, |&(segment, _)| segment)
    }
}

impl Slot {
    fn new(place: EntryPlace) -> Self {
        let block = u32::try_from(place.batch.offset / BLOCK_BYTES as u64).expect("a segment has fewer blocks");
        Self { block, bytes: place.bytes }
    }
}

impl Span {
    fn new(index: u64, place: EntryPlace) -> Self {
        Self { segment: place.batch.segment, first: index, slots: VecDeque::from([Slot::new(place)]) }
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(self.slots.len() as u64)
    }

    /// Whether the entry at `index`, which stands at `place`, directly follows the last one here.
    fn takes(&self, index: u64, place: EntryPlace) -> bool {
        self.end() == index && self.segment == place.batch.segment && self.slots.len() < SPAN_ENTRIES
    }

    fn place(&self, at: usize) -> EntryPlace {
        let Slot { block, bytes } = self.slots[at];
        let offset = u64::from(block) * BLOCK_BYTES as u64;
        EntryPlace { batch: Position { segment: self.segment, offset }, bytes }
    }

    /// Where the entry at `index` is within the span.
    fn at(&self, index: u64) -> Option<usize> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        (at < self.slots.len()).then_some(at)
    }
}

/// Bytes of all of `slots`.
fn bytes_of(slots: impl Iterator<Item = Slot>) -> u64 {
    slots.map(|slot| u64::from(slot.bytes)).sum()
}

impl Spans {
    /// The last live index.
    pub fn last(&self) -> Option<u64> {
        self.0.back().map(|span| span.end() - 1)
    }

    /// The first live index, and where that entry stands.
    pub fn first(&self) -> Option<(u64, EntryPlace)> {
        self.0.front().map(|span| (span.first, span.place(0)))
    }

    /// The oldest segment with an entry of the group.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.0.iter().map(|span| span.segment).min()
    }

    /// Where the live entry at `index` stands.
    pub fn get(&self, index: u64) -> Option<EntryPlace> {
        let span = &self.0[self.span_of(index)?];
        Some(span.place(span.at(index)?))
    }

    /// The entries in `segment`, with their places.
    pub fn within(&self, segment: u64) -> impl Iterator<Item = (u64, EntryPlace)> + '_ {
        let spans = self.0.iter().filter(move |span| span.segment == segment);
        spans.flat_map(|span| (0..span.slots.len()).map(|at| (span.first + at as u64, span.place(at))))
    }

    /// The first entry that does not follow the one before it: that one's index, its own, and where it stands.
    pub fn hole(&self) -> Option<(u64, u64, EntryPlace)> {
        let pairs = self.0.iter().zip(self.0.iter().skip(1));
        pairs
            .map(|(low, high)| (low.end() - 1, high))
            .find_map(|(low, high)| (low.checked_add(1) != Some(high.first)).then(|| (low, high.first, high.place(0))))
    }

    /// Adds an entry if the last span takes it; returns whether it did. Most do.
    pub fn follow(&mut self, live: &mut Live, index: u64, place: EntryPlace) -> bool {
        let last = self.0.back_mut().filter(|span| span.takes(index, place));
        if let Some(span) = last {
            live.add(span.segment, place.bytes.into());
            span.slots.push_back(Slot::new(place));
            return true;
        }
        false
    }

    /// Adds an entry in place of all at its index and above.
    pub fn append(&mut self, live: &mut Live, index: u64, place: EntryPlace) {
        self.truncate(live, index);
        live.add(place.batch.segment, place.bytes.into());
        self.put(self.0.len(), index, place);
    }

    /// Lets the entry at `index` stand at another place, or adds it where there is none. All others stay.
    pub fn relocate(&mut self, live: &mut Live, index: u64, place: EntryPlace) {
        live.add(place.batch.segment, place.bytes.into());
        let behind = self.0.partition_point(|span| span.first <= index);
        let Some((before, at)) = behind.checked_sub(1).and_then(|before| Some((before, self.0[before].at(index)?)))
        else {
            return self.put(behind, index, place);
        };
        let span = &mut self.0[before];
        live.remove(span.segment, span.slots[at].bytes.into());
        if at == 0 {
            span.slots.pop_front();
            span.first += 1;
            if span.slots.is_empty() {
                self.0.remove(before);
            }
            return self.put(before, index, place);
        }
        let above = span.slots.split_off(at + 1);
        span.slots.pop_back();
        let segment = span.segment;
        if !above.is_empty() {
            self.0.insert(behind, Span { segment, first: index + 1, slots: above });
        }
        self.put(behind, index, place);
    }

    /// Drops the entries at `from` and above.
    pub fn truncate(&mut self, live: &mut Live, from: u64) {
        while let Some(span) = self.0.back_mut().filter(|span| span.end() > from) {
            let stays = from.saturating_sub(span.first) as usize;
            live.remove(span.segment, bytes_of(span.slots.drain(stays..)));
            if stays == 0 {
                self.0.pop_back();
            }
        }
    }

    /// Drops the entries up to and including `upto`.
    pub fn purge(&mut self, live: &mut Live, upto: u64) {
        while let Some(span) = self.0.front_mut().filter(|span| span.first <= upto) {
            let goes = (upto - span.first).saturating_add(1).min(span.slots.len() as u64);
            live.remove(span.segment, bytes_of(span.slots.drain(..goes as usize)));
            span.first += goes;
            if span.slots.is_empty() {
                self.0.pop_front();
            }
        }
    }

    /// Puts an entry between two spans, or at the end of the lower one.
    fn put(&mut self, behind: usize, index: u64, place: EntryPlace) {
        let lower = behind.checked_sub(1).map(|before| &mut self.0[before]);
        match lower.filter(|span| span.takes(index, place)) {
            Some(span) => span.slots.push_back(Slot::new(place)),
            None => self.0.insert(behind, Span::new(index, place)),
        }
    }

    fn span_of(&self, index: u64) -> Option<usize> {
        self.0.partition_point(|span| span.first <= index).checked_sub(1)
    }

    /// For tests: segment, first and last index of every span.
    #[cfg(test)]
    pub fn ranges(&self) -> Vec<(u64, u64, u64)> {
        self.0.iter().map(|span| (span.segment, span.first, span.end() - 1)).collect()
    }
}
