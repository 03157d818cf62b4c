//! The limits of a node, sent in the handshake.

use rkyv::{Archive, Deserialize, Serialize};

/// Longest name in bytes (a format: positions rely on it).
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest lock owner and idempotency key in bytes.
pub const MAX_OWNER_BYTES: usize = 256;
/// How far ahead `valid_until` may lie, in milliseconds.
pub const MAX_VALID_FOR_MS: u64 = 600_000;

/// Longest body that a client makes; the limit of the nodes (`max_frame_bytes`) is far below.
pub const MAX_BODY_BYTES: usize = 1 << 30;

/// Most client connections of one shard; one more is closed at once.
pub const SHARD_CONNECTIONS: u32 = 16_384;
/// Most unanswered requests of one shard, whoever sent them.
pub const SHARD_IN_FLIGHT: u32 = 65_536;
/// Most bytes of them.
pub const SHARD_IN_FLIGHT_BYTES: u64 = 256 << 20;
/// Most bytes of answers that one shard has sent to the others of its node and that they have not taken yet.
pub const SHARD_CROSSING_BYTES: usize = 64 << 20;
/// Most bytes of messages that the replicas of one shard have from those of other nodes and have not answered yet.
pub const SHARD_REPLICATION_BYTES: u64 = 256 << 20;

/// Most bytes of answers that one partition keeps for repeats of the commands of sessions, each counted as 320 and the bytes
/// in it; a command that finds more is refused.
pub const PARTITION_ANSWER_BYTES: u64 = 64 << 20;

/// What a node accepts. Every error that hits one names the field.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Limits {
    /// Longest value in bytes.
    pub max_value_bytes: u32,
    /// Longest payload of a frame in bytes: a value and 64 KiB.
    pub max_frame_bytes: u32,
    /// Most bytes of unanswered requests on one connection.
    pub connection_in_flight_bytes: u32,
    /// Most unanswered requests on one connection.
    pub connection_in_flight: u32,
    /// Most bytes in a scan page.
    pub max_page_bytes: u32,
    /// How far clocks may be apart, in milliseconds: leases end this much later than their deadline.
    pub max_clock_skew_ms: u32,
    /// How long past `valid_until` a request's record is kept, in milliseconds.
    pub dedupe_grace_ms: u32,
}

/// What one shard holds for all of its clients together follows from these; it is not sent.
impl Limits {
    /// Most bytes of answers that wait for the clients of one shard to take them: 256 of the longest.
    pub fn shard_unsent_bytes(&self) -> usize {
        256 * self.max_page_bytes.max(self.max_value_bytes) as usize
    }

    /// Most bytes that the clients of one shard have sent and that are no whole frame yet: 64 of the longest.
    pub fn shard_unread_bytes(&self) -> usize {
        64 * self.max_frame_bytes as usize
    }
}

impl Default for Limits {
    fn default() -> Self {
        let max_value_bytes = 1 << 20;
        Self {
            max_value_bytes,
            max_frame_bytes: max_value_bytes + (64 << 10),
            connection_in_flight_bytes: 16 << 20,
            connection_in_flight: 4096,
            max_page_bytes: 1 << 20,
            max_clock_skew_ms: 250,
            dedupe_grace_ms: 60_000,
        }
    }
}
