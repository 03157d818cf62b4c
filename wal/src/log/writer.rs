//! The writer: batches become durable writes, and durable writes become callbacks.
//!
//! ```text
//! nothing in flight       a batch that an append waits for goes out at once: one write, one flush
//! one write in flight     records gather; from OVERLAP_BYTES on they go out beside the first
//! ```
//!
//! Writes may end in any order. A batch counts as durable only when every batch before it does, so callbacks run in the
//! order of the appends, and recovery, which cuts at the first batch that is not whole, never misses one whose callback ran.
//! The next write is queued before the callbacks of the last one run; it is submitted with whatever else the thread asks for.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::in_flight::{InFlight, MAX_IN_FLIGHT};
use super::queue::Batch;
use super::state::{Prepared, Shared, State};
use crate::format::Position;
use crate::format::batch::BatchHeader;
use crate::identity::Place;
use crate::{AlignedBuf, Disk, DiskFile, Durability, LogError};

/// Beside a write in flight another one goes out when so many bytes wait. Fewer are cheaper with the next flush.
const OVERLAP_BYTES: u64 = 8 << 10;

/// The writes in flight, in the order of their batches.
#[derive(Default)]
pub struct Writes {
    line: VecDeque<Write>,
}

enum Write {
    Pending(Pin<Box<dyn Future<Output = io::Result<AlignedBuf>>>>),
    Ended(io::Result<AlignedBuf>),
}

impl Writes {
    fn poll(&mut self, context: &mut Context<'_>) {
        for write in &mut self.line {
            if let Write::Pending(future) = write
                && let Poll::Ready(ended) = future.as_mut().poll(context)
            {
                *write = Write::Ended(ended);
            }
        }
    }

    /// Takes the first in line when it has ended.
    fn next_ended(&mut self) -> Option<io::Result<AlignedBuf>> {
        match self.line.pop_front()? {
            Write::Ended(ended) => Some(ended),
            pending => {
                self.line.push_front(pending);
                None
            }
        }
    }
}

impl<D: Disk> Shared<D> {
    /// Writes batches until the log is closed, flushed and sealed, or poisoned.
    pub async fn write_loop(&self) -> Result<(), LogError> {
        let mut writes = Writes::default();
        poll_fn(|context| self.poll_write(&mut writes, context)).await
    }

    /// Writes the batches that appends wait for; returns when nothing is in flight.
    pub async fn flush(&self) -> Result<(), LogError> {
        let mut writes = Writes::default();
        poll_fn(|context| match self.poll_write(&mut writes, context) {
            Poll::Pending if writes.line.is_empty() => Poll::Ready(Ok(())),
            polled => polled,
        })
        .await
    }

    fn poll_write(&self, writes: &mut Writes, context: &mut Context<'_>) -> Poll<Result<(), LogError>> {
        loop {
            if let Some(error) = self.state().failed.clone() {
                return Poll::Ready(Err(error));
            }
            writes.poll(context);
            while let Some(ended) = writes.next_ended() {
                if let Err(error) = self.written(ended) {
                    self.fail(&error);
                    return Poll::Ready(Err(error));
                }
            }
            let submitted = self.submit(writes, context);
            let told = self.tell();
            if submitted || told {
                continue;
            }
            let mut state = self.state();
            if state.closing && state.in_flight.is_empty() && state.queue.is_empty() && state.sealed {
                return Poll::Ready(Ok(()));
            }
            if !state.in_flight.is_empty() {
                state.queue.warm_up();
            }
            state.sleep(context.waker());
            return Poll::Pending;
        }
    }

    /// The first write in flight has ended.
    fn written(&self, ended: io::Result<AlignedBuf>) -> Result<(), LogError> {
        let mut state = self.state();
        let batch = state.in_flight.pop_front().expect("its write was in flight");
        let segment = batch.position.segment;
        let buf = ended.map_err(|error| LogError::failed("write", &self.segment_path(segment))(error))?;
        state.on_written(&batch, buf);
        Ok(())
    }

    /// Hands the next batches to the disk; returns whether there was one.
    fn submit(&self, writes: &mut Writes, context: &mut Context<'_>) -> bool {
        let mut submitted = false;
        loop {
            let mut state = self.state();
            let Some((batch, segment)) = state.next_batch() else { return submitted };
            let position = batch.position;
            let waiters = batch.waiters;
            let place = Place { identity: self.identity, generation: segment.generation, position };
            let (header, buf) = state.seal(batch, self.run, &place);
            state.in_flight.push_back(InFlight { position, header, waiters });
            drop(state);
            let mut write: Pin<Box<dyn Future<Output = _>>> =
                Box::pin(async move { segment.file.write_at(position.offset, buf, Durability::Durable).await });
            // The first poll is what queues it.
            writes.line.push_back(match write.as_mut().poll(context) {
                Poll::Ready(ended) => Write::Ended(ended),
                Poll::Pending => Write::Pending(write),
            });
            submitted = true;
        }
    }
}

impl<D: Disk> State<D> {
    /// What to write now, and where, if anything.
    fn next_batch(&mut self) -> Option<(Batch, Prepared<D>)> {
        if self.in_flight.is_empty() {
            // A header that brings a release forward, or the last seal, has to come after all others.
            let header_alone = self.release.wants_claim() || (self.closing && !self.sealed);
            if self.queue.next_segment(self.closing).is_none() && header_alone {
                self.queue.open_batch().urgent = true;
            }
        } else if self.in_flight.len() >= MAX_IN_FLIGHT || self.queue.bytes() < OVERLAP_BYTES {
            return None;
        }
        let segment = self.queue.next_segment(self.closing)?;
        let prepared = self.prepared_segment(segment)?;
        Some((self.queue.take(self.closing)?, prepared))
    }

    /// Writes the batch's header and pads it to whole blocks.
    fn seal(&self, mut batch: Batch, run: u64, place: &Place) -> (BatchHeader, AlignedBuf) {
        let header = BatchHeader {
            length: u32::try_from(batch.buf.len()).expect("a batch fits in a segment"),
            records: batch.records,
            sequence: batch.sequence,
            run,
            durable: self.durable,
            oldest_segment: self.release.may_claim(),
        };
        header.seal(&mut batch.buf, place);
        let padded = usize::try_from(header.padded_bytes()).expect("a batch fits in memory");
        batch.buf.resize_zeroed(padded);
        (header, batch.buf)
    }

    /// `batch` is durable, and so is everything before it.
    fn on_written(&mut self, batch: &InFlight, buf: AlignedBuf) {
        let InFlight { position, header, waiters } = batch;
        let rolled = position.segment != self.durable.segment;
        // It may have gone out beside another one, whose end it could not claim.
        let claims_all_before = header.durable == self.durable;
        self.durable = Position { segment: position.segment, offset: position.offset + header.padded_bytes() };
        self.durable_sequence = header.sequence;
        self.sealed = header.records == 0 && claims_all_before;
        self.stats.flushes += 1;
        self.stats.seals += u64::from(header.records == 0);
        self.stats.bytes += header.padded_bytes();
        self.queue.recycle(buf);
        self.waiters.are_durable(*waiters);
        self.release.on_durable(header.sequence, header.oldest_segment);
        if self.release.has_free() {
            self.wake();
        }
        if rolled {
            self.decide_release();
        }
    }
}
