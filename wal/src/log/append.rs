//! Taking records in.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Log;
use super::state::State;
use crate::format::record::{GroupId, Record};
use crate::{Disk, LogError};

impl<D: Disk> Log<D> {
    /// Queues records of `group`, behind all that was queued before, and calls `on_durable` once they are durable: in the
    /// order of the calls, from [`Log::run`], and only for a flush that began after the last byte was written. Without
    /// records the call is a barrier for what was queued before.
    ///
    /// Errors, given to `on_durable`: [`LogError::Failed`] when the log is poisoned, then nothing is known of the records;
    /// [`LogError::Closed`]; [`LogError::TooLarge`] for a record that fits in no segment, then it and those after it in this
    /// call were not taken.
    ///
    /// Panics when an entry leaves a hole behind its group's last entry or purge mark, or lies below that mark: the caller lost
    /// track of a log that no opening would take. That entry and those after it in this call are not taken.
    pub fn append(
        &self,
        group: GroupId,
        records: impl AsRef<[Record]>,
        on_durable: impl FnOnce(Result<(), LogError>) + 'static,
    ) {
        let limit = self.shared.options.max_record_bytes();
        let mut state = self.shared.state();
        let refused = state.push(group, records.as_ref(), limit);
        let nothing_before = state.queue.is_empty() && state.in_flight.is_empty();
        let nobody_before = nothing_before && state.waiters.is_empty();
        if nobody_before || state.failed.is_some() || state.closing {
            drop(state);
            return on_durable(refused.map_err(|error| *error));
        }
        // A refused append waits in line as well: callbacks never overtake each other.
        state.waiters.push(Box::new(on_durable), refused);
        if nothing_before {
            state.waiters.are_durable(1);
        } else {
            let batch = state.queue.open_batch();
            batch.urgent = true;
            batch.waiters += 1;
        }
        state.wake();
    }

    /// Queues records without a callback, such as a committed mark: they are written with the next batch, or with
    /// [`Log::seal_if_idle`], and cause no flush of their own. Once the log is poisoned or closed they are dropped.
    pub fn append_lazily(&self, group: GroupId, records: impl AsRef<[Record]>) {
        // What is refused here is refused to the next caller who waits as well.
        let limit = self.shared.options.max_record_bytes();
        let _ = self.shared.state().push(group, records.as_ref(), limit);
    }

    /// [`Log::append`] as a future. The records are queued by the call itself, not by the first poll.
    pub fn append_durable(&self, group: GroupId, records: impl AsRef<[Record]>) -> Appended {
        let slot = Rc::new(RefCell::new(Slot::default()));
        let answer = slot.clone();
        self.append(group, records, move |outcome| {
            let mut slot = answer.borrow_mut();
            slot.outcome = Some(outcome);
            if let Some(waker) = slot.waker.take() {
                drop(slot);
                waker.wake();
            }
        });
        Appended { slot }
    }
}

impl<D: Disk> State<D> {
    /// Encodes records into the queue and takes them into the index; none may be longer than `limit`.
    fn push(&mut self, group: GroupId, records: &[Record], limit: usize) -> Result<(), Box<LogError>> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        if self.closing {
            return Err(LogError::Closed.into());
        }
        for record in records {
            let bytes = record.encoded_bytes();
            if bytes > limit {
                return Err(LogError::TooLarge { bytes, limit }.into());
            }
            assert!(!matches!(record, Record::Moved { .. }), "only the log itself copies entries");
            if let Err(why) = self.take_in(group, record) {
                panic!("group {group} appends {why}");
            }
        }
        Ok(())
    }

    /// Queues a record, no longer than fits in a segment, and adds it to the index. Otherwise returns the rule of the log
    /// that it breaks, and adds nothing.
    pub fn take_in(&mut self, group: GroupId, record: &Record) -> Result<(), &'static str> {
        self.queue.push(group, record, |place| self.index.apply(group, record, place))?;
        self.stats.records += 1;
        Ok(())
    }
}

/// The answer to [`Log::append_durable`]. Dropping it gives up the answer only.
pub struct Appended {
    slot: Rc<RefCell<Slot>>,
}

#[derive(Default)]
struct Slot {
    outcome: Option<Result<(), LogError>>,
    waker: Option<Waker>,
}

impl Future for Appended {
    type Output = Result<(), LogError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.slot.borrow_mut();
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
