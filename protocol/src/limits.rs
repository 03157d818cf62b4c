//! The limits of a node, sent in the handshake.

use rkyv::{Archive, Deserialize, Serialize};

/// Longest name in bytes (a format: positions rely on it).
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest lock owner and idempotency key in bytes.
pub const MAX_OWNER_BYTES: usize = 256;
/// How far ahead `valid_until` may lie, in milliseconds.
pub const MAX_VALID_FOR_MS: u64 = 600_000;

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
