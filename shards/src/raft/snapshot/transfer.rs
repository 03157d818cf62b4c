//! The transfer of a snapshot to this replica: begun, continued part by part, ended or given up. One runs at a time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kahuna_protocol::{ErrorCode, ErrorReply};

use super::data::Snapshot;
use super::fault::SnapshotFault;
use super::incoming::IncomingSnapshot;
use super::keeper::SnapshotKeeper;
use crate::env::{Env, ExitCode};
use crate::raft::inbound::Sender;
use crate::raft::messages::SnapshotBegin;
use crate::raft::types::Vote;

/// Owns the snapshot that is on its way to this replica.
pub struct SnapshotTransfer<E: Env> {
    keeper: Rc<SnapshotKeeper<E>>,
    /// The snapshot on its way in, except while a part of it is being taken.
    incoming: RefCell<Option<IncomingSnapshot<E>>>,
    /// The number of the transfer that may continue; parts of another one are refused.
    current: Cell<u64>,
}

impl<E: Env> SnapshotTransfer<E> {
    /// No transfer; files go into the directory of `keeper`.
    pub fn new(keeper: Rc<SnapshotKeeper<E>>) -> Self {
        Self { keeper, incoming: RefCell::new(None), current: Cell::new(0) }
    }

    /// Begins a transfer in the place of the one before it.
    ///
    /// # Errors
    /// `DiskFull`; `NotReady` for a header that is not one, or of another group.
    pub async fn begin(&self, begin: &SnapshotBegin) -> Result<(), ErrorReply> {
        let dir = self.keeper.dir();
        if dir.is_short_of_room() {
            let text = format!("group {}: the disk was full a moment ago, no snapshot fits", dir.group());
            return Err(ErrorReply::new(ErrorCode::DiskFull, text));
        }
        self.current.set(begin.transfer);
        let before = self.incoming.take();
        self.give_up(before).await;
        let begun = IncomingSnapshot::begin(dir.disk(), dir.path(), dir.group(), begin).await;
        let incoming = begun.map_err(|fault| self.failed(&fault))?;
        self.put_back(incoming).await;
        Ok(())
    }

    /// Takes the blocks at `offset` of a transfer. Returns the vote to answer with: `own`, the vote of this replica, if it is
    /// above the sender's, which leads no more then.
    ///
    /// # Errors
    /// `NotReady` for a part that does not follow the one before it; `DiskFull`.
    pub async fn chunk(
        &self,
        from: Sender,
        own: Vote,
        transfer: u64,
        offset: u64,
        blocks: &[u8],
    ) -> Result<Vote, ErrorReply> {
        let mut incoming = self.take(from, transfer)?;
        let vote = incoming.vote;
        if own > vote {
            self.give_up(Some(incoming)).await;
            return Ok(own);
        }
        if let Err(fault) = incoming.chunk(offset, blocks).await {
            self.give_up(Some(incoming)).await;
            return Err(self.failed(&fault));
        }
        self.put_back(incoming).await;
        Ok(vote)
    }

    /// Ends a transfer: the sender's vote, and the snapshot, whole and synced.
    ///
    /// # Errors
    /// `NotReady` when a part is missing; `DiskFull`.
    pub async fn end(&self, from: Sender, transfer: u64) -> Result<(Vote, Snapshot<E>), ErrorReply> {
        let mut incoming = self.take(from, transfer)?;
        let vote = incoming.vote;
        if let Err(fault) = incoming.sync().await {
            self.give_up(Some(incoming)).await;
            return Err(self.failed(&fault));
        }
        let (header, data) = incoming.finish().map_err(|fault| self.failed(&fault))?;
        Ok((vote, Snapshot::<E> { meta: header.meta(), snapshot: data }))
    }

    /// Frees a transfer whose sender died or lost its leadership, once the group goes on without it.
    pub fn forget_stale(&self) {
        if let Some(stale) = self.incoming.borrow_mut().take_if(|incoming| incoming.is_stale()) {
            let disk = self.keeper.dir().disk().clone();
            E::spawn(async move { stale.give_up(&disk).await });
        }
    }

    fn take(&self, from: Sender, transfer: u64) -> Result<IncomingSnapshot<E>, ErrorReply> {
        let is_meant = |incoming: &mut IncomingSnapshot<E>| {
            incoming.transfer == transfer && from.speaks_for(incoming.vote).is_ok()
        };
        let incoming = self.incoming.borrow_mut().take_if(is_meant);
        incoming.ok_or_else(|| ErrorReply::new(ErrorCode::NotReady, "no such snapshot is on its way: begin again"))
    }

    /// Keeps a transfer for its next part, unless another one has begun meanwhile.
    async fn put_back(&self, incoming: IncomingSnapshot<E>) {
        if incoming.transfer == self.current.get() {
            self.incoming.replace(Some(incoming));
        } else {
            self.give_up(Some(incoming)).await;
        }
    }

    async fn give_up(&self, incoming: Option<IncomingSnapshot<E>>) {
        if let Some(incoming) = incoming {
            incoming.give_up(self.keeper.dir().disk()).await;
        }
    }

    /// The answer to a transfer that cannot continue; a disk that failed ends the process.
    fn failed(&self, fault: &SnapshotFault) -> ErrorReply {
        let dir = self.keeper.dir();
        let text = format!("group {}: a snapshot came to nothing: {fault}", dir.group());
        match fault {
            SnapshotFault::Io { .. } => E::abort(ExitCode::DiskFailed, &text),
            SnapshotFault::NoRoom { .. } => {
                dir.found_no_room(fault);
                ErrorReply::new(ErrorCode::DiskFull, text)
            }
            SnapshotFault::Header { .. } | SnapshotFault::Newer { .. } | SnapshotFault::Block { .. } => {
                ErrorReply::new(ErrorCode::NotReady, text)
            }
        }
    }
}
