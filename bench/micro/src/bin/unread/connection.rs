//! A client of raw frames.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kahuna_protocol::frame::{archive_into, encode_frame};
use kahuna_protocol::handshake::{ANY_SHARD, Hello, KIND_HELLO, KIND_WELCOME};
use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::{ClusterId, FrameReader, Hlc, Outcome, Request, RequestPrelude, SessionId};

/// Who waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits, and a write is valid.
const TIMEOUT_MS: u32 = 10_000;

/// A connection that was welcomed.
pub struct Connection {
    stream: TcpStream,
    reader: FrameReader,
    number: u64,
}

impl Connection {
    pub fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream, reader: FrameReader::new(16 << 20), number: 0 };
        let hello = Hello {
            min_version: 1,
            max_version: 1,
            shard: ANY_SHARD,
            cluster: ClusterId::NONE,
            client_name: "unread".to_owned(),
        };
        let mut frame = Vec::new();
        encode_frame(&mut frame, KIND_HELLO, 0, 0, Hlc::ZERO, |out| archive_into(&hello, out));
        connection.stream.write_all(&frame)?;
        match connection.next()? {
            (KIND_WELCOME, _) => Ok(connection),
            (kind, _) => Err(io::Error::other(format!("a welcome was expected, not {kind:#06x}"))),
        }
    }

    /// Writes a key.
    pub fn set(&mut self, key: &str, value: Vec<u8>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let valid_until_ms = u64::try_from(now.as_millis()).map_err(io::Error::other)? + u64::from(TIMEOUT_MS);
        let prelude = RequestPrelude {
            session: SessionId(1 + rand::random::<u64>() / 2),
            number: 1,
            valid_until_ms,
            ..prelude()
        };
        let (key, condition) = (key.as_bytes().to_vec(), Condition::default());
        let set = Request::KeySet(KeySet { key, value, ttl_ms: None, condition, no_history: false });
        match self.ask(&prelude, &set)? {
            Outcome::Set(_) => Ok(()),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }

    /// Reads a key, linearizable.
    pub fn get(&mut self, key: &str) -> io::Result<Outcome> {
        self.ask(&prelude(), &get(key))
    }

    /// Sends requests for all of `keys`, and takes no answer.
    pub fn ask_without_reading(&mut self, keys: impl Iterator<Item = String>) -> io::Result<()> {
        let mut frames = Vec::new();
        for key in keys {
            self.number += 1;
            put(&mut frames, self.number, &prelude(), &get(&key));
        }
        self.stream.write_all(&frames)
    }

    fn ask(&mut self, prelude: &RequestPrelude, request: &Request) -> io::Result<Outcome> {
        self.number += 1;
        let mut frame = Vec::new();
        put(&mut frame, self.number, prelude, request);
        self.stream.write_all(&frame)?;
        let (kind, payload) = self.next()?;
        Outcome::decode(kind, &payload).map_err(io::Error::other)
    }

    fn next(&mut self) -> io::Result<(u16, bytes::Bytes)> {
        let mut read = vec![0; 64 << 10];
        loop {
            if let Some((header, payload)) = self.reader.next().map_err(io::Error::other)? {
                return Ok((header.kind, payload));
            }
            match self.stream.read(&mut read)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.reader.extend(&read[..count]),
            }
        }
    }
}

fn prelude() -> RequestPrelude {
    RequestPrelude { timeout_ms: TIMEOUT_MS, ..RequestPrelude::default() }
}

fn get(key: &str) -> Request {
    Request::KeyGet(KeyGet { key: key.as_bytes().to_vec(), revision: None, as_of: None })
}

fn put(out: &mut Vec<u8>, number: u64, prelude: &RequestPrelude, request: &Request) {
    encode_frame(out, request.kind(), 0, number, Hlc::ZERO, |out| {
        out.extend_from_slice(&prelude.encode());
        request.encode_body(out);
    });
}
