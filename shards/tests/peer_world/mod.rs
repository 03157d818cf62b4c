//! Nodes for tests of the peer links: real `Peers` on the glommio runtime, over loopback sockets.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use kahuna_protocol::{
    ClusterId, Header, Incarnation, Limits, NodeId, ShardId,
    frame::{FLAG_REPLY, encode_frame},
    peer::PeerPrelude,
};
use kahuna_shards::{
    clock::Clock,
    config::Timing,
    env::{Env, Listener, Net, ReadHalf, WriteHalf, local::LocalOneshot},
    linux::{Linux, ShardOptions, Tcp, TcpListener, TcpStream, spawn_shard},
    peer::{
        Calling, LocalNode, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers,
        handshake::{Introduction, KIND_PEER_HELLO, PeerHello},
        listen_to_peers,
    },
};

/// Long enough that a test that runs into it has failed.
pub const LIMIT: Duration = Duration::from_secs(30);
/// A kind that the links do not handle themselves.
pub const KIND_ECHO: u16 = 0x1101;
pub const CLUSTER: ClusterId = ClusterId([7; 16]);

pub fn on_shard<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    on_numbered_shard(0, test)
}

pub fn on_numbered_shard<T: Send + 'static>(index: usize, test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    spawn_shard(ShardOptions::new(index), move || async move { Linux::timeout(LIMIT, test()).await.expect("in time") })
        .expect("a shard")
        .join()
}

pub fn listen() -> (TcpListener, String) {
    let listener = Tcp::listen(SocketAddr::from(([127, 0, 0, 1], 0)), true).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

pub fn local(node: u32, address: &str) -> LocalNode {
    LocalNode {
        node: NodeId(node),
        incarnation: Incarnation(100 + u64::from(node)),
        boot_id: 1000 + u64::from(node),
        shard: ShardId(0),
        shards: 1,
        client_address: format!("client-{node}:1"),
        peer_address: address.to_owned(),
        cluster: CLUSTER,
        peer_set: Vec::new(),
    }
}

pub fn limits() -> PeerLimits {
    PeerLimits { max_frame_bytes: 4 << 20, queue_bytes: 8 << 20, ..PeerLimits::for_clients(&Limits::default()) }
}

pub fn peers(local: LocalNode) -> Rc<Peers<Linux>> {
    Peers::new(local, Rc::new(Clock::new(250)), Timing::default(), limits())
}

/// A node that listens, and answers what it is asked with the same bytes.
pub fn node(local_node: LocalNode, listener: TcpListener) -> (Rc<Peers<Linux>>, Rc<Echo>) {
    let peers = peers(local_node);
    let echo = Rc::new(Echo::default());
    peers.set_handler(echo.clone());
    Linux::spawn(listen_to_peers(peers.clone(), listener, |_, _, _| {}));
    (peers, echo)
}

/// Two nodes that know each other's addresses.
pub fn pair() -> (Rc<Peers<Linux>>, Rc<Peers<Linux>>, Rc<Echo>) {
    let (first_listener, first_address) = listen();
    let (second_listener, second_address) = listen();
    let (first, _) = node(local(1, &first_address), first_listener);
    let (second, echo) = node(local(2, &second_address), second_listener);
    first.set_addresses(vec![(NodeId(2), Some(Incarnation(102)), second_address)]);
    second.set_addresses(vec![(NodeId(1), Some(Incarnation(101)), first_address)]);
    (first, second, echo)
}

/// Answers with what it was asked; remembers the questions.
#[derive(Default)]
pub struct Echo {
    pub seen: RefCell<Vec<(PeerIdentity, PeerPrelude, Bytes)>>,
    /// Answers are kept here instead of sent while this is set.
    pub hold: Cell<bool>,
    pub held: RefCell<Vec<(Bytes, PeerReplier)>>,
}

impl PeerHandler for Echo {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        self.seen.borrow_mut().push((from, prelude, body.clone()));
        if self.hold.get() {
            self.held.borrow_mut().push((body, reply));
        } else {
            reply.send(header.kind | 0x8000, |out| out.extend_from_slice(&body));
        }
    }
}

pub fn group(group: u32) -> PeerPrelude {
    PeerPrelude { group, from: 11, to: 22 }
}

pub fn ask(peers: &Rc<Peers<Linux>>, to: u64, body: &[u8]) -> Calling<Linux> {
    ask_group(peers, to, 5, body)
}

pub fn ask_group(peers: &Rc<Peers<Linux>>, to: u64, id: u32, body: &[u8]) -> Calling<Linux> {
    peers.call(Incarnation(to), group(id), KIND_ECHO, 0, LIMIT, |out| out.extend_from_slice(body))
}

/// Waits until `done`, looking now and then.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = Linux::timeout(LIMIT / 2, async {
        while !done() {
            Linux::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_some(), "never: {what}");
}

/// A value that comes later, for tests.
pub fn later<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
    let (done, result) = LocalOneshot::pair();
    Linux::spawn(async move {
        let _ = done.send(future.await);
    });
    async move { result.await.expect("the task ends") }
}

pub fn introduction(node: u32) -> Introduction {
    Introduction {
        node,
        shard: 0,
        shards: 1,
        incarnation: 100 + u64::from(node),
        boot_id: 1000 + u64::from(node),
        cluster: CLUSTER.0,
        max_frame_bytes: 4 << 20,
        client_address: String::new(),
        peer_address: String::new(),
        peer_set: Vec::new(),
    }
}

pub fn hello(from: u32, to: u32) -> PeerHello {
    PeerHello { min_version: 1, max_version: 1, to_shard: 0, to_node: to, to_incarnation: 0, from: introduction(from) }
}

/// One frame as it stands on the wire.
pub fn frame(kind: u16, flags: u8, id: u64, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, flags, id, kahuna_protocol::Hlc(1), |out| {
        out.extend_from_slice(&PeerPrelude::default().encode());
        body(out);
    });
    bytes
}

pub fn hello_frame(hello: &PeerHello) -> Vec<u8> {
    frame(KIND_PEER_HELLO, 0, 0, |out| hello.encode(out))
}

pub fn answer_frame(kind: u16, id: u64, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    frame(kind, FLAG_REPLY, id, body)
}

/// A connection of raw bytes.
pub struct Wire {
    stream: TcpStream,
    frames: kahuna_protocol::FrameReader,
}

impl Wire {
    pub async fn dial(address: &str) -> Self {
        Self::over(Tcp::connect(address.parse().expect("an address"), LIMIT).await.expect("somebody listens"))
    }

    pub fn over(stream: TcpStream) -> Self {
        Self { stream, frames: kahuna_protocol::FrameReader::new(64 << 20) }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The other end may have had enough already; what it then says is what the test is about.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame, or `None` at the end of the stream. Any reset counts as the end.
    pub async fn next(&mut self) -> Option<(Header, PeerPrelude, Bytes)> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            if let Some((header, payload)) = self.frames.next().expect("whole frames only") {
                let (prelude, _) = PeerPrelude::split(&payload).expect("a prelude");
                return Some((header, prelude, payload.slice(PeerPrelude::BYTES..)));
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.buffer().extend_from_slice(&chunk[..count]),
            }
        }
    }
}
