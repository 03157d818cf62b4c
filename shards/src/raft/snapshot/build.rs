//! Writing a frozen machine into a file.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use kahuna_machine::{Frozen, Remains};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use openraft::RaftSnapshotBuilder;

use super::file::{SnapshotData, SnapshotFault};
use super::header::{Header, file_name};
use crate::env::Env;
use crate::raft::state_machine::{Applied, Snapshot};
use crate::raft::types::Types;

/// A view of the machine as it was when this was made.
pub struct Builder<E: Env> {
    pub(in crate::raft) applied: Rc<Applied<E>>,
    pub(in crate::raft) header: Header,
    /// None once it was written.
    pub(in crate::raft) frozen: Option<Frozen>,
}

impl<E: Env> RaftSnapshotBuilder<Types<E>> for Builder<E> {
    type SnapshotData = SnapshotData<E>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<E>> {
        // Otherwise the newest snapshot says the same already, or what came from the leader meanwhile says more.
        if !self.applied.snapshot_reaches(&self.header.last) {
            self.write_and_adopt().await.unwrap_or_else(|fault| self.applied.abort(&fault));
        }
        if let Some(frozen) = self.frozen.take() {
            free::<E>(frozen.into()).await;
        }
        let file = self.applied.snapshot().expect("one was adopted");
        Ok(Snapshot::<E> { meta: file.header.meta(), snapshot: SnapshotData::stored(file) })
    }
}

impl<E: Env> Builder<E> {
    /// Writes the file and makes it the group's snapshot.
    pub(in crate::raft) async fn write_and_adopt(&mut self) -> Result<(), SnapshotFault> {
        let path = self.write().await?;
        self.applied.adopt(&path, &self.header).await
    }

    /// Writes and syncs the file under a name of its own, which it returns.
    async fn write(&mut self) -> Result<PathBuf, SnapshotFault> {
        let disk = self.applied.disk();
        let path = self.applied.dir().join(file_name(&self.header.last)).with_extension("tmp");
        let file = disk.open(&path, OpenMode::Create).await.map_err(SnapshotFault::io(&path))?;
        let mut buf = AlignedBuf::copy_of(&self.header.encode());
        let mut offset = 0;
        let mut blocks = self.frozen.take().expect("written once").into_blocks();
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

/// Frees what nobody needs any more, in small steps.
pub async fn free<E: Env>(mut remains: Remains) {
    while remains.step() {
        E::yield_now().await;
    }
}
