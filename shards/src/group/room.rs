//! What is refused while disks are full: here, before it is proposed, and nowhere behind.
//!
//! ```text
//!   this node's log, or those of a majority, live on the reserve    what grows is refused; deletes, releases and lock
//!                                                                   extends go on, as do the system's own commands
//!   this node's log has used its reserve up                         every write of a client is refused: it would wait
//! ```
//! The disks of a majority count as well as the leader's own: entries that followers cannot store are not acknowledged, and
//! storing them would use up the followers' reserves.

use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Incarnation};
use kahuna_wal::{LogOptions, Space};

use super::context::GroupContext;
use crate::env::Env;
use crate::raft::Replica;
use crate::request::Call;

/// When to repeat what a full disk refused, in milliseconds.
const RETRY_MS: u32 = 200;

/// The room on the disks of a group that is led here.
pub(super) struct Room<'a, E: Env> {
    pub(super) group: GroupId,
    pub(super) replica: &'a Replica<E>,
    pub(super) cx: &'a GroupContext<E>,
}

impl<E: Env> Room<'_, E> {
    /// Why this write must not be proposed now, if there is no room for it.
    pub(super) fn refusal_of(&self, call: &Call) -> Option<ErrorReply> {
        if call.class != Class::Write {
            return None;
        }
        let text = match self.replica.space() {
            Space::Exhausted => self.own_disk_is_full("no write can be taken"),
            _ if !call.grows => return None,
            Space::Reserve => self.own_disk_is_full(GOES_ON),
            Space::Plenty => self.disks_are_full(&self.replica.majority_without_room()?),
        };
        Some(ErrorReply { retry_after_ms: RETRY_MS, ..ErrorReply::new(ErrorCode::DiskFull, text) })
    }

    fn own_disk_is_full(&self, then: &str) -> String {
        let config = &self.cx.config;
        let (node, dir, needed) = (config.node, config.data_dir.display(), room_needed(config.segment_bytes));
        format!(
            "the disk of node {node}, which holds {dir}, is full: {then}; free {needed} bytes there, or delete keys"
        )
    }

    fn disks_are_full(&self, full: &[Incarnation]) -> String {
        let node_of = |incarnation| self.cx.peers.node_of(incarnation);
        let nodes: Vec<String> = full.iter().filter_map(|&incarnation| node_of(incarnation)).map(named).collect();
        let needed = room_needed(self.cx.config.segment_bytes);
        format!(
            "the disks of {}, a majority of group {}, are full: {GOES_ON}; free {needed} bytes on each, or delete keys",
            nodes.join(" and "),
            self.group
        )
    }
}

const GOES_ON: &str = "what grows is refused, deletes, releases, lock extends and reads go on";

fn named(node: kahuna_protocol::NodeId) -> String {
    format!("node {node}")
}

/// What makes a full disk count as one with room again: the log's next segment, and its whole reserve.
fn room_needed(segment_bytes: u64) -> u64 {
    segment_bytes * (1 + LogOptions::default().reserve_segments as u64)
}
