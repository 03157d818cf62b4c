//! The kinds of frames.

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
/// The bit that makes a request's kind its reply's.
pub const REPLY: u16 = 0x8000;
