//! The mover: keeps the log short although some group never purges its old entries.
//!
//! When the log is much longer than what lives in it, the live entries of its oldest segment are copied behind the tail, and
//! the segment goes like any other that holds nothing needed. The copies come from the segment's own file, batch by batch.
//!
//! ```text
//! read       one batch of the oldest segment that holds live entries, and verify it
//! append     a copy of each entry of it that is still live, like any other record
//! wait       until a round's copies are durable; a round is short, so that appends are not held up
//! release    once nothing in the segment lives (see `release`): a crash before that finds the entry and its copy
//! ```

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::task::Poll;

use bytes::Bytes;

use super::space::Space;
use super::state::{Shared, State};
use crate::format::batch::BatchHeader;
use crate::format::record::{GroupId, RawRecord, Record, kind};
use crate::format::segment::SegmentHeader;
use crate::format::{BLOCK_BYTES, Position};
use crate::identity::Place;
use crate::log::index::EntryPlace;
use crate::{AlignedBuf, Disk, DiskFile, LogError, LogOptions, OpenMode};

/// Least bytes that a round of the mover copies.
const ROUND_BYTES: u64 = 64 << 10;

/// Bytes moved for each byte that was appended meanwhile, as long as they fit in a batch.
const PACE: u64 = 4;

/// Segments below the bound at which moving begins, so that the log stays within it while it is under way.
const HEAD_START_SEGMENTS: u64 = 2;

/// A segment that entries are moved out of.
struct Source<F> {
    header: SegmentHeader,
    path: PathBuf,
    file: F,
}

impl<D: Disk> State<D> {
    /// The segment to move entries out of, when the log is too long.
    fn segment_to_move(&self, options: &LogOptions) -> Option<u64> {
        let segment = self.index.oldest_with_entries()?;
        let tail = self.queue.tail_segment();
        let ended = self.closing || self.failed.is_some();
        let is_durable = segment < self.durable.segment;
        if ended || !is_durable || tail < self.moves_from || self.immovable == Some(segment) {
            return None;
        }
        let used = (tail + 1 - segment).saturating_mul(options.segment_bytes);
        let begins = (options.slack_segments - HEAD_START_SEGMENTS) * options.segment_bytes;
        let bound = self.index.live_bytes().saturating_mul(options.max_live_multiple).saturating_add(begins);
        (used > bound && self.has_room_to_move(segment, options)).then_some(segment)
    }

    /// On a full disk copies may take what is ready already, and only where the segment gives back twice what they take.
    fn has_room_to_move(&self, segment: u64, options: &LogOptions) -> bool {
        match self.space() {
            Space::Plenty => true,
            Space::Reserve => {
                let ready = self.prepared_upto > self.queue.tail_segment();
                ready && self.index.live_bytes_of(segment) <= options.segment_bytes / 2
            }
            Space::Exhausted => false,
        }
    }
}

impl<D: Disk> Shared<D> {
    /// Moves entries whenever the log is too long, until dropped. Returns when something failed.
    pub async fn move_loop(&self) -> LogError {
        loop {
            let segment = self.something_to_move().await;
            if let Err(error) = self.move_entries(segment).await {
                return error;
            }
        }
    }

    async fn something_to_move(&self) -> u64 {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(segment) = state.segment_to_move(&self.options) {
                return Poll::Ready(segment);
            }
            state.sleep(context.waker());
            Poll::Pending
        })
        .await
    }

    /// Moves the live entries of `segment`, round by round, for as long as the log is too long.
    async fn move_entries(&self, segment: u64) -> Result<(), LogError> {
        let entries = self.state().index.live_entries(segment);
        let source = self.open_source(segment).await;
        let Some(source) = self.unless_gone(segment, source)? else { return Ok(()) };
        let (mut moved, mut budget, mut written) = (0, ROUND_BYTES, self.state().stats.bytes);
        for batch in entries.chunk_by(|one, next| one.0 == next.0) {
            moved += self.move_batch(&source, batch).await?;
            if moved < budget {
                continue;
            }
            self.until_durable().await;
            let mut state = self.state();
            let appended = (state.stats.bytes - written).saturating_sub(moved);
            let most = self.options.max_batch_bytes as u64;
            budget = (appended * PACE).clamp(ROUND_BYTES.min(most), most);
            (moved, written) = (0, state.stats.bytes);
            if state.segment_to_move(&self.options) != Some(segment) {
                state.decide_release();
                return Ok(());
            }
        }
        self.until_durable().await;
        self.state().decide_release();
        Ok(())
    }

    /// Copies those of `entries`, all of one batch, that are still live there. Returns the bytes of the copies.
    async fn move_batch(&self, source: &Source<D::File>, entries: &[(u64, GroupId, u64)]) -> Result<u64, LogError> {
        let batch = Position { segment: source.header.sequence, offset: entries[0].0 };
        let read = self.read_batch(source, batch).await;
        let mut state = self.state();
        let lives = |state: &State<D>, group, index| {
            state.index.place(group, index).filter(|place: &EntryPlace| place.batch == batch)
        };
        let still: Vec<(GroupId, u64)> = entries
            .iter()
            .map(|&(_, group, index)| (group, index))
            .filter(|&(group, index)| lives(&state, group, index).is_some())
            .collect();
        if still.is_empty() || state.closing || state.failed.is_some() {
            return Ok(0);
        }
        let bytes = read?;
        let found = source.entries(self.identity, batch, &bytes).ok_or_else(|| source.damaged(batch.offset))?;
        let mut moved = 0;
        for (group, index) in still {
            let raw = found.get(&(group, index)).ok_or_else(|| source.damaged(batch.offset))?;
            let (meta, payload) = raw.entry();
            let record = Record::Moved { index, meta, payload: Bytes::copy_from_slice(payload) };
            if record.encoded_bytes() > self.options.max_record_bytes() {
                state.immovable = Some(batch.segment);
                break;
            }
            state.take_in(group, &record).expect("a live entry may always be moved");
            state.stats.moved += 1;
            moved += record.encoded_bytes() as u64;
        }
        Ok(moved)
    }

    /// Waits until all that is queued now is durable, or the log takes nothing more.
    async fn until_durable(&self) {
        let sequence = {
            let mut state = self.state();
            if let Some(batch) = state.queue.open_mut() {
                batch.urgent = true;
            }
            state.wake();
            state.queue.last_sequence()
        };
        poll_fn(|context| {
            let mut state = self.state();
            if state.durable_sequence >= sequence || state.closing || state.failed.is_some() {
                return Poll::Ready(());
            }
            state.sleep(context.waker());
            Poll::Pending
        })
        .await;
    }

    async fn open_source(&self, segment: u64) -> Result<Source<D::File>, LogError> {
        let path = self.segment_path(segment);
        let file = self.open_file(&path, OpenMode::Read, "open").await?;
        let block = file.read_at(0, BLOCK_BYTES).await.map_err(LogError::failed("read", &path))?;
        match SegmentHeader::decode(&block) {
            Ok(header) if header.sequence == segment => Ok(Source { header, path, file }),
            _ => Err(damaged(path, 0)),
        }
    }

    /// The bytes of the batch at `at`, as far as its header can be trusted.
    async fn read_batch(&self, source: &Source<D::File>, at: Position) -> Result<AlignedBuf, LogError> {
        let read = LogError::failed("read", &source.path);
        let first = source.file.read_at(at.offset, BLOCK_BYTES).await;
        let first = match first {
            Ok(first) => first,
            Err(error) => return Err(read(error)),
        };
        let header = BatchHeader::decode(&first, &source.place(self.identity, at));
        let Some(header) = header.filter(|header| at.offset + header.padded_bytes() <= source.header.segment_bytes)
        else {
            return Err(source.damaged(at.offset));
        };
        if header.padded_bytes() <= BLOCK_BYTES as u64 {
            return Ok(first);
        }
        let whole = usize::try_from(header.padded_bytes()).expect("a segment fits in memory");
        source.file.read_at(at.offset, whole).await.map_err(read)
    }

    /// A segment may be released while it is read, when its last entry was purged: then the result of the read is ignored.
    fn unless_gone<T>(&self, segment: u64, read: Result<T, LogError>) -> Result<Option<T>, LogError> {
        if self.state().index.live_bytes_of(segment) == 0 { Ok(None) } else { read.map(Some) }
    }
}

impl<F> Source<F> {
    fn place(&self, identity: crate::LogIdentity, position: Position) -> Place {
        Place { identity, generation: self.header.generation, position }
    }

    /// The entries of the batch at `at`, the last of each index, when it verifies.
    fn entries<'a>(
        &self,
        identity: crate::LogIdentity,
        at: Position,
        bytes: &'a [u8],
    ) -> Option<BTreeMap<(GroupId, u64), RawRecord<'a>>> {
        let place = self.place(identity, at);
        let header = BatchHeader::decode(bytes, &place)?;
        let mut records = header.verified_records(bytes, &place)?;
        let mut entries = BTreeMap::new();
        for _ in 0..header.records {
            let raw = RawRecord::take(&mut records)?;
            if matches!(raw.kind, kind::ENTRY | kind::MOVED) {
                entries.insert((raw.group, raw.index), raw);
            }
        }
        Some(entries)
    }

    fn damaged(&self, offset: u64) -> LogError {
        damaged(self.path.clone(), offset)
    }
}

/// Durable bytes do not verify.
fn damaged(path: PathBuf, offset: u64) -> LogError {
    let why = io::Error::new(io::ErrorKind::InvalidData, format!("what was durable is damaged at offset {offset}"));
    LogError::failed("move entries of", &path)(why)
}

#[cfg(test)]
mod tests;
