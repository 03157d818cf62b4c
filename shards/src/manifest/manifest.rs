//! The one file that identifies a data directory, and its copy.
//!
//! A [small file](super::small_file) with the magic "KHNADATA", format version 2; its body is an archived [`Manifest`].
//! Everything else in the directory is named by it, so one rename switches from one set of logs to another, or from a
//! damaged log to an empty one. Version 1, which this program reads too, had no losses.
//!
//! The copy is replaced first: it equals the manifest, or the manifest's next content. All files that either names were
//! made before. Where the manifest is damaged or gone the copy counts, and every start makes them equal again before it
//! changes anything, so that a copy is never older.
//!
//! **Losses.** A log that cannot be read, or is gone, may have held any vote and any acknowledged entry of its groups. None
//! of their replicas may ever run again, in whatever order the process ends and starts. So the replacement of a lost log is
//! one write of this file: it counts the loss up and names the directory of the empty log that is used from now on, in
//! one. A replica is made only if the meta group minted its id for the present count, which an id whose log was lost never
//! was (see `node::reseed`). The damaged log stays where it is, untouched, for the operator.

use std::io;
use std::path::{Path, PathBuf};

use kahuna_protocol::frame::{access, archive_into, to_owned};
use kahuna_protocol::{GroupId, Incarnation, NodeId, ReplicaId, ShardId};
use kahuna_wal::Disk;
use rkyv::{Archive, Archived, Deserialize, Serialize};

use super::founding::Founding;
use super::small_file::{SmallFile, Unreadable};

const FORMAT_VERSION: u32 = 2;
/// No manifest is longer: a million lost logs take less.
const FILE: SmallFile = SmallFile { magic: *b"KHNADATA", version: FORMAT_VERSION, max_bytes: 16 << 20 };
/// The manifest's name in the data directory.
pub const MANIFEST: &str = "manifest";
/// Name of the manifest's copy, read when the manifest is damaged.
pub const MANIFEST_COPY: &str = "manifest.copy";
/// What either is written as before it has its name.
pub const UNFINISHED_MANIFEST: &str = "manifest.tmp";

/// What a data directory is.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Manifest {
    /// The node it was formatted for.
    pub node: NodeId,
    /// Minted when it was formatted.
    pub incarnation: Incarnation,
    /// The nodes of the first cluster, in order: (id, peer address). It is what bootstrap compares.
    pub peers: Vec<(NodeId, String)>,
    /// The cluster; none while the node is pending. From then on the logs exist: one that is missing was lost.
    pub founding: Option<Founding>,
    /// The shards that its logs are cut for.
    pub shards: u16,
    /// Which set of logs is the valid one.
    pub log_set: u32,
    /// How often a log or a snapshot of this directory was lost.
    pub losses: u32,
    /// The lost logs of all sets, ascending by their loss.
    pub lost_logs: Vec<LostLog>,
}

/// A log that was given up.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct LostLog {
    /// Its set of logs.
    pub log_set: u32,
    /// Shard that the log was cut for.
    pub shard: ShardId,
    /// The count of losses, this one included.
    pub loss: u32,
}

/// The manifest of version 1.
#[derive(Archive, Serialize, Deserialize)]
#[rkyv(derive(Debug))]
struct First {
    node: NodeId,
    incarnation: Incarnation,
    peers: Vec<(NodeId, String)>,
    founding: Option<Founding>,
    shards: u16,
    log_set: u32,
}

impl From<First> for Manifest {
    fn from(first: First) -> Self {
        let First { node, incarnation, peers, founding, shards, log_set } = first;
        Self { node, incarnation, peers, founding, shards, log_set, losses: 0, lost_logs: Vec::new() }
    }
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The system refused an operation on the file.
    #[error("{path}: {source}")]
    Io {
        /// Manifest, its copy, or the directory of both.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Something else stands where the manifest should.
    #[error("{0}: not a manifest of this program; this is not its data directory")]
    Foreign(PathBuf),
    /// A newer version wrote it.
    #[error(
        "{path}: written in format {version}, newer than the {FORMAT_VERSION} this version reads; install the newer version"
    )]
    Newer {
        /// Manifest that was read.
        path: PathBuf,
        /// Format version in the file.
        version: u32,
    },
    /// Its bytes do not verify.
    #[error(
        "{0}: the manifest is damaged, and its copy beside it is damaged or gone. Put back a backup of either, unless a \
         log was lost or --shards was changed since it was made: an older one would bring lost replicas back. Without one \
         the node cannot come back, and the others go on as long as they are a majority"
    )]
    Damaged(PathBuf),
    /// The file is whole, but no program of this version writes such content.
    #[error(
        "{path}: the manifest is whole, but {why}; the copy beside it is no better. Put back a backup of either, unless a log \
         was lost or --shards was changed since it was made"
    )]
    Unsound {
        /// Manifest that was read.
        path: PathBuf,
        /// What cannot be.
        why: String,
    },
}

impl Manifest {
    /// Whether a node can have written it.
    fn check(&self) -> Result<(), String> {
        if self.shards == 0 {
            return Err("its logs are cut for no shard".to_owned());
        }
        let Some(founding) = &self.founding else { return Ok(()) };
        founding.check()?;
        if founding.members.iter().all(|member| member.incarnation != self.incarnation) {
            return Err("its cluster does not name this data directory".to_owned());
        }
        Ok(())
    }

    /// Reads the manifest of `dir`, or its copy if that is all that can be read; `None` if there is neither.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub async fn read<D: Disk>(disk: &D, dir: &Path) -> Result<Option<Self>, ManifestError> {
        let manifest = Self::read_file(disk, &dir.join(MANIFEST)).await;
        match &manifest {
            Ok(Some(_)) | Err(ManifestError::Newer { .. }) => return manifest,
            Err(ManifestError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                return manifest;
            }
            Ok(None) | Err(_) => {}
        }
        match (manifest, Self::read_file(disk, &dir.join(MANIFEST_COPY)).await) {
            (_, Ok(Some(copy))) => Ok(Some(copy)),
            (Ok(_), copy) => copy,
            (manifest, _) => manifest,
        }
    }

    /// Makes the manifest of `dir` and its copy equal to this one, which was read there. Reports a damaged one.
    ///
    /// # Errors
    /// `Io`.
    pub async fn mend<D: Disk>(&self, disk: &D, dir: &Path) -> Result<(), ManifestError> {
        for name in [MANIFEST_COPY, MANIFEST] {
            let path = dir.join(name);
            let found = Self::read_file(disk, &path).await;
            if let Ok(Some(found)) = &found
                && found == self
            {
                continue;
            }
            if !matches!(found, Ok(Some(_))) {
                crate::say!("{}: damaged or gone; written again", path.display());
            }
            self.replace(disk, &path).await?;
        }
        Ok(())
    }

    async fn read_file<D: Disk>(disk: &D, path: &Path) -> Result<Option<Self>, ManifestError> {
        let failed = |source| ManifestError::Io { path: path.to_owned(), source };
        let bytes = FILE.read(disk, path).await.map_err(failed)?;
        bytes.map(|bytes| Self::decode(&bytes, path)).transpose()
    }

    /// Replaces the manifest of `dir`, durably and at once, and its copy before it.
    ///
    /// # Errors
    /// `Io`; the old manifest is then still valid.
    pub async fn write<D: Disk>(&self, disk: &D, dir: &Path) -> Result<(), ManifestError> {
        self.replace(disk, &dir.join(MANIFEST_COPY)).await?;
        self.replace(disk, &dir.join(MANIFEST)).await
    }

    async fn replace<D: Disk>(&self, disk: &D, path: &Path) -> Result<(), ManifestError> {
        let replaced = FILE.replace(disk, path, UNFINISHED_MANIFEST, &self.body()).await;
        replaced.map_err(|source| ManifestError::Io { path: path.to_owned(), source })
    }

    /// The directory of the logs of a set.
    pub fn log_set_dir(dir: &Path, log_set: u32) -> PathBuf {
        dir.join(format!("logs-{log_set}"))
    }

    /// The directory of one shard's log: `shard-1`, or `shard-1.after-3` once the one before was lost in the third loss.
    pub fn log_dir(&self, dir: &Path, shard: ShardId) -> PathBuf {
        let mut lost = self.lost_logs.iter().filter(|lost| (lost.log_set, lost.shard) == (self.log_set, shard));
        Self::log_set_dir(dir, self.log_set).join(log_name(shard, lost.next_back()))
    }

    /// The directories of the logs that were lost, oldest first. The operator may remove them.
    pub fn lost_log_dirs(&self, dir: &Path) -> Vec<PathBuf> {
        let before = |at: usize| {
            let lost = &self.lost_logs[at];
            let earlier = self.lost_logs[..at].iter();
            let mut earlier = earlier.filter(|other| (other.log_set, other.shard) == (lost.log_set, lost.shard));
            Self::log_set_dir(dir, lost.log_set).join(log_name(lost.shard, earlier.next_back()))
        };
        (0..self.lost_logs.len()).map(before).collect()
    }

    /// The manifest with one more loss: of `shard`'s log, or of a snapshot if there is no `shard`.
    #[must_use]
    pub fn after_loss(&self, shard: Option<ShardId>) -> Self {
        let mut after = self.clone();
        after.losses += 1;
        let loss = after.losses;
        after.lost_logs.extend(shard.map(|shard| LostLog { log_set: self.log_set, shard, loss }));
        after
    }

    /// The directory of one replica's snapshots.
    pub fn snapshot_dir(dir: &Path, group: GroupId, replica: ReplicaId) -> PathBuf {
        dir.join("snapshots").join(format!("group-{group}-replica-{replica}"))
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        archive_into(self, &mut body);
        body
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, ManifestError> {
        let damaged = || ManifestError::Damaged(path.to_owned());
        let (version, body) = FILE.decode(bytes).map_err(|why| match why {
            Unreadable::Foreign => ManifestError::Foreign(path.to_owned()),
            Unreadable::Newer(version) => ManifestError::Newer { path: path.to_owned(), version },
            Unreadable::Damaged => damaged(),
        })?;
        if version == 1 {
            let first: First = to_owned(access::<Archived<First>>(0, body).map_err(|_| damaged())?);
            return Self::from(first).checked(path);
        }
        let archived = access::<Archived<Self>>(0, body).map_err(|_| damaged())?;
        to_owned::<Self, _>(archived).checked(path)
    }

    fn checked(self, path: &Path) -> Result<Self, ManifestError> {
        match self.check() {
            Ok(()) => Ok(self),
            Err(why) => Err(ManifestError::Unsound { path: path.to_owned(), why }),
        }
    }
}

fn log_name(shard: ShardId, lost: Option<&LostLog>) -> String {
    match lost {
        None => format!("shard-{shard}"),
        Some(lost) => format!("shard-{shard}.after-{}", lost.loss),
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::ClusterId;
    use kahuna_protocol::meta::{Replica, Settings};
    use kahuna_wal::{UringDisk, block_on};

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            node: NodeId(2),
            incarnation: Incarnation(77),
            peers: vec![(NodeId(1), "127.0.0.1:1".into()), (NodeId(2), "127.0.0.1:2".into())],
            founding: None,
            shards: 2,
            log_set: 0,
            losses: 0,
            lost_logs: Vec::new(),
        }
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let path = Path::new("/d/manifest");
        let manifest = manifest().after_loss(Some(ShardId(1))).after_loss(None);
        let good = FILE.encode(FORMAT_VERSION, &manifest.body());
        assert_eq!(Manifest::decode(&good, path).expect("as written"), manifest);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert!(Manifest::decode(&bad, path).is_err(), "flipped byte {at}");
            assert!(Manifest::decode(&good[..at], path).is_err(), "cut at {at}");
        }
    }

    /// Claim: whichever of the two files is damaged or gone, nothing is lost, and mending makes both whole; of two that
    /// differ the manifest counts, as after a crash between them.
    #[test]
    fn the_copy_stands_in_for_a_damaged_manifest() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = UringDisk::new(8).expect("io_uring is allowed here");
        let read = || block_on(&disk, Manifest::read(&disk, dir.path()));
        let (manifest, next) = (manifest(), manifest().after_loss(Some(ShardId(1))));
        let flip = |name: &str| {
            let mut bytes = std::fs::read(dir.path().join(name)).expect("a file");
            bytes[30] ^= 1;
            std::fs::write(dir.path().join(name), bytes).expect("our own file");
        };
        assert_eq!(read().expect("readable"), None);
        block_on(&disk, manifest.write(&disk, dir.path())).expect("there is room");
        let remove = |name: &str| std::fs::remove_file(dir.path().join(name)).expect("our own file");
        let harms: [&dyn Fn(&str); 2] = [&flip, &remove];
        for (harm, name) in harms.iter().flat_map(|harm| [MANIFEST, MANIFEST_COPY].map(|name| (harm, name))) {
            harm(name);
            assert_eq!(read().expect("the other one is whole").as_ref(), Some(&manifest), "{name}");
            block_on(&disk, manifest.mend(&disk, dir.path())).expect("there is room");
            let [one, other] = [MANIFEST, MANIFEST_COPY].map(|name| std::fs::read(dir.path().join(name)));
            assert_eq!(one.expect("mended"), other.expect("mended"), "{name}");
        }
        block_on(&disk, next.replace(&disk, &dir.path().join(MANIFEST_COPY))).expect("there is room");
        assert_eq!(read().expect("readable").as_ref(), Some(&manifest));
        block_on(&disk, manifest.mend(&disk, dir.path())).expect("there is room");
        flip(MANIFEST);
        assert_eq!(read().expect("the copy").as_ref(), Some(&manifest), "a copy that was ahead does not stay");
        flip(MANIFEST_COPY);
        assert!(matches!(read(), Err(ManifestError::Damaged(path)) if path.ends_with(MANIFEST)));
    }

    #[test]
    fn the_copy_stands_in_for_a_manifest_that_the_disk_cannot_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = UringDisk::new(8).expect("io_uring is allowed here");
        block_on(&disk, manifest().write(&disk, dir.path())).expect("there is room");
        // What a read fails on for good, without a broken disk.
        let path = dir.path().join(MANIFEST);
        std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("our own directory");
        let read = block_on(&disk, Manifest::read(&disk, dir.path()));
        assert_eq!(read.expect("the copy is whole"), Some(manifest()));
        std::fs::remove_file(dir.path().join(MANIFEST_COPY)).expect("our own file");
        let read = block_on(&disk, Manifest::read(&disk, dir.path()));
        assert!(matches!(read, Err(ManifestError::Io { path: failed, .. }) if failed == path));
    }

    /// Claim: what no node writes is refused though it verifies, and told; nothing of it is acted on.
    #[test]
    fn a_manifest_that_cannot_be_is_refused_and_told() {
        let member = |replica, node, incarnation| Replica {
            replica: ReplicaId(replica),
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
        };
        let with = |members: &[Replica], partitions| Manifest {
            founding: Some(Founding {
                cluster: ClusterId([1; 16]),
                members: members.to_vec(),
                partitions,
                settings: Settings::default(),
            }),
            ..manifest()
        };
        let (one, two) = (member(1, 1, 76), member(2, 2, 77));
        let good = [one.clone(), two.clone()];
        let path = Path::new("/d/manifest");
        let read = |manifest: &Manifest| Manifest::decode(&FILE.encode(FORMAT_VERSION, &manifest.body()), path);
        assert_eq!(read(&with(&good, 1)).expect("sound"), with(&good, 1));
        for (unsound, reason) in [
            (with(&good, 0), "no partitions"),
            (with(&[], 4), "no members"),
            (with(&[one.clone(), member(2, 1, 77)], 4), "node 1"),
            (with(&[one.clone(), member(1, 2, 77)], 4), "replica 1"),
            (with(&[member(1, 1, 77), two.clone()], 4), "data directory"),
            (with(&[member(0, 1, 76), two], 4), "replica 0"),
            (with(&[one, member(2, 2, 78)], 4), "does not name this data directory"),
            (Manifest { shards: 0, ..manifest() }, "no shard"),
        ] {
            let error = read(&unsound).expect_err(reason);
            assert!(matches!(&error, ManifestError::Unsound { why, .. } if why.contains(reason)), "{reason}: {error}");
            assert!(error.to_string().contains("/d/manifest"), "{error}");
        }
    }

    /// Claim: a manifest of whatever length takes no more memory than a manifest can need. (One terabyte could not be had.)
    #[test]
    fn a_manifest_that_is_too_long_is_damaged_and_the_copy_stands_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = UringDisk::new(8).expect("io_uring is allowed here");
        block_on(&disk, manifest().write(&disk, dir.path())).expect("there is room");
        let extend = |name: &str| {
            let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(name)).expect("our own file");
            file.set_len(1 << 40).expect("a file may be that long");
        };
        extend(MANIFEST);
        assert_eq!(block_on(&disk, Manifest::read(&disk, dir.path())).expect("the copy is whole"), Some(manifest()));
        extend(MANIFEST_COPY);
        let read = block_on(&disk, Manifest::read(&disk, dir.path()));
        assert!(matches!(read, Err(ManifestError::Damaged(path)) if path.ends_with(MANIFEST)));
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let mut bytes = FILE.encode(FORMAT_VERSION, &manifest().body());
        bytes[8] = 3;
        let error = Manifest::decode(&bytes, Path::new("/d/manifest")).expect_err("newer");
        assert!(matches!(error, ManifestError::Newer { version: 3, .. }), "{error}");
    }

    #[test]
    fn the_first_version_had_no_losses() {
        let Manifest { node, incarnation, peers, founding, shards, log_set, .. } = manifest();
        let mut body = Vec::new();
        archive_into(&First { node, incarnation, peers, founding, shards, log_set }, &mut body);
        let read = Manifest::decode(&FILE.encode(1, &body), Path::new("/d/manifest"));
        assert_eq!(read.expect("an earlier version"), manifest());
    }

    #[test]
    fn a_lost_log_gives_way_to_another_directory() {
        let dir = Path::new("/d");
        let mut now = manifest();
        assert_eq!(now.log_dir(dir, ShardId(1)), dir.join("logs-0/shard-1"));
        now = now.after_loss(Some(ShardId(1)));
        assert_eq!((now.losses, now.log_dir(dir, ShardId(0))), (1, dir.join("logs-0/shard-0")));
        assert_eq!(now.log_dir(dir, ShardId(1)), dir.join("logs-0/shard-1.after-1"));
        now = now.after_loss(None).after_loss(Some(ShardId(1)));
        assert_eq!((now.losses, now.log_dir(dir, ShardId(1))), (3, dir.join("logs-0/shard-1.after-3")));
        let lost = ["logs-0/shard-1", "logs-0/shard-1.after-1"].map(|name| dir.join(name));
        assert_eq!(now.lost_log_dirs(dir), lost);
        // Cut anew for another number of shards: the losses stay, their directories are of the old set.
        now.log_set = 1;
        assert_eq!(now.log_dir(dir, ShardId(1)), dir.join("logs-1/shard-1"));
        assert_eq!((now.losses, now.lost_log_dirs(dir)), (3, lost.to_vec()));
    }
}
