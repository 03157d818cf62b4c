//! The writer: one batch, one durable write, one flush at a time.
//!
//! The next write is submitted before the callbacks of the last one run, so that the disk never waits for them. A callback
//! runs only after its own batch and every batch before it are durable, in the order of the appends.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::queue::{Batch, OnDurable};
use super::state::{Shared, State};
use crate::format::Position;
use crate::format::batch::BatchHeader;
use crate::identity::Place;
use crate::{AlignedBuf, Disk, DiskFile, Durability, LogError};

/// Callbacks whose batch is durable.
pub type Done = Vec<(OnDurable, Result<(), LogError>)>;

/// Tells everybody, in order.
pub fn tell(done: Done) {
    for (on_durable, outcome) in done {
        on_durable(outcome);
    }
}

impl<D: Disk> Shared<D> {
    /// Writes batches until the log is closed, flushed and sealed, or poisoned.
    pub async fn write_loop(&self) -> Result<(), LogError> {
        let mut done = Done::new();
        loop {
            let ready = self.state().next_batch();
            let batch = match ready {
                Some(batch) => batch,
                None => {
                    tell(std::mem::take(&mut done));
                    match self.next_batch().await? {
                        Some(batch) => batch,
                        None => return Ok(()),
                    }
                }
            };
            done = self.write(batch, done).await?;
        }
    }

    /// Writes one batch; returns its callbacks, to be told. Those of `done` are told while the disk works.
    pub async fn write(&self, mut batch: Batch, done: Done) -> Result<Done, LogError> {
        let Position { segment, offset } = batch.position;
        let ready = {
            let mut state = self.state();
            state.told_next = std::mem::take(&mut batch.on_durable);
            state.writing = true;
            state.segment_file(segment)
        };
        let (file, done) = match ready {
            Some(file) => (file, done),
            None => {
                tell(done);
                (self.segment_file(segment).await?, Done::new())
            }
        };
        let position = batch.position;
        let (header, buf) = self.seal(batch);
        let mut write = pin!(file.write_at(offset, buf, Durability::Durable));
        let submitted = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await;
        tell(done);
        let written = match submitted {
            Poll::Ready(written) => written,
            Poll::Pending => write.await,
        };
        match written {
            Ok(buf) => Ok(self.state().on_written(position, &header, buf)),
            Err(error) => {
                let error = LogError::failed("write", &self.segment_path(segment))(error);
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// Writes the batch's header and pads it to whole blocks.
    fn seal(&self, mut batch: Batch) -> (BatchHeader, AlignedBuf) {
        let state = self.state();
        let Some(current) = state.prepared.front() else { unreachable!("the caller has the segment's file") };
        let header = BatchHeader {
            length: u32::try_from(batch.buf.len()).expect("a batch fits in a segment"),
            records: batch.records,
            sequence: batch.sequence,
            run: self.run,
            durable: state.durable,
            oldest_segment: state.release.may_claim(),
        };
        let place = Place { identity: self.identity, generation: current.generation, position: batch.position };
        header.seal(&mut batch.buf, &place);
        let padded = usize::try_from(header.padded_bytes()).expect("a batch fits in memory");
        batch.buf.resize_zeroed(padded);
        (header, batch.buf)
    }

    async fn next_batch(&self) -> Result<Option<Batch>, LogError> {
        poll_fn(|context| {
            let mut state = self.state();
            if let Some(error) = &state.failed {
                return Poll::Ready(Err(error.clone()));
            }
            match state.next_batch() {
                Some(batch) => Poll::Ready(Ok(Some(batch))),
                None if state.closing => Poll::Ready(Ok(None)),
                None => {
                    state.sleep(context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    async fn segment_file(&self, segment: u64) -> Result<Rc<D::File>, LogError> {
        poll_fn(|context| {
            let mut state = self.state();
            match (state.segment_file(segment), &state.failed) {
                (_, Some(error)) => Poll::Ready(Err(error.clone())),
                (Some(file), None) => Poll::Ready(Ok(file)),
                (None, None) => {
                    state.sleep(context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<D: Disk> State<D> {
    /// What to write now, if anything: what somebody waits for, else a header that brings a release forward, or the last
    /// seal.
    fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.queue.take(self.closing) {
            return Some(batch);
        }
        if self.release.wants_claim() || (self.closing && !self.sealed) {
            self.queue.open_batch();
        } else {
            return None;
        }
        self.queue.take(true)
    }

    fn on_written(&mut self, position: Position, header: &BatchHeader, buf: AlignedBuf) -> Done {
        let rolled = position.segment != self.durable.segment;
        self.writing = false;
        self.durable = Position { segment: position.segment, offset: position.offset + header.padded_bytes() };
        self.durable_sequence = header.sequence;
        self.sealed = header.records == 0;
        self.stats.flushes += 1;
        self.stats.seals += u64::from(self.sealed);
        self.stats.bytes += header.padded_bytes();
        self.queue.recycle(buf);
        self.release.on_durable(header.sequence, header.oldest_segment);
        if self.release.has_free() {
            self.wake();
        }
        if rolled {
            self.decide_release();
        }
        std::mem::take(&mut self.told_next)
    }
}
