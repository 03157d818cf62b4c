//! What waits to be written: records are encoded into batches as they come, in the order they come.
//!
//! The place of a batch is decided when it is opened, so the index knows the segment of every record at once. The place
//! of the next batch follows when it is closed, either because it is full or because the writer takes it.

use std::collections::VecDeque;

use super::in_flight::MAX_IN_FLIGHT;
use super::index::EntryPlace;
use crate::aligned::{AlignedBuf, HUGE_PAGE_BYTES};
use crate::format::batch::BATCH_HEADER_BYTES;
use crate::format::record::{GroupId, Record};
use crate::format::{BLOCK_BYTES, Position};

/// Buffers of a log: those in flight, one filling, one to spare.
const POOLED_BUFFERS: usize = MAX_IN_FLIGHT + 2;

/// One batch before its header is written: room for the header, then records.
pub struct Batch {
    pub position: Position,
    pub sequence: u64,
    pub buf: AlignedBuf,
    pub records: u32,
    /// How many wait for it, behind those who wait for earlier batches.
    pub waiters: usize,
    /// An append waits for the batch; otherwise it may wait for further records.
    pub urgent: bool,
    /// It must not grow beyond this many bytes.
    limit: usize,
}

impl Batch {
    fn padded_bytes(&self) -> u64 {
        self.buf.len().next_multiple_of(BLOCK_BYTES) as u64
    }
}

/// The batches that are not handed to the disk yet.
pub struct Queue {
    closed: VecDeque<Batch>,
    open: Option<Batch>,
    /// Where the next batch that opens begins, if it fits.
    next: Position,
    next_sequence: u64,
    /// Length of the segment that `next` lies in.
    tail_bytes: u64,
    /// Length of the segments after it.
    segment_bytes: u64,
    max_batch_bytes: usize,
    pool: Vec<AlignedBuf>,
    /// The buffer of the next batch, if it was warmed up.
    warm: Option<AlignedBuf>,
    /// Bytes of the last batch that was closed.
    last_bytes: usize,
}

impl Queue {
    /// A queue whose first batch goes to `next` in a segment of `tail_bytes`, or into the segment after it when it is full.
    pub fn new(
        next: Position,
        next_sequence: u64,
        tail_bytes: u64,
        segment_bytes: u64,
        max_batch_bytes: usize,
    ) -> Self {
        let (closed, open, pool, warm) = Default::default();
        let last_bytes = 0;
        let mut queue = Self {
            closed,
            open,
            next,
            next_sequence,
            tail_bytes,
            segment_bytes,
            max_batch_bytes,
            pool,
            warm,
            last_bytes,
        };
        if !queue.has_small_buffers(0) {
            // The first access to their memory is slow, and no append waits yet.
            queue.pool = (0..POOLED_BUFFERS).map(|_| queue.new_buf(0)).collect();
        }
        queue
    }

    /// Adds a record if `accept`, which gets the record's place, returns no error. The record fits in a segment.
    pub fn push<E>(
        &mut self,
        group: GroupId,
        record: &Record,
        accept: impl FnOnce(EntryPlace) -> Result<(), E>,
    ) -> Result<(), E> {
        let bytes = record.encoded_bytes();
        let batch = self.open_with_room(bytes);
        accept(EntryPlace {
            batch: batch.position,
            bytes: u32::try_from(bytes).expect("a record is shorter than 4 GiB"),
        })?;
        record.encode(group, batch.buf.extend_by(bytes));
        batch.records += 1;
        Ok(())
    }

    /// The batch that records go to now; opened when there is none.
    pub fn open_batch(&mut self) -> &mut Batch {
        self.open_with_room(0)
    }

    /// Hands over the next batch in line: a closed one, or the open one when it is urgent or `even_lazy`.
    pub fn take(&mut self, even_lazy: bool) -> Option<Batch> {
        if self.closed.is_empty() && self.open.as_ref().is_some_and(|batch| batch.urgent || even_lazy) {
            self.close();
        }
        self.closed.pop_front()
    }

    /// The segment of the batch that [`Queue::take`] would hand over.
    pub fn next_segment(&self, even_lazy: bool) -> Option<u64> {
        let open = self.open.as_ref().filter(|batch| batch.urgent || even_lazy);
        Some(self.closed.front().or(open)?.position.segment)
    }

    /// Whether a batch waits, urgent or not.
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_none()
    }

    /// The open batch, if there is one.
    pub fn open_mut(&mut self) -> Option<&mut Batch> {
        self.open.as_mut()
    }

    /// The segment that the newest batch stands in, or the next one begins in.
    pub fn tail_segment(&self) -> u64 {
        self.open.as_ref().map_or(self.next.segment, |batch| batch.position.segment)
    }

    /// The sequence number of the newest batch that was opened.
    pub fn last_sequence(&self) -> u64 {
        self.next_sequence - 1
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> u64 {
        self.closed.iter().chain(&self.open).map(|batch| batch.buf.len() as u64).sum()
    }

    /// Takes a written batch's buffer back.
    pub fn recycle(&mut self, mut buf: AlignedBuf) {
        if self.pool.len() < POOLED_BUFFERS && buf.capacity() <= 2 * self.max_batch_bytes {
            buf.clear();
            self.pool.push(buf);
        }
    }

    /// Fetches the memory of the next batch, as far as the last one came, into the processor's cache: for when a batch is on
    /// its way and there is time. What a drive has read from a buffer is far from the processor, and records would wait.
    pub fn warm_up(&mut self) {
        if self.open.is_none()
            && self.warm.is_none()
            && let Some(mut buf) = self.pool.pop()
        {
            buf.touch(self.last_bytes);
            self.warm = Some(buf);
        }
    }

    fn open_with_room(&mut self, record_bytes: usize) -> &mut Batch {
        let has_room = |batch: &Batch| batch.buf.len() + record_bytes <= batch.limit;
        if !self.open.as_ref().is_some_and(has_room) {
            self.close();
            self.open = Some(self.new_batch(BATCH_HEADER_BYTES + record_bytes));
        }
        self.open.as_mut().expect("it was opened above")
    }

    fn new_batch(&mut self, needed: usize) -> Batch {
        if self.next.offset + needed as u64 > self.tail_bytes {
            self.next = Position::first_in(self.next.segment + 1);
            self.tail_bytes = self.segment_bytes;
        }
        let room = self.tail_bytes - self.next.offset;
        assert!(needed as u64 <= room, "an append checks that its records fit in a segment");
        let limit = usize::try_from(room).unwrap_or(usize::MAX).min(self.max_batch_bytes.max(needed));
        let pooled = self.warm.take().or_else(|| self.pool.pop());
        let mut buf = pooled.unwrap_or_else(|| self.new_buf(needed));
        buf.resize_zeroed(BATCH_HEADER_BYTES);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Batch { position: self.next, sequence, buf, records: 0, waiters: 0, urgent: false, limit }
    }

    /// Batches that may grow long are gathered in huge pages, the batches of a log with small segments in little memory.
    fn new_buf(&self, needed: usize) -> AlignedBuf {
        let capacity = if self.has_small_buffers(needed) {
            needed.max(64 << 10)
        } else {
            needed.max(self.max_batch_bytes).next_multiple_of(HUGE_PAGE_BYTES)
        };
        AlignedBuf::with_capacity(capacity)
    }

    fn has_small_buffers(&self, needed: usize) -> bool {
        let longest = needed.max(self.max_batch_bytes);
        longest as u64 > self.segment_bytes || longest <= HUGE_PAGE_BYTES / 2
    }

    fn close(&mut self) {
        if let Some(batch) = self.open.take() {
            self.next.offset += batch.padded_bytes();
            self.last_bytes = batch.buf.len();
            self.closed.push_back(batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogOptions;

    fn queue(options: &LogOptions) -> Queue {
        Queue::new(Position::first_in(1), 1, options.segment_bytes, options.segment_bytes, options.max_batch_bytes)
    }

    #[test]
    fn long_batches_gather_in_buffers_made_at_the_opening() {
        let queue_of_long = queue(&LogOptions::default());
        assert_eq!(queue_of_long.pool.len(), POOLED_BUFFERS);
        assert!(queue_of_long.pool.iter().all(|buf| buf.capacity() == HUGE_PAGE_BYTES));
        assert!(queue(&LogOptions::small()).pool.is_empty());
    }

    #[test]
    fn the_next_batch_takes_the_buffer_that_was_warmed_up_and_reads_as_if_it_were_new() {
        let mut queue = queue(&LogOptions::small());
        let vote = Record::Vote(vec![0xff; 1000].into());
        queue.push(1, &vote, |_| Ok::<_, ()>(())).expect("it is taken");
        let first = queue.take(true).expect("a batch waits");
        let memory = first.buf.as_ptr();
        queue.recycle(first.buf);
        queue.warm_up();
        assert!(queue.pool.is_empty(), "it is set aside");
        queue.warm_up();
        queue.push(1, &vote, |_| Ok::<_, ()>(())).expect("it is taken");
        queue.warm_up();
        let second = queue.take(true).expect("a batch waits");
        assert_eq!(second.buf.as_ptr(), memory);
        assert_eq!(second.buf[BATCH_HEADER_BYTES..], vote.encoded(1));
        assert!(second.buf[..BATCH_HEADER_BYTES].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_batch_may_fill_its_segment_to_the_last_byte() {
        let options = LogOptions::small();
        let mut queue = queue(&options);
        let mut stands = Vec::new();
        for _ in 0..2 {
            let record = Record::Vote(vec![1; options.max_record_bytes() - 20].into());
            let place = |place: EntryPlace| {
                stands.push(place.batch);
                Ok::<_, ()>(())
            };
            queue.push(1, &record, place).expect("it is taken");
        }
        assert_eq!(stands, [1, 2].map(Position::first_in));
    }

    #[test]
    fn the_open_batch_gathers_more_while_others_go_first() {
        let mut queue = queue(&LogOptions::small());
        for _ in 0..2 {
            queue.push(1, &Record::Vote(vec![1; 30_000].into()), |_| Ok::<_, ()>(())).expect("it is taken");
        }
        queue.open_batch().urgent = true;
        assert_eq!(queue.take(false).map(|batch| batch.sequence), Some(1));
        queue.push(1, &Record::Vote(vec![1; 1000].into()), |_| Ok::<_, ()>(())).expect("it is taken");
        let second = queue.take(false).expect("somebody waits for it");
        assert_eq!((second.sequence, second.records), (2, 2));
    }

    #[test]
    fn four_buffers_are_kept_and_none_much_longer_than_a_batch() {
        let options = LogOptions::small();
        let mut queue = queue(&options);
        queue.recycle(AlignedBuf::with_capacity(2 * options.max_batch_bytes + 1));
        assert!(queue.pool.is_empty());
        (0..6).for_each(|_| queue.recycle(AlignedBuf::with_capacity(2 * options.max_batch_bytes)));
        assert_eq!(queue.pool.len(), POOLED_BUFFERS);
    }
}
