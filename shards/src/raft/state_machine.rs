//! openraft's state machine: the partition's machine, in memory, fed with committed entries.
//!
//! It is rebuilt at every start from the newest snapshot and the committed log behind it. Applying is synchronous: between
//! two entries, and only there, the shard's other tasks may run, so every read of the machine sees whole entries.

use std::io;
use std::rc::Rc;

use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine};

use super::applied::AppliedState;
use super::reads::Reads;
use super::snapshot::{Builder, Snapshot, SnapshotData, TimeSlice};
use super::types::{LogId, SnapshotMeta, StoredMembership, Types};
use crate::env::Env;
use crate::env::local::keep_quiet;

/// openraft with our types.
pub type Raft<E> = openraft::Raft<Types<E>, StateMachine<E>>;

/// openraft's handle to the machine.
pub struct StateMachine<E: Env> {
    /// The machine.
    pub applied: Rc<AppliedState<E>>,
    /// Reads that wait for what is applied.
    pub reads: Reads,
}

impl<E: Env> RaftStateMachine<Types<E>> for StateMachine<E> {
    type SnapshotData = SnapshotData<E>;
    type SnapshotBuilder = Builder<E>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied.last(), self.applied.membership()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types<E>>>> + Unpin + OptionalSend,
    {
        let mut slice = TimeSlice::<E>::begin();
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let outcomes = self.applied.apply(&entry);
            if let Some(responder) = responder {
                responder.send(outcomes);
            }
            if slice.is_over() {
                self.applied.announce();
                slice.step().await;
            }
        }
        self.applied.announce();
        if self.applied.is_snapshot_due() {
            self.applied.snapshots().request();
        }
        // What was applied is answered already; only who waits in openraft's metrics needs its core to learn of it now.
        if !self.reads.wait() {
            keep_quiet();
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder<E>> {
        // A log that has room and goes on although the last attempt found none shows that there is some by now; it must not
        // take it all.
        let log_goes_on = self.applied.snapshots().has_log_room() && self.applied.is_snapshot_due();
        (log_goes_on || !self.applied.snapshots().dir().is_short_of_room()).then(|| self.applied.freeze())
    }

    async fn get_snapshot_builder(&mut self) -> Builder<E> {
        self.applied.freeze()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData<E>) -> io::Result<()> {
        let installed = self.applied.install(meta, snapshot.source).await;
        installed.map_err(|fault| self.applied.snapshots().abort_unless_closed(fault))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot<E>>> {
        let keeper = self.applied.snapshots();
        Ok(keeper.newest().map(|file| Snapshot::<E> {
            meta: file.header.meta(),
            snapshot: SnapshotData::stored(file, keeper.clone()),
        }))
    }
}
