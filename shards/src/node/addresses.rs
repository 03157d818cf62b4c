//! The last known addresses of the other nodes, in a file of the data directory: a killed node finds the others again after
//! they moved.
//!
//! A [small file](super::small_file) with the magic "KHNAADDR", format version 1; its body is an archived list of [`Line`]s.
//! The meta group has the addresses on record too, but a killed node may have applied less of the meta group's log than was
//! committed. The file holds hints only: the handshake proves which node answers, and the addresses of `--peers` are tried
//! first. A node starts without the file, and with a damaged one.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kahuna_protocol::frame::{access, archive_into, to_owned};
use kahuna_protocol::{Incarnation, NodeId};
use kahuna_wal::Disk;
use rkyv::{Archive, Archived, Deserialize, Serialize};

use super::small_file::{SmallFile, Unreadable};
use crate::env::Env;
use crate::peer::{AddressSource, LastAddresses, Peers};

/// Long enough for some thousand nodes.
const FILE: SmallFile = SmallFile { magic: *b"KHNAADDR", version: 1, max_bytes: 1 << 20 };
/// The file's name in the data directory.
const ADDRESSES: &str = "addresses";
/// What it is written as before it has its name.
const UNFINISHED_ADDRESSES: &str = "addresses.tmp";

/// One line of the file.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
struct Line {
    node: NodeId,
    incarnation: Incarnation,
    /// Where it was reached last, `host:port`; empty if it never was.
    reached: String,
    /// What the meta group had on record last; empty if nothing was.
    recorded: String,
}

/// The addresses in the file of `dir`; none if there is no file.
async fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<LastAddresses>> {
    match FILE.read(disk, &dir.join(ADDRESSES)).await? {
        None => Ok(Vec::new()),
        Some(bytes) => decode(&bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why)),
    }
}

/// Replaces the file of `dir`, durably and at once.
async fn write<D: Disk>(disk: &D, dir: &Path, last: &[LastAddresses]) -> io::Result<()> {
    FILE.replace(disk, &dir.join(ADDRESSES), UNFINISHED_ADDRESSES, &body_of(last)).await
}

/// Adds the addresses of the file in `data_dir` as hints, and returns them. The shard that `keeps` the file reports a
/// damaged one.
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

/// Keeps the file, which holds `kept`, up to date until `peers` is closed. A failed write is reported, and repeated when a
/// node is reached next.
pub(super) async fn keep_addresses<E: Env>(
    peers: Rc<Peers<E>>,
    disk: E::Disk,
    data_dir: PathBuf,
    mut kept: Vec<LastAddresses>,
) {
    while !peers.is_closed() {
        let last = peers.last_addresses();
        if last == kept {
            peers.moved().await;
            continue;
        }
        match write(&disk, &data_dir, &last).await {
            Ok(()) => kept = last,
            Err(error) => {
                let path = data_dir.join(ADDRESSES);
                crate::say!("node {}: {}: {error}; it stays what it was", peers.local().node, path.display());
                peers.moved().await;
            }
        }
    }
}

fn body_of(last: &[LastAddresses]) -> Vec<u8> {
    let line = |last: &LastAddresses| Line {
        node: last.node,
        incarnation: last.incarnation,
        reached: last.reached.clone(),
        recorded: last.recorded.clone(),
    };
    let lines: Vec<Line> = last.iter().map(line).collect();
    let mut body = Vec::new();
    archive_into(&lines, &mut body);
    body
}

fn decode(bytes: &[u8]) -> Result<Vec<LastAddresses>, String> {
    let (_, body) = FILE.decode(bytes).map_err(|why| match why {
        Unreadable::Foreign => "it is something else".to_owned(),
        Unreadable::Newer(version) => format!("it is of the newer version {version}"),
        Unreadable::Damaged => "it is damaged".to_owned(),
    })?;
    let lines: Vec<Line> = to_owned(access::<Archived<Vec<Line>>>(0, body).map_err(|error| error.to_string())?);
    let last = |line: Line| LastAddresses {
        node: line.node,
        incarnation: line.incarnation,
        reached: line.reached,
        recorded: line.recorded,
    };
    Ok(lines.into_iter().map(last).collect())
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
