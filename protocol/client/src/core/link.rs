//! One connection as the core sees it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kahuna_protocol::{FrameReader, Limits, NodeId, ShardId};

use super::output::RequestToken;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// The adapter was asked to connect and has not reported yet.
    Opening,
    /// The hello is out.
    Greeting,
    /// Requests may be sent to this node's shard.
    Ready { node: NodeId, shard: ShardId },
}

/// A connection: what was asked on it, and what must wait until it has room.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) endpoint: usize,
    /// The shard asked for.
    pub(crate) wish: ShardId,
    pub(crate) state: LinkState,
    pub(crate) opened_at: Duration,
    pub(crate) last_heard: Duration,
    pub(crate) reader: FrameReader,
    pub(crate) limits: Limits,
    /// Encoded frames that no `Send` has carried yet.
    pub(crate) out: Vec<u8>,
    /// Attempts without an answer: request id -> request and frame length.
    pub(crate) attempts: BTreeMap<u64, (RequestToken, usize)>,
    /// Bytes of `attempts`; within the server's limit.
    in_flight_bytes: usize,
    /// Requests for this connection that the server's limits hold back.
    pub(crate) backlog: VecDeque<RequestToken>,
}

impl Link {
    pub(crate) fn new(endpoint: usize, wish: ShardId, now: Duration) -> Self {
        let limits = Limits::default();
        Self {
            endpoint,
            wish,
            state: LinkState::Opening,
            opened_at: now,
            last_heard: now,
            reader: FrameReader::new(limits.max_frame_bytes),
            limits,
            out: Vec::new(),
            attempts: BTreeMap::new(),
            in_flight_bytes: 0,
            backlog: VecDeque::new(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, LinkState::Ready { .. })
    }

    pub(crate) fn node(&self) -> Option<NodeId> {
        match self.state {
            LinkState::Ready { node, .. } => Some(node),
            LinkState::Opening | LinkState::Greeting => None,
        }
    }

    /// Whether a frame of this length may go out now. A lone one always may: the server judges it.
    pub(crate) fn has_room(&self, frame_bytes: usize) -> bool {
        let count = self.limits.connection_in_flight as usize;
        let bytes = self.limits.connection_in_flight_bytes as usize;
        self.attempts.is_empty() || (self.attempts.len() < count && self.in_flight_bytes + frame_bytes <= bytes)
    }

    pub(crate) fn add(&mut self, request_id: u64, token: RequestToken, frame_bytes: usize) {
        self.attempts.insert(request_id, (token, frame_bytes));
        self.in_flight_bytes += frame_bytes;
    }

    pub(crate) fn remove(&mut self, request_id: u64) -> Option<RequestToken> {
        let (token, frame_bytes) = self.attempts.remove(&request_id)?;
        self.in_flight_bytes -= frame_bytes;
        Some(token)
    }
}
