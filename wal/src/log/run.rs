//! Writer, preparer and mover as one future, so that the shard spawns one task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::state::Shared;
use crate::{Disk, LogError};

impl<D: Disk> Shared<D> {
    /// Runs until the log is closed, everything is flushed and sealed, and no file is being made ready any more; or until it
    /// is poisoned.
    pub async fn run(&self) -> Result<(), LogError> {
        assert!(!std::mem::replace(&mut self.state().running, true), "a log has one writer");
        let mut writer = pin!(self.write_loop());
        let mut preparer = pin!(self.prepare_loop());
        let mut mover = pin!(self.move_loop());
        let ended = poll_fn(|context| {
            if !self.state().finished {
                match writer.as_mut().poll(context) {
                    Poll::Ready(Ok(())) => self.state().finished = true,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
            }
            let prepared = preparer.as_mut().poll(context);
            if self.state().finished {
                // All records are durable: a segment that could not be prepared behind them is not needed.
                return prepared.map(|_| Ok(()));
            }
            let moved = mover.as_mut().poll(context).map(Err);
            let failed = if prepared.is_ready() { prepared } else { moved };
            failed.map(|failed| failed.inspect_err(|error| self.fail(error)))
        })
        .await;
        // Nothing is written any more. The next opening of this log, in this process or another, waits until its files are
        // closed, and handles to the log may outlive this task.
        self.state().prepared.clear();
        ended
    }
}
