//! The kinds of frames that are neither requests nor outcomes. With the tables of [`operations`](mod@crate::operations) and
//! [`outcome`](crate::outcome) these are all the numbers that a frame's kind can be.

use std::ops::RangeInclusive;

use crate::error::ErrorReply;
use crate::outcome::OutcomeBody;

/// The bit that makes a question's kind its answer's.
pub const REPLY: u16 = 0x8000;

/// First frame of a client on its connection.
pub const KIND_HELLO: u16 = 0x0001;
/// Answer to [`KIND_HELLO`].
pub const KIND_WELCOME: u16 = KIND_HELLO | REPLY;

/// What the links between nodes and the founding of a cluster ask: all that a node without a cluster has to ask.
pub const LINK_KINDS: RangeInclusive<u16> = 0x1000..=0x10ff;
/// First frame of the node that dialled, on a link.
pub const KIND_PEER_HELLO: u16 = 0x1001;
/// Answer to [`KIND_PEER_HELLO`].
pub const KIND_PEER_WELCOME: u16 = KIND_PEER_HELLO | REPLY;
/// The heartbeat between nodes.
pub const KIND_PULSE: u16 = 0x1002;
/// Its answer, with the other side's.
pub const KIND_PULSE_REPLY: u16 = KIND_PULSE | REPLY;
/// Asks for the founding of the other node's cluster; the answer is its archive.
pub const KIND_FOUNDING: u16 = 0x1005;
/// A frame without content that checks whether the other end reads the link. The node may live and the link be dead.
pub const KIND_PROBE: u16 = 0x1006;
/// Answer to [`KIND_PROBE`].
pub const KIND_PROBE_REPLY: u16 = KIND_PROBE | REPLY;

/// The messages of Raft, between the replicas of a group.
pub const RAFT_KINDS: RangeInclusive<u16> = 0x1100..=0x11ff;
/// Replicates entries, or none: a heartbeat.
pub const APPEND: u16 = 0x1101;
/// Asks for a vote.
pub const VOTE: u16 = 0x1102;
/// Asks whether a vote would be granted.
pub const PRE_VOTE: u16 = 0x1103;
/// Transfers the leadership.
pub const TRANSFER_LEADER: u16 = 0x1104;
/// Begins to send a snapshot.
pub const SNAPSHOT_BEGIN: u16 = 0x1105;
/// A part of it.
pub const SNAPSHOT_CHUNK: u16 = 0x1106;
/// All parts are sent: install it.
pub const SNAPSHOT_END: u16 = 0x1107;
/// Asks whether this replica may become the leader.
pub const READY: u16 = 0x1108;
/// Asks whether this replica leads in a term, and reaches a majority.
pub const LEADS: u16 = 0x1109;

/// An error frame, of a node to a client or to another node. Under request id 0 it ends the connection.
pub const KIND_ERROR: u16 = <ErrorReply as OutcomeBody>::KIND;
