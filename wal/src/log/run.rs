//! Writer, preparer and mover as one future, so that the shard spawns one task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::state::Shared;
use crate::{Disk, LogError};

impl<D: Disk> Shared<D> {
    /// Runs until the log is closed and everything is flushed and sealed, or until it is poisoned.
    pub async fn run(&self) -> Result<(), LogError> {
        assert!(!std::mem::replace(&mut self.state().running, true), "a log has one writer");
        let mut writer = pin!(self.write_loop());
        let mut preparer = pin!(self.prepare_loop());
        let mut mover = pin!(self.move_loop());
        let ended = poll_fn(|context| {
            if let Poll::Ready(ended) = writer.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let mut failed = preparer.as_mut().poll(context);
            if failed.is_pending() {
                failed = mover.as_mut().poll(context);
            }
            failed.map(|error| {
                self.fail(&error);
                Err(error)
            })
        })
        .await;
        // Nothing is written any more. Whoever opens this log next, in this process or another, waits for its files to be
        // closed, and handles to the log may live on.
        self.state().prepared.clear();
        ended
    }
}
