//! A client that speaks raw frames, and shards without a node around them.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod groups;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::Meta;
use kahuna_protocol::frame::{access, archive_into, encode_frame, to_owned};
use kahuna_protocol::handshake::{ANY_SHARD, ArchivedWelcome, Hello, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{
    ClusterId, ErrorReply, FrameReader, Header, Hlc, Incarnation, Limits, NodeId, Outcome, Request, RequestPrelude,
    ShardId,
};
use kahuna_shards::clock::Clock;
use kahuna_shards::config::{NodeConfig, Timing};
use kahuna_shards::env::{Listener, Net};
use kahuna_shards::lanes::{Detached, Lanes, lanes};
use kahuna_shards::linux::{Linux, ShardHandle, ShardOptions, Tcp, spawn_shard};
use kahuna_shards::node::manifest::Manifest;
use kahuna_shards::peer::{LocalNode, NodeEvent, PeerLimits, Peers};
use kahuna_shards::serve::listen_to_clients;
use kahuna_shards::shard::{ControlHandler, Shard};
use tempfile::TempDir;

/// A test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const INCARNATION: Incarnation = Incarnation(77);

/// Shards on one executor that serve clients, without cluster and without groups unless `prepare` adds them.
pub struct Served {
    pub address: SocketAddr,
    stop: flume::Sender<()>,
    thread: Option<ShardHandle<()>>,
    /// Where logs are; it goes when nobody writes there any more.
    pub dir: Option<TempDir>,
}

impl Drop for Served {
    fn drop(&mut self) {
        // A thread that ended by itself has dropped the other end.
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

pub fn config(shards: u16, limits: Limits) -> NodeConfig {
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    NodeConfig {
        node: NodeId(1),
        data_dir: "unused".into(),
        listen: any,
        peer_listen: any,
        peers: Vec::new(),
        advertise: None,
        peer_advertise: None,
        shards,
        cpus: Vec::new(),
        partitions: None,
        limits,
        settings: Settings::default(),
        timing: Timing::default(),
        segment_bytes: 1 << 20,
        snapshot_log_bytes: 1 << 20,
        io_memory_bytes: 64 << 10,
        wall_clock_offset_ms: 0,
    }
}

/// Serves with `shards` shards; `prepare` runs on their thread before the first client is accepted.
pub fn serve<P, F>(shards: u16, limits: Limits, prepare: P) -> Served
where
    P: FnOnce(Vec<Rc<Shard<Linux>>>) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (stop, stopped) = flume::bounded::<()>(1);
    let (listening, address) = mpsc::channel();
    let start = move || async move {
        let config = config(shards, limits);
        let all: Vec<_> = lanes::<Linux>(shards)
            .into_iter()
            .zip(0..)
            .map(|(ends, id)| {
                let clock = Rc::new(Clock::new(config.limits.max_clock_skew_ms));
                let local = LocalNode {
                    node: NodeId(1),
                    incarnation: INCARNATION,
                    boot_id: 1,
                    shard: ShardId(id),
                    shards,
                    client_address: String::new(),
                    peer_address: String::new(),
                    cluster: ClusterId::NONE,
                    peer_set: Vec::new(),
                };
                let limits = PeerLimits::for_clients(&config.limits);
                let peers = Peers::new(local, clock.clone(), config.timing, limits);
                let (lanes, outlet) = Lanes::open(ends);
                let shard = Shard::new(ShardId(id), INCARNATION, Rc::new(config.clone()), clock, peers, lanes);
                let running = shard.clone();
                <Linux as kahuna_shards::env::Env>::spawn(running.run_lanes(outlet, Rc::new(Alone)));
                shard
            })
            .collect();
        prepare(all.clone()).await;
        // The first shard alone accepts, so that a wish for another one is always a hand-over.
        let listener = Tcp::listen(config.listen, false).expect("a free port");
        listening.send(listener.local_addr().expect("bound")).expect("the test waits for the address");
        <Linux as kahuna_shards::env::Env>::spawn(listen_to_clients(all[0].clone(), listener));
        let _ = stopped.recv_async().await;
    };
    let thread = spawn_shard(ShardOptions::new(0), start).expect("this host runs shards");
    let address = address.recv_timeout(PATIENCE).expect("the shards listen");
    Served { address, stop, thread: Some(thread), dir: None }
}

/// A node's own affairs, of which these shards have none.
struct Alone;

impl ControlHandler<Linux> for Alone {
    fn adopt_peer(&self, _: Detached<Linux>, _: Bytes) {}
    fn node_event(&self, _: NodeEvent) {}
    fn founded(self: Rc<Self>, _: Arc<Manifest>) {}
    fn lost(self: Rc<Self>, _: Option<ShardId>, _: flume::Sender<Arc<Manifest>>) {}
    fn manifest_changed(&self, _: Arc<Manifest>) {}
    fn meta_changed(self: Rc<Self>, _: Arc<Meta>) {}
    fn stop(&self) {}
}

/// A blocking connection that sends what it is told.
pub struct Client {
    pub stream: TcpStream,
    reader: FrameReader,
    next_id: u64,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

pub fn hello(shard: u16) -> Hello {
    Hello { min_version: 1, max_version: 1, shard, cluster: [0; 16], client_name: "test".into() }
}

impl Client {
    /// Connects without a word.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the shard listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a TCP option");
        Self { stream, reader: FrameReader::new(64 << 20), next_id: 1 }
    }

    /// Connects and is welcomed.
    pub fn connect(address: SocketAddr) -> Self {
        Self::greet(address, &hello(ANY_SHARD)).0
    }

    /// Connects with a greeting, and is welcomed.
    pub fn greet(address: SocketAddr, hello: &Hello) -> (Self, Welcome) {
        let mut client = Self::silent(address);
        client.send(&frame(KIND_HELLO, 9, |out| archive_into(hello, out)));
        let (header, payload) = client.next().expect("a welcome");
        assert_eq!((header.kind, header.request_id), (KIND_WELCOME, 9));
        let welcome = to_owned(access::<ArchivedWelcome>(header.kind, &payload).expect("a welcome"));
        (client, welcome)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a request and returns its number.
    pub fn request(&mut self, prelude: &RequestPrelude, request: &Request) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&request_frame(id, prelude, request));
        id
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, prelude: &RequestPrelude, request: &Request) -> Outcome {
        let id = self.request(prelude, request);
        let (answered, outcome) = self.answer();
        assert_eq!(answered, id);
        outcome
    }

    /// The next answer.
    pub fn answer(&mut self) -> (u64, Outcome) {
        let (header, payload) = self.next().expect("an answer");
        (header.request_id, Outcome::decode(header.kind, &payload).expect("an outcome"))
    }

    /// The next answer, which is an error.
    pub fn error(&mut self) -> ErrorReply {
        match self.answer().1 {
            Outcome::Error(error) => error,
            other => panic!("an error was expected: {other:?}"),
        }
    }

    /// The next frame, or the connection's end.
    pub fn next(&mut self) -> Result<(Header, Bytes), Closed> {
        let mut scratch = [0; 4096];
        loop {
            if let Some(frame) = self.reader.next().expect("the server sends good frames") {
                return Ok(frame);
            }
            match self.stream.read(&mut scratch) {
                Ok(0) => return Err(Closed),
                Ok(bytes) => self.reader.buffer().extend_from_slice(&scratch[..bytes]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Err(Closed),
                Err(error) => panic!("the connection neither answers nor closes: {error}"),
            }
        }
    }

    /// The connection has ended, with nothing more said.
    pub fn expect_closed(&mut self) {
        assert_eq!(self.next().map(|(header, _)| header.kind), Err(Closed));
    }

    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("an open connection");
    }
}

pub fn frame(kind: u16, request_id: u64, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, 0, request_id, Hlc::ZERO, payload);
    bytes
}

pub fn request_frame(request_id: u64, prelude: &RequestPrelude, request: &Request) -> Vec<u8> {
    frame(request.kind(), request_id, |out| {
        out.extend_from_slice(&prelude.encode());
        request.encode_body(out);
    })
}
