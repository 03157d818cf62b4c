//! Making a link: connect, introduce, read answers until the end.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_REPLY, encode_frame};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{FrameError, GroupId, Header, Incarnation, ShardId};

use super::handshake::{KIND_PEER_HELLO, MAX_HANDSHAKE_BYTES, PeerHello, PeerWelcome};
use super::incoming::{FrameReadError, IncomingFrames};
use super::link::{Connection, Link};
use super::pulse::{KIND_ERROR, decode_error};
use super::remote::Remote;
use super::{CallError, PeerReply, Peers};
use crate::env::{Env, Net, Stream, WriteHalf};

/// How long connecting may take, and how long the answer to the introduction.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(1);
/// Most threads that ask for names at once.
const MAX_ASKING: usize = 16;

type ReadHalf<E> = <<<E as Env>::Net as Net>::Stream as Stream>::ReadHalf;
type Halves<E> = (ReadHalf<E>, <<<E as Env>::Net as Net>::Stream as Stream>::WriteHalf);

/// Why an attempt to dial failed.
enum DialError {
    /// Connecting failed. Usual, and reported by the node's watcher.
    Away(String),
    /// The address is a name that does not resolve.
    Unresolved(String),
    /// One end refused the other's introduction.
    Refused(String),
}

/// A connection whose other end is the right one.
struct Greeted<E: Env> {
    incoming: IncomingFrames<ReadHalf<E>>,
    write: <<<E as Env>::Net as Net>::Stream as Stream>::WriteHalf,
    welcome: PeerWelcome,
}

impl<E: Env> Peers<E> {
    /// One connection from its attempt to its end. Calls gather in `connection.out` meanwhile.
    pub(super) async fn dial(
        self: Rc<Self>,
        remote: Rc<Remote>,
        link: Rc<Link>,
        shard: ShardId,
        connection: Connection,
    ) {
        let expected = remote.incarnation();
        let address = remote.addresses.borrow().next().to_owned();
        let greeted = self.greet(&remote, &address, shard, expected).await;
        if greeted.is_err() {
            remote.addresses.borrow_mut().failed(&address);
        }
        let greeted = greeted.and_then(|greeted| self.admit(&remote, &address, &connection, shard, greeted));
        remote.unresolved.replace(match &greeted {
            Err(DialError::Unresolved(reason)) => Some(reason.clone()),
            _ => None,
        });
        let (lived, reason): (_, Rc<str>) = match greeted {
            Ok(greeted) => {
                let since = E::boot_clock();
                let reason = self.run(&remote, &link, &connection, greeted).await;
                (Some(E::boot_clock().saturating_sub(since)), reason.into())
            }
            Err(error) => {
                let reason = match error {
                    DialError::Away(reason) => reason,
                    DialError::Unresolved(reason) => {
                        self.complain(&remote, &reason);
                        reason
                    }
                    DialError::Refused(reason) => {
                        self.complain(&remote, &reason);
                        // It may be there under another data directory, as long as the cluster has none on record.
                        remote.forget();
                        reason
                    }
                };
                (None, reason.into())
            }
        };
        connection.out.close();
        link.ended(connection.serial, E::boot_clock(), lived, reason.clone());
        self.calls.fail(connection.serial, |id| match connection.out.may_have_left(id) {
            true => CallError::Lost(reason.clone()),
            false => CallError::NotSent(reason.clone()),
        });
        if remote.shard_of(GroupId::META).is_none() {
            remote.lobby.take();
            self.calls.fail(remote.lobby_serial, |_| CallError::NotSent(reason.clone()));
        }
        remote.disturbed.notify();
    }

    /// Connects and introduces this shard.
    async fn greet(
        &self,
        remote: &Remote,
        address: &str,
        shard: ShardId,
        expected: Option<Incarnation>,
    ) -> Result<Greeted<E>, DialError> {
        let found = resolve::<E>(address).await.map_err(|error| {
            DialError::Unresolved(format!("node {} at {address}: the name does not resolve: {error}", remote.node))
        })?;
        let away = |error: io::Error| DialError::Away(format!("node {} at {address}: {error}", remote.node));
        let (read, mut write) = connect::<E>(found).await.map_err(away)?;
        let hello = PeerHello::new(remote.node, shard, expected, self.introduction());
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, KIND_PEER_HELLO, 0, 0, self.clock.stamp(), |out| {
            out.extend_from_slice(&PeerPrelude::default().encode());
            hello.encode(out);
        });
        let mut incoming = IncomingFrames::new(read, MAX_HANDSHAKE_BYTES, &[], self.reads.clone());
        let exchange = async {
            write.write_all(&bytes).await?;
            incoming.next::<E>().await
        };
        let answer = E::timeout(HANDSHAKE_LIMIT, exchange).await;
        let (header, payload) = match answer {
            None => return Err(away(io::ErrorKind::TimedOut.into())),
            Some(Err(FrameReadError::Io(error))) => return Err(away(error)),
            Some(Err(FrameReadError::End)) => return Err(away(io::ErrorKind::UnexpectedEof.into())),
            Some(Err(FrameReadError::Frame(error))) => {
                return Err(DialError::Refused(format!(
                    "node {} at {address} does not speak to us: {error}",
                    remote.node
                )));
            }
            Some(Ok(frame)) => frame,
        };
        self.observe(&header);
        let refused = |text: &str| DialError::Refused(format!("node {} at {address}: {text}", remote.node));
        let (_, body) = split(&payload).map_err(|error| refused(&error.to_string()))?;
        if header.kind == KIND_ERROR {
            let text = decode_error(&body).map_or_else(|error| error.to_string(), |error| error.text);
            return Err(refused(&text));
        }
        let welcome = PeerWelcome::decode(header.kind, &body).map_err(|error| refused(&error.to_string()))?;
        welcome.judge(&self.local.borrow(), remote.node, expected).map_err(|error| refused(&error.text))?;
        Ok(Greeted { incoming, write, welcome })
    }

    /// Takes note of who answered. The introduction may show that the link was dialled for something that is gone.
    fn admit(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        address: &str,
        connection: &Connection,
        shard: ShardId,
        greeted: Greeted<E>,
    ) -> Result<Greeted<E>, DialError> {
        let from = &greeted.welcome.from;
        if connection.out.is_closed() {
            return Err(DialError::Away("the link was given up while it was dialled".into()));
        }
        if remote.on_record().is_some_and(|on_record| on_record != from.incarnation) {
            remote.addresses.borrow_mut().failed(address);
            return Err(DialError::Refused(format!("node {} runs on another data directory", remote.node)));
        }
        let meant = from.shard == shard;
        if meant {
            connection.out.set_max_payload(from.max_frame_bytes.min(self.limits.max_frame_bytes));
        }
        self.learn(remote, from, connection.serial);
        remote.addresses.borrow_mut().worked(address);
        self.moved.notify();
        remote.complaints.borrow_mut().clear();
        match meant {
            true => Ok(greeted),
            false => Err(DialError::Away(format!("node {} has no shard {shard}", remote.node))),
        }
    }

    /// Writes what gathers and takes the answers; gives the reason of the end.
    async fn run(
        self: &Rc<Self>,
        remote: &Remote,
        link: &Link,
        connection: &Connection,
        greeted: Greeted<E>,
    ) -> String {
        let Greeted { mut incoming, write, .. } = greeted;
        incoming.set_max_payload(self.limits.max_frame_bytes);
        let out = connection.out.clone();
        E::spawn(async move { out.write_to::<E>(write).await });
        loop {
            let error = match incoming.next::<E>().await {
                Ok((header, payload)) => {
                    remote.heard(E::boot_clock());
                    link.heard();
                    self.observe(&header);
                    match self.on_answer(connection.serial, &header, payload) {
                        Ok(()) => continue,
                        Err(text) => text,
                    }
                }
                Err(FrameReadError::Frame(error)) => {
                    self.complain(remote, &format!("node {}: the link is closed: {error}", remote.node));
                    error.to_string()
                }
                Err(error) => error.to_string(),
            };
            return error;
        }
    }

    /// One answer. `Err` ends the link.
    fn on_answer(&self, serial: u64, header: &Header, payload: Bytes) -> Result<(), String> {
        let (prelude, body) = split(&payload).map_err(|error| error.to_string())?;
        if header.flags & FLAG_REPLY == 0 {
            return Err(format!("a frame of kind {:#06x} that is no answer", header.kind));
        }
        let answer = if header.kind == KIND_ERROR {
            let error = decode_error(&body).map_err(|error| error.to_string())?;
            if header.request_id == 0 {
                return Err(error.text);
            }
            Err(CallError::Refused(error, header.hlc))
        } else {
            Ok(PeerReply { kind: header.kind, flags: header.flags, hlc: header.hlc, body })
        };
        match self.calls.answer(header.request_id, serial, prelude, answer) {
            true => Ok(()),
            false => Err(format!("answer {} does not belong to its question", header.request_id)),
        }
    }
}

/// The prelude, and the body as a piece of the same buffer.
pub(super) fn split(payload: &Bytes) -> Result<(PeerPrelude, Bytes), FrameError> {
    let (prelude, _) = PeerPrelude::split(payload)?;
    Ok((prelude, payload.slice(PeerPrelude::BYTES..)))
}

/// Connects to the first of the addresses that answers.
async fn connect<E: Env>(addresses: Vec<SocketAddr>) -> io::Result<Halves<E>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match E::Net::connect(address, HANDSHAKE_LIMIT).await {
            Ok(stream) => return Ok(stream.split()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of `host:port`. Asking for a name blocks, and may do so for as long as name servers are silent, so that
/// happens on a thread of its own, of which there are few; addresses that are written out need none.
async fn resolve<E: Env>(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let asking = Asking::begin().ok_or_else(|| io::Error::other("too many names wait for an answer"))?;
    let name = address.to_owned();
    let (found, answer) = flume::bounded(1);
    std::thread::Builder::new().name("resolve".into()).spawn(move || {
        // The shard may have ended or stopped waiting.
        let _ = found.send(name.to_socket_addrs().map(Vec::from_iter));
        drop(asking);
    })?;
    match E::timeout(HANDSHAKE_LIMIT, E::across_threads(answer.recv_async())).await {
        Some(found) => found.map_err(io::Error::other)?,
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Counts the threads of this process that ask for a name.
struct Asking;

/// How many ask, over all shards.
static ASKING: AtomicUsize = AtomicUsize::new(0);

impl Asking {
    fn begin() -> Option<Self> {
        let one_more = |asking| (asking < MAX_ASKING).then_some(asking + 1);
        ASKING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.fetch_sub(1, Ordering::Relaxed);
    }
}
