//! One raw connection: handshake, then frames both ways. No retries, no routing, no sessions: for tools that measure
//! or test the protocol itself, and for programs that bring their own.
//!
//! [`Sender`] gathers frames and writes them at once; [`Receiver`] reads as much as there is and gives frame after
//! frame. [`Connection`] is the two together.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{FrameError, VERSIONS, access, archive_into, encode_frame, to_owned};
use kahuna_protocol::handshake::{ANY_SHARD, ArchivedWelcome, Hello, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_protocol::{
    ClusterId, ErrorReply, FrameReader, Header, Hlc, Limits, Outcome, Request, RequestPrelude, ShardId,
};

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;

/// How to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The shard that shall serve the connection, or [`ANY_SHARD`].
    pub shard: ShardId,
    /// The cluster expected; [`ClusterId::NONE`] for any.
    pub cluster: ClusterId,
    /// Shown in the server's status output.
    pub name: String,
    /// How long connecting may take, and each read of the handshake.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            shard: ANY_SHARD,
            cluster: ClusterId::NONE,
            name: String::from("kahuna-wire"),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Why a connection or a frame did not come.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed or was closed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The received bytes are not a frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The node refused the handshake.
    #[error("{}: {}", .0.code(), .0.text)]
    Refused(ErrorReply),
    /// The node answered the handshake with another kind of frame.
    #[error("kind {0:#06x} in answer to the hello")]
    NoWelcome(u16),
}

/// One connection, greeted.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
    welcome: Welcome,
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// `Io` when no address of `endpoint` can be reached in time, `Refused` when the node gives a reason, `Frame` and
    /// `NoWelcome` when it is no node of ours.
    pub fn connect(endpoint: impl ToSocketAddrs, options: &ConnectOptions) -> Result<Self, WireError> {
        let stream = open_stream(endpoint, options.timeout)?;
        stream.set_read_timeout(Some(options.timeout))?;
        let mut sender = Sender { stream: stream.try_clone()?, out: Vec::new(), hlc: Hlc::ZERO };
        let reader = FrameReader::new(Limits::default().max_frame_bytes);
        let scratch = vec![0; READ_BYTES].into_boxed_slice();
        let mut receiver = Receiver { stream, reader, hlc: Hlc::ZERO, scratch };
        let hello = hello(options.shard, options.cluster, &options.name);
        encode_frame(&mut sender.out, KIND_HELLO, 0, 0, Hlc::ZERO, |out| archive_into(&hello, out));
        sender.flush()?;
        let (header, payload) = receiver.recv()?;
        if header.kind != KIND_WELCOME {
            return Err(match Outcome::decode(header.kind, &payload) {
                Ok(Outcome::Error(refusal)) => WireError::Refused(refusal),
                _ => WireError::NoWelcome(header.kind),
            });
        }
        let welcome: Welcome = to_owned(access::<ArchivedWelcome>(header.kind, &payload)?);
        let max_payload = welcome.limits.max_frame_bytes.max(Limits::default().max_frame_bytes);
        receiver.reader.set_max_payload(max_payload);
        receiver.stream.set_read_timeout(None)?;
        sender.observe(receiver.hlc);
        Ok(Self { sender, receiver, welcome })
    }

    /// The node's answer to the handshake.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The highest stamp that the node sent.
    pub fn stamp(&self) -> Hlc {
        self.receiver.hlc
    }

    /// Gathers one request; see [`Sender::queue`].
    pub fn queue(&mut self, request_id: u64, prelude: &RequestPrelude, request: &Request) {
        self.sender.observe(self.receiver.hlc);
        self.sender.queue(request_id, prelude, request);
    }

    /// Writes everything gathered, at once.
    ///
    /// # Errors
    /// Of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sender.flush()
    }

    /// Writes bytes as they are, behind what was gathered.
    ///
    /// # Errors
    /// Of the socket.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sender.out.extend_from_slice(bytes);
        self.sender.flush()
    }

    /// The next frame, after a read if none is there yet.
    ///
    /// # Errors
    /// `Io`, with `UnexpectedEof` when the node closed the connection, and `Frame`.
    pub fn recv(&mut self) -> Result<(Header, Bytes), WireError> {
        self.receiver.recv()
    }

    /// The next frame of those already read; `None` when a read is needed.
    ///
    /// # Errors
    /// `Frame`.
    pub fn recv_buffered(&mut self) -> Result<Option<(Header, Bytes)>, WireError> {
        self.receiver.recv_buffered()
    }

    /// How long a read may take; `None` for as long as it likes.
    ///
    /// # Errors
    /// Of the socket.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.receiver.stream.set_read_timeout(timeout)
    }

    /// The socket, for what this type does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.receiver.stream
    }

    /// Both halves, to be used from two threads.
    pub fn into_split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

/// Half of a connection that sends requests.
#[derive(Debug)]
pub struct Sender {
    stream: TcpStream,
    out: Vec<u8>,
    hlc: Hlc,
}

impl Sender {
    /// Frames carry at least this stamp from now on.
    pub fn observe(&mut self, hlc: Hlc) {
        self.hlc = self.hlc.max(hlc);
    }

    /// Gathers one request under an id that its answer will repeat; nothing is written before [`Sender::flush`].
    pub fn queue(&mut self, request_id: u64, prelude: &RequestPrelude, request: &Request) {
        encode_frame(&mut self.out, request.kind(), 0, request_id, self.hlc, |out| {
            out.extend_from_slice(&prelude.encode());
            request.encode_body(out);
        });
    }

    /// Gathers one request whose body is encoded already.
    pub fn queue_encoded(&mut self, request_id: u64, kind: u16, prelude: &RequestPrelude, body: &[u8]) {
        encode_frame(&mut self.out, kind, 0, request_id, self.hlc, |out| {
            out.extend_from_slice(&prelude.encode());
            out.extend_from_slice(body);
        });
    }

    /// Bytes gathered and not yet written.
    pub fn queued_bytes(&self) -> usize {
        self.out.len()
    }

    /// Writes everything gathered, at once.
    ///
    /// # Errors
    /// Of the socket.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}

/// Half of a connection that receives answers.
#[derive(Debug)]
pub struct Receiver {
    stream: TcpStream,
    reader: FrameReader,
    hlc: Hlc,
    /// What one read fills. Copying what came is cheaper than clearing room for all that could come.
    scratch: Box<[u8]>,
}

impl Receiver {
    /// The next frame, after a read if none is there yet.
    ///
    /// # Errors
    /// `Io`, with `UnexpectedEof` when the node closed the connection, and `Frame`.
    pub fn recv(&mut self) -> Result<(Header, Bytes), WireError> {
        loop {
            if let Some(found) = self.recv_buffered()? {
                return Ok(found);
            }
            self.fill()?;
        }
    }

    /// The next frame of those already read; `None` when a read is needed.
    ///
    /// # Errors
    /// `Frame`.
    pub fn recv_buffered(&mut self) -> Result<Option<(Header, Bytes)>, WireError> {
        let found = self.reader.next()?;
        if let Some((header, _)) = &found {
            self.hlc = self.hlc.max(header.hlc);
        }
        Ok(found)
    }

    /// The highest stamp seen.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    fn fill(&mut self) -> io::Result<()> {
        match self.stream.read(&mut self.scratch) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection")),
            Ok(count) => {
                self.reader.extend(&self.scratch[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The hello of this software.
pub(crate) fn hello(shard: ShardId, cluster: ClusterId, name: &str) -> Hello {
    Hello { min_version: *VERSIONS.start(), max_version: *VERSIONS.end(), shard, cluster, client_name: name.to_owned() }
}

/// Connects to the first address of `endpoint` that answers, without Nagle's delay.
pub(crate) fn open_stream(endpoint: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in endpoint.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
