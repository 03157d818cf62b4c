//! A core, a hand-moved clock, and nodes whose every word the test writes.

use std::time::Duration;

use kahuna_client::core::{ConnectionId, Core, Output, RequestToken};
use kahuna_client::protocol::frame::{FLAG_REPLY, archive_into, encode_frame};
use kahuna_client::protocol::handshake::{ArchivedHello, Hello, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_client::protocol::key::{Condition, KeyGet, KeySet, Set};
use kahuna_client::protocol::meta::{Map, NodeInfo};
use kahuna_client::protocol::{
    ClusterId, ErrorCode, ErrorReply, FrameReader, Header, Hlc, Incarnation, Limits, NodeId, Outcome, RangeMap,
    Request, RequestPrelude, SessionId, ShardId,
};
use kahuna_client::{CallOptions, ClientError, Now, Options, Reply};

/// Wall clock of the servers at the start of every script, Unix milliseconds.
pub const SERVER_MS: u64 = 1_700_000_000_000;
pub const SESSION: SessionId = SessionId(77);
pub const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A request as a node sees it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub connection: ConnectionId,
    pub header: Header,
    pub prelude: RequestPrelude,
    pub request: Request,
}

pub struct Script {
    pub core: Core,
    pub now: Now,
    /// Connections asked for and not yet opened, with their endpoints.
    pub opens: Vec<(ConnectionId, String)>,
    pub hellos: Vec<(ConnectionId, Hello)>,
    pub sent: Vec<Sent>,
    /// The core's own requests for the map.
    pub map_requests: Vec<Sent>,
    pub closed: Vec<ConnectionId>,
    pub done: Vec<(RequestToken, Result<Reply, ClientError>)>,
    pub limits: Limits,
    pub map: Map,
}

/// The options of the scripts: three nodes called `n1` to `n3`.
pub fn options() -> Options {
    Options::new(["n1:1", "n2:1", "n3:1"])
}

/// A map of four partitions, led by node `leader`, on nodes with two shards each.
pub fn map(leader: u32) -> Map {
    let mut ranges = RangeMap::even(4);
    ranges.ranges.iter_mut().for_each(|range| range.leader = NodeId(leader));
    let node = |node: u32| NodeInfo {
        node: NodeId(node),
        incarnation: Incarnation(100 + u64::from(node)),
        client_address: format!("n{node}:1"),
        peer_address: format!("n{node}:2"),
        shards: 2,
    };
    Map { ranges, nodes: vec![node(1), node(2), node(3)] }
}

pub fn set(key: &str) -> Request {
    let (key, value, condition) = (key.into(), b"v".to_vec(), Condition::default());
    KeySet { key, value, ttl_ms: None, condition, no_history: false }.into()
}

pub fn get(key: &str) -> Request {
    KeyGet { key: key.into(), revision: None, as_of: None }.into()
}

pub fn was_set(revision: u64) -> Outcome {
    Set { revision }.into()
}

pub fn refusal(code: ErrorCode) -> ErrorReply {
    ErrorReply::new(code, "as the script says")
}

impl Script {
    pub fn new(options: Options) -> Self {
        Self {
            core: Core::new(options, SESSION),
            now: Now { elapsed: Duration::from_secs(1), unix_ms: 5 },
            opens: Vec::new(),
            hellos: Vec::new(),
            sent: Vec::new(),
            map_requests: Vec::new(),
            closed: Vec::new(),
            done: Vec::new(),
            limits: Limits::default(),
            map: map(0),
        }
    }

    /// A script with one connection, to node 1, that leads nothing it knows of.
    pub fn connected(options: Options) -> (Self, ConnectionId) {
        let mut script = Self::new(options);
        let token = script.submit(&get("warm up"));
        let connection = script.welcome("n1:1", 1, 0);
        let asked = script.take_sent();
        script.reply(&asked, refusal(ErrorCode::BadRequest));
        assert_eq!(script.done.pop().expect("answered").0, token);
        (script, connection)
    }

    pub fn submit(&mut self, request: &Request) -> RequestToken {
        self.submit_with(request, CallOptions::default())
    }

    pub fn submit_with(&mut self, request: &Request, options: CallOptions) -> RequestToken {
        let token = self.core.submit(request, options, self.now);
        self.pump();
        token
    }

    /// Lets the open connection to `endpoint` come up, and its node greet.
    pub fn welcome(&mut self, endpoint: &str, node: u32, shard: u16) -> ConnectionId {
        self.welcome_at(self.hlc(), endpoint, node, shard)
    }

    /// The same of a node whose clock shows `stamp`.
    pub fn welcome_at(&mut self, stamp: Hlc, endpoint: &str, node: u32, shard: u16) -> ConnectionId {
        let connection = self.open(endpoint);
        let limits = self.limits.clone();
        let welcome = Welcome {
            version: 1,
            node: NodeId(node),
            shard: ShardId(shard),
            cluster: CLUSTER,
            limits,
            map: self.map.clone(),
        };
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KIND_WELCOME, FLAG_REPLY, 0, stamp, |out| archive_into(&welcome, out));
        self.receive(connection, &bytes);
        connection
    }

    /// Lets the open connection to `endpoint` come up, and its node refuse the client.
    pub fn turn_away(&mut self, endpoint: &str, code: ErrorCode) {
        let connection = self.open(endpoint);
        let mut bytes = Vec::new();
        let outcome = Outcome::Error(refusal(code));
        encode_frame(&mut bytes, outcome.kind(), FLAG_REPLY, 0, self.hlc(), |out| outcome.encode_body(out));
        self.receive(connection, &bytes);
    }

    /// Lets the open connection to `endpoint` come up; its node stays mute.
    pub fn open(&mut self, endpoint: &str) -> ConnectionId {
        let index = self.opens.iter().position(|(_, asked)| asked == endpoint);
        let (connection, _) =
            self.opens.remove(index.unwrap_or_else(|| panic!("no connection to {endpoint} asked for")));
        self.core.opened(connection, self.now);
        self.pump();
        connection
    }

    /// The only request sent and not yet taken.
    pub fn take_sent(&mut self) -> Sent {
        assert_eq!(self.sent.len(), 1, "one request was sent: {:?}", self.sent);
        self.sent.remove(0)
    }

    pub fn reply(&mut self, to: &Sent, outcome: impl Into<Outcome>) {
        self.reply_with(to, 0, self.hlc(), &outcome.into());
    }

    pub fn reply_with(&mut self, to: &Sent, flags: u8, hlc: Hlc, outcome: &Outcome) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, outcome.kind(), FLAG_REPLY | flags, to.header.request_id, hlc, |out| {
            outcome.encode_body(out);
        });
        self.receive(to.connection, &bytes);
    }

    pub fn receive(&mut self, connection: ConnectionId, bytes: &[u8]) {
        self.core.received(connection, bytes, self.now);
        self.pump();
    }

    pub fn disconnect(&mut self, connection: ConnectionId) {
        self.core.disconnected(connection, "reset by the script", self.now);
        self.pump();
    }

    /// Moves both clocks, waking the core whenever it wants.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.elapsed + by;
        while let Some(at) = self.core.next_wakeup().filter(|&at| at <= end) {
            self.pass(at.saturating_sub(self.now.elapsed));
            self.core.tick(self.now);
            self.pump();
            assert!(
                self.core.next_wakeup().is_none_or(|next| next > self.now.elapsed),
                "a wake-up that changes nothing"
            );
        }
        self.pass(end - self.now.elapsed);
    }

    /// Moves both clocks and does nothing else.
    pub fn pass(&mut self, by: Duration) {
        self.now.elapsed += by;
        self.now.unix_ms += u64::try_from(by.as_millis()).expect("short");
    }

    pub fn hlc(&self) -> Hlc {
        Hlc::from_millis(SERVER_MS + u64::try_from(self.now.elapsed.as_millis()).expect("short"))
    }

    /// The result of the only request that is done.
    pub fn take_done(&mut self) -> Result<Reply, ClientError> {
        assert_eq!(self.done.len(), 1, "one request is done: {:?}", self.done);
        self.done.remove(0).1
    }

    pub fn pump(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Open { connection, endpoint } => self.opens.push((connection, endpoint)),
                Output::Send { connection, bytes } => self.take_frames(connection, &bytes),
                Output::Close { connection } => {
                    self.opens.retain(|&(open, _)| open != connection);
                    self.closed.push(connection);
                }
                Output::Done { token, result } => self.done.push((token, result)),
            }
        }
    }

    fn take_frames(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let mut reader = FrameReader::new(u32::MAX);
        reader.extend(bytes);
        while let Some((header, payload)) = reader.next().expect("the core sends frames") {
            if header.kind == KIND_HELLO {
                let hello = kahuna_client::protocol::frame::access::<ArchivedHello>(header.kind, &payload);
                let hello = kahuna_client::protocol::frame::to_owned(hello.expect("a valid hello"));
                self.hellos.push((connection, hello));
                continue;
            }
            let (prelude, body) = RequestPrelude::split(&payload).expect("a prelude");
            let request = Request::decode(header.kind, body).expect("a request");
            let list = if matches!(request, Request::MapGet(_)) { &mut self.map_requests } else { &mut self.sent };
            list.push(Sent { connection, header, prelude, request });
        }
        assert!(!reader.is_mid_frame(), "whole frames only");
    }
}
