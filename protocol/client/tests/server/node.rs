//! A node: a listener, and a thread for each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use kahuna_client::protocol::frame::{FLAG_REPLY, archive_into, encode_frame};
use kahuna_client::protocol::handshake::{KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_client::protocol::meta::{DiskSpace, Map, Status};
use kahuna_client::protocol::{
    ClusterId, FrameReader, Header, Hlc, Incarnation, Limits, NodeId, Outcome, RangeMap, Request, RequestPrelude,
    ShardId,
};

use super::store::{SERVER_MS, Store};

const CLUSTER: ClusterId = ClusterId([3; 16]);

/// One node. Dropped, it closes everything.
pub struct Server {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    store: Arc<Store>,
    streams: Mutex<Vec<TcpStream>>,
    closed: Mutex<bool>,
    /// This many requests are applied and then answered by closing the connection.
    swallow: AtomicU32,
    /// This many requests are gathered, and answered in the opposite order.
    reverse: AtomicU32,
    /// Nothing is answered, the hello neither.
    mute: bool,
    accepted: AtomicU32,
}

impl Server {
    pub fn start(node: u32, store: &Arc<Store>) -> Self {
        Self::start_with(node, store, false)
    }

    /// A node that accepts connections and never says a word.
    pub fn start_mute(node: u32, store: &Arc<Store>) -> Self {
        Self::start_with(node, store, true)
    }

    fn start_with(node: u32, store: &Arc<Store>, mute: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = listener.local_addr().expect("bound").to_string();
        let shared = Arc::new(Shared {
            node: NodeId(node),
            store: store.clone(),
            streams: Mutex::default(),
            closed: Mutex::default(),
            swallow: AtomicU32::new(0),
            reverse: AtomicU32::new(0),
            mute,
            accepted: AtomicU32::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accepting.accept(&listener));
        Self { endpoint, shared }
    }

    /// The next `count` requests are applied and never answered: their connection is closed.
    pub fn swallow(&self, count: u32) {
        self.shared.swallow.store(count, Ordering::SeqCst);
    }

    /// The next `count` requests wait for each other and are answered last first.
    pub fn reverse(&self, count: u32) {
        self.shared.reverse.store(count, Ordering::SeqCst);
    }

    pub fn accepted(&self) -> u32 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Whether every connection was closed by the other side.
    pub fn all_closed(&self) -> bool {
        self.shared.streams.lock().expect("no panic").is_empty()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.shared.closed.lock().expect("no panic") = true;
        for stream in self.shared.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread.
        let _ = TcpStream::connect(&self.endpoint);
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if *self.closed.lock().expect("no panic") {
                return;
            }
            let Ok(stream) = stream else { continue };
            self.accepted.fetch_add(1, Ordering::SeqCst);
            let mine = stream.try_clone().expect("a second handle");
            self.streams.lock().expect("no panic").push(mine);
            let serving = self.clone();
            std::thread::spawn(move || {
                let peer = stream.peer_addr();
                serving.serve(&stream);
                let _ = stream.shutdown(Shutdown::Both);
                let mut streams = serving.streams.lock().expect("no panic");
                streams
                    .retain(|other| other.peer_addr().is_ok() && other.peer_addr().ok() != peer.as_ref().ok().copied());
            });
        }
    }

    fn serve(&self, mut stream: &TcpStream) {
        let mut reader = FrameReader::new(1 << 21);
        let mut buffer = vec![0; 1 << 16];
        let mut held: Vec<(Header, Outcome)> = Vec::new();
        loop {
            let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
            reader.extend(&buffer[..count]);
            let mut out = Vec::new();
            while let Ok(Some((header, payload))) = reader.next() {
                if self.mute {
                    continue;
                }
                if header.kind == KIND_HELLO {
                    self.welcome(&mut out);
                    continue;
                }
                let (prelude, body) = RequestPrelude::split(&payload).expect("a prelude");
                let request = Request::decode(header.kind, body).expect("a request");
                let outcome = match request {
                    Request::StatusGet(_) => self.status().into(),
                    request => self.store.serve(&prelude, &request),
                };
                if take_one(&self.swallow) {
                    return;
                }
                held.push((header, outcome));
                if take_one(&self.reverse) && self.reverse.load(Ordering::SeqCst) > 0 {
                    continue;
                }
                for (header, outcome) in held.drain(..).rev() {
                    let hlc = Hlc::from_millis(SERVER_MS);
                    encode_frame(&mut out, outcome.kind(), FLAG_REPLY, header.request_id, hlc, |out| {
                        outcome.encode_body(out);
                    });
                }
            }
            if stream.write_all(&out).is_err() {
                return;
            }
        }
    }

    fn welcome(&self, out: &mut Vec<u8>) {
        let map = Map { ranges: RangeMap::even(4), nodes: Vec::new() };
        let limits = Limits::default();
        let welcome = Welcome { version: 1, node: self.node, shard: ShardId(0), cluster: CLUSTER, limits, map };
        encode_frame(out, KIND_WELCOME, FLAG_REPLY, 0, Hlc::from_millis(SERVER_MS), |out| archive_into(&welcome, out));
    }

    fn status(&self) -> Status {
        Status {
            node: self.node,
            cluster: CLUSTER,
            incarnation: Incarnation(1),
            version: String::from("test"),
            uptime_ms: 1,
            shards: 1,
            log_flushes: 0,
            log_bytes: 0,
            disk: DiskSpace::Plenty,
            connections: 1,
            peers_alive: Vec::new(),
            waiting: String::new(),
            replicas: Vec::new(),
        }
    }
}

fn take_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
