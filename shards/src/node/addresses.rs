//! Where the other nodes were last, in a file of the data directory: a node that was killed finds them again, wherever they went.
//!
//! ```text
//!  0  8 magic "KHNAADDR"     12  4 length of the body    20 .. body: an archived list of LastAddresses
//!  8  4 format version (1)   16  4 CRC32 of bytes 0..16 and the body
//! ```
//! The meta group has the addresses on record too, but what of it a killed node had applied is not what had been committed. The
//! file is replaced as a whole: written beside, synced, renamed, and the directory synced; once for each change. It holds hints and
//! nothing else: who is there is proven by the handshake, and what `--peers` says is tried before. A node without it, or with one
//! that is damaged, starts all the same.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kahuna_protocol::frame::{access, archive_into, to_owned};
use kahuna_protocol::{Incarnation, NodeId};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use rkyv::{Archive, Archived, Deserialize, Serialize};

use crate::env::Env;
use crate::peer::{AddressSource, LastAddresses, Peers};

const MAGIC: &[u8; 8] = b"KHNAADDR";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 20;
/// The longest file that is read, in bytes: some thousand nodes.
const MAX_BYTES: u64 = 1 << 20;
/// The file's name in the data directory.
const ADDRESSES: &str = "addresses";
/// What it is written as before it has its name.
const UNFINISHED_ADDRESSES: &str = "addresses.tmp";

/// One line of the file.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
struct Line {
    /// The node.
    node: u32,
    /// Its data directory.
    incarnation: u64,
    /// Where it was reached last, `host:port`; empty if it never was.
    reached: String,
    /// What the meta group had on record last; empty if nothing was.
    recorded: String,
}

/// What the file of `dir` says; nothing if there is none.
async fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<LastAddresses>> {
    let path = dir.join(ADDRESSES);
    if !disk.exists(&path).await? {
        return Ok(Vec::new());
    }
    let file = disk.open(&path, OpenMode::Read).await?;
    let len = file.len().await?;
    if len > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
    }
    let bytes = file.read_at(0, usize::try_from(len).expect("checked above")).await?;
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged, or of a newer version"))
}

/// Replaces the file of `dir`, durably and at once.
async fn write<D: Disk>(disk: &D, dir: &Path, last: &[LastAddresses]) -> io::Result<()> {
    let beside = dir.join(UNFINISHED_ADDRESSES);
    let file = disk.open(&beside, OpenMode::Create).await?;
    file.write_at(0, AlignedBuf::copy_of(&encode(last)), Durability::Buffered).await?;
    file.sync().await?;
    disk.rename(&beside, &dir.join(ADDRESSES)).await?;
    disk.sync_dir(dir).await
}

/// Takes what the file of `data_dir` says for hints, and returns it. A damaged one is said by the shard that `keeps` it.
pub(super) async fn recall_addresses<E: Env>(
    peers: &Peers<E>,
    disk: &E::Disk,
    data_dir: &Path,
    keeps: bool,
) -> Vec<LastAddresses> {
    let read = read(disk, data_dir).await.unwrap_or_else(|error| {
        if keeps {
            let path = data_dir.join(ADDRESSES);
            crate::say!("node {}: {}: {error}; left out", peers.local().node, path.display());
        }
        Vec::new()
    });
    read.iter().for_each(|last| recall(peers, last));
    read
}

/// One line of the file. Another data directory than the one on record is another node.
fn recall<E: Env>(peers: &Peers<E>, last: &LastAddresses) {
    let LastAddresses { node, incarnation, reached, recorded } = last;
    if peers.has_on_record(*node, *incarnation) {
        peers.set_addresses(AddressSource::RecordedBefore, vec![(*node, None, recorded.clone())]);
        peers.set_addresses(AddressSource::ReachedBefore, vec![(*node, None, reached.clone())]);
    }
}

/// Keeps the file, which says `kept`, up to date until `peers` is closed. A disk that does not take it is said, and tried again with the next
/// change.
pub(super) async fn keep_addresses<E: Env>(
    peers: Rc<Peers<E>>,
    disk: E::Disk,
    data_dir: PathBuf,
    mut kept: Vec<LastAddresses>,
) {
    while !peers.is_closed() {
        let last = peers.last_addresses();
        if last != kept {
            if let Err(error) = write(&disk, &data_dir, &last).await {
                let path = data_dir.join(ADDRESSES);
                crate::say!("node {}: {}: {error}; it stays what it was", peers.local().node, path.display());
            }
            kept = last;
            continue;
        }
        peers.moved().await;
    }
}

fn encode(last: &[LastAddresses]) -> Vec<u8> {
    let line = |last: &LastAddresses| Line {
        node: last.node.0,
        incarnation: last.incarnation.0,
        reached: last.reached.clone(),
        recorded: last.recorded.clone(),
    };
    let lines: Vec<Line> = last.iter().map(line).collect();
    let mut body = Vec::new();
    archive_into(&lines, &mut body);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).expect("short lines of few nodes").to_le_bytes());
    let crc = checksum(&bytes, &body);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Vec<LastAddresses>> {
    let (head, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let fits = head.starts_with(MAGIC)
        && word(8) == FORMAT_VERSION
        && word(12) as usize == body.len()
        && word(16) == checksum(&head[..16], body);
    let lines: Vec<Line> = to_owned(access::<Archived<Vec<Line>>>(0, body).ok().filter(|_| fits)?);
    let last = |line: Line| LastAddresses {
        node: NodeId(line.node),
        incarnation: Incarnation(line.incarnation),
        reached: line.reached,
        recorded: line.recorded,
    };
    Some(lines.into_iter().map(last).collect())
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use kahuna_wal::{UringDisk, block_on};

    use super::*;

    fn last() -> Vec<LastAddresses> {
        let of = |node: u32, reached: &str, recorded: &str| LastAddresses {
            node: NodeId(node),
            incarnation: Incarnation(100 + u64::from(node)),
            reached: reached.to_owned(),
            recorded: recorded.to_owned(),
        };
        vec![of(1, "127.0.0.1:1", ""), of(3, "host.example:7", "[::1]:9")]
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let good = encode(&last());
        assert_eq!(decode(&good), Some(last()));
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            assert_eq!(decode(&bytes), None, "byte {at}");
            assert_eq!(decode(&good[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = UringDisk::new(8).expect("this host has io_uring");
        let read = || block_on(&disk, read(&disk, dir.path()));
        assert_eq!(read().expect("no file"), []);
        for last in [last(), last()[1..].to_vec()] {
            block_on(&disk, write(&disk, dir.path(), &last)).expect("a writable directory");
            assert_eq!(read().expect("as written"), last);
        }
        std::fs::write(dir.path().join(ADDRESSES), b"noise").expect("a writable directory");
        assert!(read().is_err());
    }
}
