//! What the kernel counts: flushes of a disk, connections to a port.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// A disk that counts its flushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name in `/proc/diskstats`.
    pub name: String,
}

impl Disk {
    /// The disk below `dir`; `None` below a file system that has none of its own, such as an overlay.
    ///
    /// # Errors
    /// If `dir` is in memory, where nothing is flushed.
    pub fn below(dir: &Path) -> Result<Option<Self>> {
        if IN_MEMORY.contains(&rustix::fs::statfs(dir)?.f_type) {
            bail!("{} is in memory: choose a directory on a disk with --dir", dir.display());
        }
        let device = fs::metadata(dir)?.st_dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let Ok(path) = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")) else { return Ok(None) };
        // A partition's flushes are counted by its disk.
        let disk = if path.join("partition").exists() { path.parent() } else { Some(path.as_path()) };
        let name = disk.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Ok(name.map(|name| Self { name }))
    }

    /// Flushes so far, whoever asked for them.
    pub fn flushes(&self) -> Result<u64> {
        let stats = fs::read_to_string("/proc/diskstats")?;
        flushes(&stats, &self.name).with_context(|| format!("/proc/diskstats has no flushes of {}", self.name))
    }
}

/// The 16th counter behind the disk's name.
fn flushes(stats: &str, disk: &str) -> Option<u64> {
    let words = stats.lines().map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>());
    words.into_iter().find(|words| words.first() == Some(&disk))?.get(16)?.parse().ok()
}

/// This process's established connections to `ports`, over IPv4.
pub fn connections(ports: &[u16]) -> Result<usize> {
    // A file may be closed meanwhile.
    let files = fs::read_dir("/proc/self/fd")?.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let sockets: BTreeSet<String> =
        files.filter_map(|file| inode(&file.to_string_lossy()).map(str::to_owned)).collect();
    Ok(established(&fs::read_to_string("/proc/net/tcp")?, ports, &sockets))
}

/// Which socket a descriptor stands for, if it is one.
fn inode(target: &str) -> Option<&str> {
    target.strip_prefix("socket:[")?.strip_suffix(']')
}

fn established(table: &str, ports: &[u16], sockets: &BTreeSet<String>) -> usize {
    let is_ours = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let remote = words.get(2).and_then(|address| address.split_once(':')).map(|(_, port)| port);
        let port = remote.and_then(|port| u16::from_str_radix(port, 16).ok());
        words.get(3) == Some(&"01")
            && port.is_some_and(|port| ports.contains(&port))
            && words.get(9).is_some_and(|inode| sockets.contains(*inode))
    };
    table.lines().skip(1).filter(is_ours).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flushes_are_found_by_the_disks_name() {
        let stats = "   7       0 loop0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n \
                     254       0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 4711 17\n \
                     254       1 vda1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15\n";
        assert_eq!(flushes(stats, "vda"), Some(4711));
        assert_eq!(flushes(stats, "vda1"), None, "an old kernel's line is shorter");
        assert_eq!(flushes(stats, "sda"), None);
    }

    #[test]
    fn connections_are_those_of_this_process_that_stand() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:0816 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1\n   \
                     1: 0100007F:C000 0100007F:0816 01 00000000:00000000 00:00000000 00000000     0        0 12 1\n   \
                     2: 0100007F:0816 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 13 1\n   \
                     3: 0100007F:C001 0100007F:0816 06 00000000:00000000 00:00000000 00000000     0        0 14 1\n   \
                     4: 0100007F:C002 0100007F:0816 01 00000000:00000000 00:00000000 00000000     0        0 15 1\n";
        let ours = BTreeSet::from(["12".to_owned(), "14".to_owned()]);
        assert_eq!(established(table, &[0x816], &ours), 1);
        assert_eq!(established(table, &[0x817], &ours), 0);
        assert_eq!(inode("socket:[12]"), Some("12"));
        assert_eq!(inode("pipe:[12]"), None);
    }

    #[test]
    fn a_connection_of_this_process_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert_eq!(connections(&[port]).expect("a count"), 0);
        let _connection = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        assert_eq!(connections(&[port]).expect("a count"), 1);
    }
}
