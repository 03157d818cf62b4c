//! Where the answer to a request goes.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, FLAG_REPLY};
use kahuna_protocol::key::{Page, PageItem, Value};
use kahuna_protocol::meta::{Map, NodeInfo, ReplicaStatus, Status};
use kahuna_protocol::range_map::RangeEntry;
use kahuna_protocol::{Earlier, ErrorCode, ErrorReply, Fate, Hlc, Outcome, ShardId};

use rkyv::Archived;

use super::outbox::{Outbox, full};
use crate::env::Env;
use crate::env::local::OneshotSender;
use crate::lanes::Lanes;
use crate::load::Charge;
use crate::peer::PeerReplier;

/// The kind of an error frame.
pub const KIND_ERROR: u16 = 0x8f01;
/// What an answer of another kind takes, rounded up.
const SHORT_BYTES: usize = 128;
/// A request whose answer can be long is not looked at while not even this much would be held.
const WORTH_BYTES: usize = 4 << 10;

/// An answer, decided here or as it came from another node.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Decided on this node.
    Outcome(Outcome),
    /// Another node's, passed on unread; never an error.
    Encoded {
        /// The outcome's kind.
        kind: u16,
        /// The archived body.
        body: Bytes,
    },
}

impl Answer {
    /// The frame kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Outcome(outcome) => outcome.kind(),
            Self::Encoded { kind, .. } => *kind,
        }
    }

    /// The frame's flags.
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

    /// Whether it can be long. Such answers change nothing, so that `Busy` may be said instead.
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

    /// Whether it says "not applied" of this attempt, and nothing of earlier ones under the same number.
    pub fn denies_this_attempt_only(&self) -> bool {
        let Self::Outcome(Outcome::Error(error)) = self else {
            return false;
        };
        let code = error.code();
        code.fate() == Fate::NotApplied && code.earlier() == Earlier::Unsaid
    }
}

/// What the archive of a map takes at most.
pub(super) fn map_bytes(map: &Map) -> usize {
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

/// One of the places that wait for answers.
pub(crate) enum Target<E: Env> {
    /// A client's connection on this shard.
    Client {
        /// Its outgoing side.
        out: Rc<Outbox<E>>,
        /// The client's number for the request.
        request_id: u64,
        /// What the request counts against: the connection, the shard.
        charges: (Charge, Charge),
    },
    /// Another node that forwarded the request.
    Peer {
        /// Its link.
        replier: PeerReplier,
        /// What the request counts against.
        charge: Charge,
    },
    /// Another shard of this node.
    Lane {
        /// The lanes of this shard.
        lanes: Rc<Lanes<E>>,
        /// The shard that asked.
        to: ShardId,
        /// Its slot.
        slot: u32,
    },
    /// A task of this shard.
    Task(OneshotSender<Answer>),
}

impl<E: Env> Target<E> {
    /// Whether a long answer of so many bytes is held until it is taken from here.
    fn takes(&self, bytes: usize) -> bool {
        match self {
            Self::Client { out, .. } => out.takes(bytes),
            Self::Peer { replier, .. } => replier.takes(bytes),
            Self::Lane { lanes, .. } => lanes.takes(bytes),
            Self::Task(_) => true,
        }
    }
}

/// The right, and the duty, to answer one request: dropping it answers [`ErrorCode::Unknown`], so none is lost silently.
pub struct Reply<E: Env> {
    target: Option<Target<E>>,
    /// The machine time of the group that decided: the least that the answer's frame tells.
    stamp: Hlc,
}

impl<E: Env> Reply<E> {
    pub(crate) fn new(target: Target<E>) -> Self {
        Self { target: Some(target), stamp: Hlc::ZERO }
    }

    /// The answer was decided at this machine time.
    pub(crate) fn at(&mut self, stamp: Hlc) {
        self.stamp = stamp;
    }

    /// The answer goes to a task that holds the other end.
    pub fn to_task(sender: OneshotSender<Answer>) -> Self {
        Self::new(Target::Task(sender))
    }

    /// The answer goes back over the lane to the shard that asked.
    pub(crate) fn over_lane(lanes: Rc<Lanes<E>>, to: ShardId, slot: u32) -> Self {
        Self::new(Target::Lane { lanes, to, slot })
    }

    /// Whether an answer that can be long would not be held, wherever it goes: the request need not be looked at.
    pub fn is_full(&self) -> bool {
        self.target.as_ref().is_some_and(|target| !target.takes(WORTH_BYTES))
    }

    /// Says that a long answer would not be held.
    pub fn refuse_full(self) {
        self.send(full().into());
    }

    /// Answers.
    pub fn send(mut self, answer: Answer) {
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        let Some(target) = self.target.take() else { return };
        let stamp = self.stamp;
        let answer = if answer.is_bulky() && !target.takes(answer.bytes()) { full().into() } else { answer };
        match target {
            Target::Client { out, request_id, charges } => {
                drop(charges);
                out.push_at(request_id, stamp, answer);
            }
            Target::Peer { replier, charge } => {
                drop(charge);
                replier.send_sized(stamp, answer.kind(), answer.bytes(), |out| answer.encode_body(out));
            }
            Target::Lane { lanes, to, slot } => lanes.reply(to, slot, stamp, answer),
            // A task that stopped waiting has no use for the answer.
            Target::Task(sender) => drop(sender.send(answer)),
        }
    }
}

impl<E: Env> Drop for Reply<E> {
    fn drop(&mut self) {
        if self.target.is_some() {
            self.deliver(ErrorReply::new(ErrorCode::Unknown, "the node gave the request up").into());
        }
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::RangeMap;
    use kahuna_protocol::meta::DiskSpace;

    use super::*;

    fn item(key: usize, value: usize) -> PageItem {
        PageItem { key: vec![b'k'; key], value: vec![b'v'; value], revision: 1, modified: 2, deadline_ms: Some(3) }
    }

    #[test]
    fn what_can_be_long_is_known_before_it_is_encoded() {
        let node = |text: &str| NodeInfo {
            node: 1,
            incarnation: 2,
            client_address: text.to_owned(),
            peer_address: "a.host.with.a.long.name:2071".to_owned(),
            shards: 3,
        };
        let replica = ReplicaStatus {
            group: 1,
            replica: 2,
            shard: 0,
            term: 3,
            leader: 1,
            last_index: 4,
            applied_index: 5,
            snapshot_index: 6,
            first_index: 7,
            records: 8,
        };
        let status = Status {
            node: 1,
            cluster: [1; 16],
            incarnation: 2,
            version: "0.1.0-with-a-suffix".to_owned(),
            uptime_ms: 3,
            shards: 4,
            log_flushes: 5,
            log_bytes: 6,
            disk: DiskSpace::Plenty,
            connections: 7,
            peers_alive: vec![2, 3],
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
