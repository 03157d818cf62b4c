//! Writing a frozen machine into a file.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use kahuna_machine::{Frozen, Remains};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use openraft::RaftSnapshotBuilder;

use super::file::{SnapshotData, SnapshotFault};
use super::header::{Header, file_name};
use super::turn::Turn;
use crate::env::Env;
use crate::raft::applied::Applied;
use crate::raft::state_machine::Snapshot;
use crate::raft::types::{SnapshotMeta, Types};

/// A view of the machine as it was when this was made.
pub struct Builder<E: Env> {
    applied: Rc<Applied<E>>,
    /// None when nothing was applied by then, or once it was written.
    view: Option<(Header, Frozen)>,
}

impl<E: Env> Builder<E> {
    /// Will write `view`, if there is one, into a file of the group.
    pub fn new(applied: Rc<Applied<E>>, view: Option<(Header, Frozen)>) -> Self {
        Self { applied, view }
    }

    /// Writes the file and makes it the group's snapshot.
    ///
    /// # Errors
    /// `Io`.
    pub async fn finish(&mut self) -> Result<(), SnapshotFault> {
        let Some((header, frozen)) = self.view.take() else { return Ok(()) };
        if self.applied.snapshot_reaches(&header.last) {
            // The newest snapshot says the same already, or what came from the leader meanwhile says more.
            free::<E>(frozen.into()).await;
            return Ok(());
        }
        let path = self.write(&header, frozen).await?;
        self.applied.adopt(&path, &header).await
    }

    /// Writes and syncs the file under a name of its own, which it returns.
    async fn write(&self, header: &Header, frozen: Frozen) -> Result<PathBuf, SnapshotFault> {
        let disk = self.applied.disk();
        let path = self.applied.dir().join(file_name(&header.last)).with_extension("tmp");
        let file = disk.open(&path, OpenMode::Create).await.map_err(SnapshotFault::io(&path))?;
        let mut buf = AlignedBuf::copy_of(&header.encode());
        let mut offset = 0;
        let mut blocks = frozen.into_blocks();
        loop {
            let length = buf.len() as u64;
            buf = file.write_at(offset, buf, Durability::Buffered).await.map_err(SnapshotFault::io(&path))?;
            offset += length;
            E::yield_now().await;
            let Some(block) = blocks.next() else { break };
            buf.clear();
            buf.extend_from_slice(&block);
        }
        free::<E>(blocks.into()).await;
        file.sync().await.map_err(SnapshotFault::io(&path))?;
        Ok(path)
    }
}

impl<E: Env> RaftSnapshotBuilder<Types<E>> for Builder<E> {
    type SnapshotData = SnapshotData<E>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<E>> {
        self.finish().await.map_err(|fault| self.applied.snapshot_failed(fault))?;
        let (meta, snapshot) = match self.applied.snapshot() {
            Some(file) => (file.header.meta(), SnapshotData::stored(file, self.applied.clone())),
            None => (SnapshotMeta::default(), SnapshotData::nothing()),
        };
        Ok(Snapshot::<E> { meta, snapshot })
    }
}

/// Frees what nobody needs any more, in small steps.
pub async fn free<E: Env>(mut remains: Remains) {
    let mut turn = Turn::<E>::begin();
    while remains.step() {
        turn.step().await;
    }
}
