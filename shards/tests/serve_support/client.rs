//! A client that speaks raw frames.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{access, archive_into, encode_frame, to_owned};
use kahuna_protocol::handshake::{ANY_SHARD, ArchivedWelcome, Hello, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_protocol::{ClusterId, ErrorReply, FrameReader, Header, Hlc, Outcome, Request, RequestPrelude, ShardId};

/// A test that hangs fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A blocking connection that sends what it is told.
pub struct Client {
    pub stream: TcpStream,
    reader: FrameReader,
    next_id: u64,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;

pub fn hello(shard: ShardId) -> Hello {
    Hello { min_version: 1, max_version: 1, shard, cluster: ClusterId::NONE, client_name: "test".into() }
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
                Ok(bytes) => self.reader.extend(&scratch[..bytes]),
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
