//! How many clients a node lets in: as many as it may have descriptors for, beside those of its own files and links.
//!
//! Who connects must not take the descriptor that the log needs for its next segment: a log that cannot go on stops all
//! groups of its shard. The count is the node's, for the limit is the process's, whichever shard the kernel gives a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kahuna_protocol::limits::SHARD_CONNECTIONS;

/// Between two lines that say that clients are turned away.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Descriptors of the process itself, and of connections to the peer port that have not said who they are.
const NODE_FILES: u64 = 512;
/// Descriptors of a shard: its log's segments, its rings and listeners, and files that are open for a moment.
const SHARD_FILES: u64 = 64;
/// Descriptors of a group: its newest snapshot, and the one that replaces it.
const GROUP_FILES: u64 = 2;
/// A node for fewer clients than this is not worth a start.
pub const FEWEST_CLIENTS: u64 = 256;

/// Descriptors that a node of `shards` shards needs for its own files and links, in a cluster of `nodes` nodes like it and of
/// `partitions` partitions, each of which may have a replica here.
pub fn own_files(shards: u16, nodes: usize, partitions: u32) -> u64 {
    let shards = u64::from(shards);
    let links = 2 * shards * shards * (nodes as u64).saturating_sub(1);
    NODE_FILES + SHARD_FILES * shards + GROUP_FILES * (1 + u64::from(partitions)) + links
}

/// The clients of a node, counted over its shards.
#[derive(Debug)]
pub struct Admission {
    most: u64,
    open: AtomicU64,
    refused: AtomicU64,
    /// When it was said last that clients are turned away, in milliseconds since boot; 0 for never.
    said_at: AtomicU64,
}

impl Admission {
    /// For a node of `shards` shards that may have `limit` descriptors, if there is a limit, and needs `own` for itself.
    pub fn new(shards: u16, limit: Option<u64>, own: u64) -> Self {
        let served = u64::from(SHARD_CONNECTIONS) * u64::from(shards);
        let most = limit.map_or(served, |limit| limit.saturating_sub(own).min(served));
        Self { most, open: AtomicU64::new(0), refused: AtomicU64::new(0), said_at: AtomicU64::new(0) }
    }

    /// Room for one client more; `None` if there is none.
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.most {
            return Some(Admitted(self.clone()));
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// A line for the operator about the clients that were turned away, when it is time for one. `now` is the time since boot.
    pub fn news(&self, now: Duration) -> Option<String> {
        let (now, before) = (now.as_millis() as u64, self.said_at.load(Ordering::Relaxed));
        if before != 0 && now < before + SAY_EVERY.as_millis() as u64 {
            return None;
        }
        // One shard says it.
        self.said_at.compare_exchange(before, now.max(1), Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let (refused, most) = (self.refused.load(Ordering::Relaxed), self.most);
        Some(format!(
            "{refused} connections of clients were closed so far, because {most} others were open: the limit of open files \
             leaves room for no more; raise it (LimitNOFILE in a systemd unit) or let clients share connections"
        ))
    }
}

/// Room for one client, until it is dropped.
#[derive(Debug)]
pub struct Admitted(Arc<Admission>);

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_let_in_as_the_limit_leaves_and_each_makes_room_again() {
        let own = own_files(1, 3, 16);
        assert_eq!(own, 512 + 64 + 34 + 4);
        let admission = Arc::new(Admission::new(1, Some(own + 3), own));
        let mut inside: Vec<_> = (0..3).map(|_| admission.admit().expect("there is room")).collect();
        assert!(admission.admit().is_none());
        inside.pop();
        inside.push(admission.admit().expect("one went"));
        assert!(admission.admit().is_none());
        assert!(Admission::new(2, None, own).most == 2 * u64::from(SHARD_CONNECTIONS));
        assert_eq!(Admission::new(1, Some(10), own).most, 0);
    }

    #[test]
    fn it_is_said_once_a_minute_how_many_were_turned_away() {
        let admission = Arc::new(Admission::new(1, Some(0), 0));
        let at = Duration::from_secs;
        assert!(admission.admit().is_none() && admission.admit().is_none());
        assert!(admission.news(at(5)).is_some_and(|line| line.starts_with("2 connections")));
        assert_eq!(admission.news(at(64)), None);
        assert!(admission.news(at(65)).is_some());
    }
}
