//! What a request is answered with.

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, FLAG_REPLY};
use kahuna_protocol::key::{Page, PageItem, Value};
use kahuna_protocol::meta::{Map, NodeInfo, ReplicaStatus, Status};
use kahuna_protocol::range_map::RangeEntry;
use kahuna_protocol::{ErrorCode, ErrorReply, Outcome};
use rkyv::Archived;

/// What an answer of another kind takes, rounded up.
const SHORT_BYTES: usize = 128;
/// When to repeat what was refused as `Busy`, in milliseconds.
const BUSY_RETRY_MS: u32 = 5;
/// When to repeat a request whose answer could not be held, in milliseconds.
const FULL_RETRY_MS: u32 = 50;

/// An answer, decided here or as it came from another node.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Decided on this node.
    Outcome(Outcome),
    /// Another node's, passed on unread; never an error.
    Encoded {
        /// Frame kind of the outcome, with the bit of replies.
        kind: u16,
        /// Archived outcome, as another node encoded it.
        body: Bytes,
    },
}

impl Answer {
    /// Frame kind of the answer.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Outcome(outcome) => outcome.kind(),
            Self::Encoded { kind, .. } => *kind,
        }
    }

    /// Flags of the answer's frame; a forwarded one says so.
    pub fn flags(&self) -> u8 {
        match self {
            Self::Outcome(_) => FLAG_REPLY,
            Self::Encoded { .. } => FLAG_REPLY | FLAG_FORWARDED,
        }
    }

    /// Appends the archived body.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Outcome(outcome) => outcome.encode_body(out),
            Self::Encoded { body, .. } => out.extend_from_slice(body),
        }
    }

    /// The same in owned form.
    pub fn into_outcome(self) -> Outcome {
        match self {
            Self::Outcome(outcome) => outcome,
            Self::Encoded { kind, body } => Outcome::decode(kind, &body).unwrap_or_else(|error| {
                Outcome::Error(ErrorReply::new(ErrorCode::Unknown, format!("the other node's answer: {error}")))
            }),
        }
    }

    /// Whether the answer can be long. The requests of long answers change nothing, so `Busy` may be sent instead.
    pub fn is_bulky(&self) -> bool {
        Outcome::is_bulky(self.kind())
    }

    /// What the archived body takes in bytes, at most, if it can be long; some figure for others.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Encoded { body, .. } => body.len(),
            Self::Outcome(Outcome::Value(value)) => value.value.len() + size_of::<Archived<Value>>(),
            Self::Outcome(Outcome::Page(page)) => {
                let item = |item: &PageItem| item.key.len() + item.value.len() + size_of::<Archived<PageItem>>();
                let more = page.more.as_ref().map_or(0, Vec::len);
                page.items.iter().map(item).sum::<usize>() + more + size_of::<Archived<Page>>()
            }
            Self::Outcome(Outcome::Map(map)) => map_bytes(map),
            Self::Outcome(Outcome::Status(status)) => status_bytes(status),
            Self::Outcome(_) => SHORT_BYTES,
        }
    }
}

/// What the archive of a map takes at most.
pub(crate) fn map_bytes(map: &Map) -> usize {
    let range = |range: &RangeEntry| range.start.len() + size_of::<Archived<RangeEntry>>();
    let texts = |node: &NodeInfo| node.client_address.len() + node.peer_address.len();
    let ranges: usize = map.ranges.ranges.iter().map(range).sum();
    let nodes: usize = map.nodes.iter().map(|node| texts(node) + size_of::<Archived<NodeInfo>>()).sum();
    ranges + nodes + size_of::<Archived<Map>>()
}

fn status_bytes(status: &Status) -> usize {
    let replicas = status.replicas.len() * size_of::<Archived<ReplicaStatus>>();
    let peers = status.peers_alive.len() * size_of::<u32>();
    replicas + peers + status.version.len() + status.waiting.len() + size_of::<Archived<Status>>()
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl From<ErrorReply> for Answer {
    fn from(error: ErrorReply) -> Self {
        Self::Outcome(Outcome::Error(error))
    }
}

/// `Busy`: which limit, its value and its setting.
pub(crate) fn busy(text: String) -> ErrorReply {
    ErrorReply { retry_after_ms: BUSY_RETRY_MS, ..ErrorReply::new(ErrorCode::Busy, text) }
}

/// The error sent instead of an answer that could not be held.
pub(crate) fn full() -> ErrorReply {
    let text = "too many bytes of answers wait, on this connection or on all of its shard (shard_unsent_bytes): read them first";
    ErrorReply { retry_after_ms: FULL_RETRY_MS, ..ErrorReply::new(ErrorCode::Busy, text) }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::RangeMap;
    use kahuna_protocol::meta::DiskSpace;
    use kahuna_protocol::{ClusterId, GroupId, Incarnation, NodeId, ReplicaId, ShardId};

    use super::*;

    fn item(key: usize, value: usize) -> PageItem {
        PageItem { key: vec![b'k'; key], value: vec![b'v'; value], revision: 1, modified: 2, deadline_ms: Some(3) }
    }

    #[test]
    fn what_can_be_long_is_known_before_it_is_encoded() {
        let node = |text: &str| NodeInfo {
            node: NodeId(1),
            incarnation: Incarnation(2),
            client_address: text.to_owned(),
            peer_address: "a.host.with.a.long.name:2071".to_owned(),
            shards: 3,
        };
        let replica = ReplicaStatus {
            group: GroupId(1),
            replica: ReplicaId(2),
            shard: ShardId(0),
            term: 3,
            leader: NodeId(1),
            last_index: 4,
            applied_index: 5,
            snapshot_index: 6,
            first_index: 7,
            records: 8,
        };
        let status = Status {
            node: NodeId(1),
            cluster: ClusterId([1; 16]),
            incarnation: Incarnation(2),
            version: "0.1.0-with-a-suffix".to_owned(),
            uptime_ms: 3,
            shards: 4,
            log_flushes: 5,
            log_bytes: 6,
            disk: DiskSpace::Plenty,
            connections: 7,
            peers_alive: vec![NodeId(2), NodeId(3)],
            waiting: "for nothing in particular".to_owned(),
            replicas: vec![replica; 20],
        };
        let map = Map { ranges: RangeMap::even(100), nodes: vec![node("short"), node("another.long.name:2070")] };
        let outcomes = [
            Outcome::Value(Value { value: vec![b'v'; 5000], revision: 1, modified: 2, deadline_ms: None }),
            Outcome::Page(Page { items: vec![item(5, 600), item(1000, 0)], more: Some(vec![b'k'; 1000]), as_of: 4 }),
            Outcome::Page(Page { items: Vec::new(), more: None, as_of: 4 }),
            Outcome::Map(map),
            Outcome::Status(status),
        ];
        for outcome in outcomes {
            let mut encoded = Vec::new();
            outcome.encode_body(&mut encoded);
            let answer = Answer::Outcome(outcome);
            assert!(answer.is_bulky());
            let (stated, slack) = (answer.bytes(), 64);
            assert!((encoded.len()..=encoded.len() + slack).contains(&stated), "{stated} of {answer:?}");
        }
    }
}
