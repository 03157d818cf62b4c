//! The way in from a command line: lock, look, build, switch.

use std::io;
use std::path::{Path, PathBuf};

use kahuna_protocol::{ClusterId, Incarnation, NodeId, ShardId};
use kahuna_wal::{UringDisk, block_on, wait_for_writers};

use super::error::RecoverError;
use super::group::snapshot_dirs;
use super::job::{Job, Mint};
use super::report::Report;
use super::switch::{Left, Names};
use crate::linux::{self, Linux, ShardOptions, spawn_shard};
use crate::node::lock::DirLock;
use crate::node::manifest::{MANIFEST, MANIFEST_COPY, Manifest};
use crate::node::open::{DataDirError, say_held};

const RING_ENTRIES: u32 = 256;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Data directory of the stopped node.
    pub data_dir: PathBuf,
    /// Whose it should be, if that is to be checked.
    pub node: Option<NodeId>,
    /// The restore epoch; one above the old one's if not given.
    pub restore_epoch: Option<u16>,
    /// Whether to carry it out; otherwise nothing changes.
    pub carry_out: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing was changed; this is what would become of the data.
    Looked(Report),
    /// The data directory is that of the new cluster.
    Recovered {
        /// What became of the data.
        report: Report,
        /// The old data directory.
        aside: PathBuf,
    },
    /// An earlier recovery had been interrupted after the new data were in place; or, if nothing was to be carried out,
    /// remains to be finished.
    Finished {
        /// The old data directory, unless it had its name already.
        aside: Option<PathBuf>,
    },
}

/// Examines a data directory that no process uses, and turns it into a cluster of this one node if asked to.
///
/// # Errors
/// See [`RecoverError`]. The data directory is as it was, unless its switch was interrupted; repeating it is safe.
pub fn recover(asked: &Asked) -> Result<Done, RecoverError> {
    // Before the lock is taken: its file must not be left in a directory of something else.
    if [MANIFEST, MANIFEST_COPY].iter().all(|name| !asked.data_dir.join(name).exists()) {
        return Err(RecoverError::NoData(asked.data_dir.clone()));
    }
    let names = Names::of(&asked.data_dir)?;
    let _lock = lock(&names.dir)?;
    let left = names.left()?;
    if left == Left::Exchanged {
        let aside = if asked.carry_out { names.finish(|_| Ok(()))? } else { None };
        return Ok(Done::Finished { aside });
    }
    let manifest = read_manifest(&names.dir, asked.node)?;
    for shard in (0..manifest.shards).map(ShardId) {
        let log = manifest.log_dir(&names.dir, shard);
        wait_for_writers(&log, say_held).map_err(RecoverError::io(log))?;
    }
    let mut job = Job {
        dir: names.dir.clone(),
        manifest,
        snapshots: snapshot_dirs(&names.dir).map_err(RecoverError::io(&names.dir))?,
        mint: Mint { cluster: ClusterId(rand::random()), incarnation: Incarnation(rand::random::<u64>().max(1)) },
        restore_epoch: asked.restore_epoch,
        target: None,
    };
    if !asked.carry_out {
        return run(job).map(Done::Looked);
    }
    names.begin()?;
    // Held until the end: no node may start in the new directory before the switch is complete.
    let _new_lock = lock(&names.new)?;
    job.target = Some(names.new.clone());
    let report = run(job)?;
    let aside = names.switch(|_| Ok(()))?;
    Ok(Done::Recovered { report, aside })
}

fn lock(dir: &Path) -> Result<DirLock, RecoverError> {
    DirLock::acquire(dir).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => RecoverError::Locked(dir.to_owned()),
        _ => RecoverError::io(dir)(error),
    })
}

fn read_manifest(dir: &Path, node: Option<NodeId>) -> Result<Manifest, RecoverError> {
    let disk = UringDisk::new(RING_ENTRIES).map_err(RecoverError::Shard)?;
    let Some(manifest) = block_on(&disk, Manifest::read(&disk, dir))? else {
        return Err(RecoverError::NoData(dir.to_owned()));
    };
    if let Some(given) = node.filter(|given| *given != manifest.node) {
        return Err(DataDirError::OtherNode { path: dir.to_owned(), found: manifest.node, given }.into());
    }
    if manifest.founding.is_none() {
        return Err(RecoverError::Pending(dir.to_owned()));
    }
    Ok(manifest)
}

/// Runs on an executor of its own: snapshots are read and written as a shard does it.
fn run(job: Job) -> Result<Report, RecoverError> {
    let shard = spawn_shard(ShardOptions::new(0), move || async move { job.run::<Linux>(&linux::disk()).await });
    shard.map_err(RecoverError::Shard)?.join()
}
