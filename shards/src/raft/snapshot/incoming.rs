//! A snapshot on its way in: written to a file and built into a machine, block by block.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kahuna_machine::Restore;
use kahuna_protocol::GroupId;
use kahuna_wal::{Disk, OpenMode};

use super::build::free;
use super::data::SnapshotData;
use super::fault::SnapshotFault;
use super::header::{Header, file_name};
use super::read::blocks;
use super::time_slice::TimeSlice;
use super::writer::Writer;
use crate::env::Env;
use crate::raft::messages::SnapshotBegin;
use crate::raft::types::Vote;

/// A sender that is silent for longer has given up: it waits no longer for an answer itself.
const SENDER_SILENT: Duration = Duration::from_secs(60);

/// A transfer that has begun and not ended. Dropping it leaves its file, which the next opening of the group removes.
pub struct IncomingSnapshot<E: Env> {
    /// The sender's claim to lead.
    pub vote: Vote,
    /// The number of the attempt.
    pub transfer: u64,
    /// What the snapshot is of.
    pub header: Header,
    path: PathBuf,
    writer: Writer<<E::Disk as Disk>::File>,
    file_bytes: u64,
    restore: Restore,
    /// When the last part came, as time since boot.
    heard: Duration,
}

impl<E: Env> IncomingSnapshot<E> {
    /// Makes the file and writes its header.
    ///
    /// # Errors
    /// `Header` when it is not one or is of another group; `Io`.
    pub async fn begin(
        disk: &E::Disk,
        dir: &Path,
        group: GroupId,
        begin: &SnapshotBegin,
    ) -> Result<Self, SnapshotFault> {
        let header = Header::read(&begin.header).map_err(SnapshotFault::header(dir))?;
        if header.group != group {
            let why = format!("a snapshot of group {} came for group {group}", header.group);
            return Err(SnapshotFault::Header { path: dir.to_owned(), why });
        }
        let name = file_name(&header.last);
        let path = dir.join(format!("{}-{:016x}.tmp", name.trim_end_matches(".snap"), begin.transfer));
        let file = disk.open(&path, OpenMode::CreateDirect).await.map_err(SnapshotFault::io(&path))?;
        let mut this = Self {
            vote: begin.vote,
            transfer: begin.transfer,
            header,
            path,
            writer: Writer::new(file),
            file_bytes: begin.file_bytes,
            restore: Restore::new(),
            heard: E::boot_clock(),
        };
        match this.write(&begin.header).await {
            Ok(()) => Ok(this),
            Err(fault) => {
                // What cannot be removed now is removed when the group is opened next.
                let _ = disk.remove(&this.path).await;
                Err(fault)
            }
        }
    }

    /// Takes the blocks that belong at `offset`.
    ///
    /// # Errors
    /// `Header` when they do not follow what is there; `Block` when one is damaged; `Io`. The transfer is over then.
    pub async fn chunk(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SnapshotFault> {
        let next = self.writer.bytes();
        if offset != next || next + bytes.len() as u64 > self.file_bytes {
            return Err(self.out_of_place(format!("a chunk at {offset}, where {next} is next")));
        }
        let mut taken = 0;
        let mut slice = TimeSlice::<E>::begin();
        for block in blocks(bytes) {
            taken = block.end;
            let Some(block) = bytes.get(block) else { break };
            self.restore.push_block(block).map_err(SnapshotFault::block(&self.path))?;
            slice.step().await;
        }
        if taken != bytes.len() {
            return Err(self.out_of_place(format!("the chunk at {offset} ends within a block")));
        }
        self.write(bytes).await
    }

    /// Syncs the file, once all of it came. The transfer is over after an error.
    ///
    /// # Errors
    /// When something is missing, or the file cannot be synced.
    pub async fn sync(&mut self) -> Result<(), SnapshotFault> {
        if self.writer.bytes() != self.file_bytes {
            return Err(self.out_of_place(format!("{} of {} bytes came", self.writer.bytes(), self.file_bytes)));
        }
        if !self.restore.is_complete() {
            return Err(self.out_of_place("the trailer did not come".to_owned()));
        }
        self.writer.sync().await.map_err(SnapshotFault::io(&self.path))
    }

    /// The file, synced, with the machine that is in it.
    ///
    /// # Errors
    /// When there is no trailer.
    pub fn finish(self) -> Result<(Header, SnapshotData<E>), SnapshotFault> {
        let machine = self.restore.finish().map_err(SnapshotFault::block(&self.path))?;
        Ok((self.header, SnapshotData::received(self.path, machine)))
    }

    /// Removes its file, and frees what was built behind the scenes. A file that cannot be removed now is removed when the
    /// group is opened next.
    pub async fn give_up(self, disk: &E::Disk) {
        E::spawn(free::<E>(self.restore.into()));
        let _ = disk.remove(&self.path).await;
    }

    /// Whether its sender has been silent for so long that it will not go on.
    pub fn is_stale(&self) -> bool {
        E::boot_clock().saturating_sub(self.heard) > SENDER_SILENT
    }

    fn out_of_place(&self, why: String) -> SnapshotFault {
        SnapshotFault::Header { path: self.path.clone(), why }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotFault> {
        self.writer.push(bytes).await.map_err(SnapshotFault::io(&self.path))?;
        self.heard = E::boot_clock();
        Ok(())
    }
}
