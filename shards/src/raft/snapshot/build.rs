//! Writing a frozen machine into a file.

use std::io;
use std::path::Path;
use std::rc::Rc;

use kahuna_machine::{Frozen, Remains};
use kahuna_wal::{Disk, OpenMode};
use openraft::RaftSnapshotBuilder;

use super::data::{Snapshot, SnapshotData};
use super::fault::SnapshotFault;
use super::header::{Header, file_name};
use super::keeper::SnapshotKeeper;
use super::time_slice::TimeSlice;
use super::writer::Writer;
use crate::env::Env;
use crate::raft::types::{SnapshotMeta, Types};

/// A view of the machine as it was when this was made.
pub struct Builder<E: Env> {
    keeper: Rc<SnapshotKeeper<E>>,
    /// None when nothing was applied by then, or once it was written.
    view: Option<(Header, Frozen)>,
}

impl<E: Env> Builder<E> {
    /// Will write `view`, if there is one, into a file of the group.
    pub fn new(keeper: Rc<SnapshotKeeper<E>>, view: Option<(Header, Frozen)>) -> Self {
        Self { keeper, view }
    }

    /// Writes the file and makes it the group's snapshot.
    ///
    /// # Errors
    /// `Io`; `NoRoom`, nothing is left of it then.
    pub async fn finish(&mut self) -> Result<(), SnapshotFault> {
        let Some((header, frozen)) = self.view.take() else { return Ok(()) };
        if self.keeper.reaches(&header.last) {
            // The newest snapshot says the same already, or what came from the leader meanwhile says more.
            free::<E>(frozen.into()).await;
            return Ok(());
        }
        let path = self.keeper.dir().path().join(file_name(&header.last)).with_extension("tmp");
        let adopted = match write_file::<E>(self.keeper.dir().disk(), &path, &header, frozen).await {
            Ok(()) => self.keeper.adopt(&path, &header).await,
            Err(fault) => Err(fault),
        };
        if let Err(SnapshotFault::NoRoom { .. }) = adopted {
            self.keeper.dir().discard(&path).await;
        }
        adopted
    }
}

/// Writes and syncs a snapshot's file.
///
/// # Errors
/// `Io`, `NoRoom`.
pub async fn write_file<E: Env>(
    disk: &E::Disk,
    path: &Path,
    header: &Header,
    frozen: Frozen,
) -> Result<(), SnapshotFault> {
    let file = disk.open(path, OpenMode::CreateDirect).await.map_err(SnapshotFault::io(path))?;
    let mut writer = Writer::new(file);
    let mut blocks = frozen.into_blocks();
    let mut slice = TimeSlice::<E>::begin();
    let mut written = writer.push(&header.encode()).await;
    while written.is_ok()
        && let Some(block) = blocks.next()
    {
        written = writer.push(&block).await;
        slice.step().await;
    }
    free::<E>(blocks.into()).await;
    written.map_err(SnapshotFault::io(path))?;
    writer.sync().await.map_err(SnapshotFault::io(path))
}

impl<E: Env> RaftSnapshotBuilder<Types<E>> for Builder<E> {
    type SnapshotData = SnapshotData<E>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot<E>> {
        match self.finish().await {
            Ok(()) => {}
            // openraft, to which an error would be final, gets the snapshot that there is.
            Err(fault @ SnapshotFault::NoRoom { .. }) => self.keeper.request_later(&fault),
            Err(fault) => return Err(self.keeper.abort_unless_closed(fault)),
        }
        let (meta, snapshot) = match self.keeper.newest() {
            Some(file) => (file.header.meta(), SnapshotData::stored(file, self.keeper.clone())),
            None => (SnapshotMeta::default(), SnapshotData::nothing()),
        };
        Ok(Snapshot::<E> { meta, snapshot })
    }
}

/// Frees a state that is no longer needed, in small steps.
pub async fn free<E: Env>(mut remains: Remains) {
    let mut slice = TimeSlice::<E>::begin();
    while remains.step() {
        slice.step().await;
    }
}
