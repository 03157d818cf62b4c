//! Links that other nodes dial: let them in, hand them to the shard they wish for, pass their frames on.

use std::cell::Cell;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_REPLY, archive_into, encode_frame};
use kahuna_protocol::kinds::{KIND_HELLO, LINK_KINDS};
use kahuna_protocol::{ErrorCode, ErrorReply, FrameError, Header, Hlc, NodeId, ShardId};

use super::dial::split;
use super::handshake::{KIND_PEER_WELCOME, MAX_HANDSHAKE_BYTES, PeerHello, PeerWelcome};
use super::incoming::{FrameReadError, IncomingFrames};
use super::outgoing::Outgoing;
use super::pulse::{KIND_ERROR, KIND_PROBE, KIND_PROBE_REPLY, KIND_PULSE, KIND_PULSE_REPLY, Pulse};
use super::{PeerIdentity, PeerReplier, Peers};
use crate::discard::discard;
use crate::env::{Env, Listener, Net, Socket, Stream, WriteHalf};

/// How long a connection may take to introduce itself.
const HELLO_LIMIT: Duration = Duration::from_secs(2);
/// How long a connection that was refused may take to notice.
const LINGER: Duration = Duration::from_secs(1);
/// Connections to a node that may be introducing themselves at once; of a shard one more than its part is closed.
const MAX_STRANGERS: usize = 256;
/// No shard's part is smaller.
const FEWEST_STRANGERS: usize = 16;
/// Descriptors ran out, or the like: wait before the next attempt.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

type StreamOf<E> = <<E as Env>::Net as Net>::Stream;

/// Counts a connection that has not introduced itself.
struct Stranger<'a>(&'a Cell<usize>);

impl<'a> Stranger<'a> {
    fn admit(count: &'a Cell<usize>, shards: u16) -> Option<Self> {
        let most = (MAX_STRANGERS / usize::from(shards)).max(FEWEST_STRANGERS);
        (count.get() < most).then(|| {
            count.set(count.get() + 1);
            Self(count)
        })
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What the first frame led to.
enum Entry {
    /// It is the hello of this kind.
    Hello(PeerHello),
    /// The connection is of no use.
    Refused(ErrorReply),
    /// It is a client's hello, under this request id.
    Client(u64),
    /// It ended by itself, or took too long.
    Gone,
}

/// Takes other nodes' connections from `listener` until `peers` is closed. Every shard may run one over a shared
/// listener: `hand_over` takes a connection to the shard that it wishes for, with everything that was read from it, and
/// that shard [adopts](Peers::adopt) it.
pub async fn listen_to_peers<E: Env>(
    peers: Rc<Peers<E>>,
    mut listener: <E::Net as Net>::Listener,
    hand_over: impl Fn(ShardId, <E::Net as Net>::Detached, Bytes) + 'static,
) {
    peers.hand_over.replace(Some(Rc::new(hand_over)));
    while !peers.closed.get() {
        match listener.accept().await {
            Ok(stream) => peers.serve(stream, Bytes::new()),
            Err(_) => E::sleep(ACCEPT_PAUSE).await,
        }
    }
}

impl<E: Env> Peers<E> {
    /// Takes a connection that another shard accepted and handed over, with everything that was read from it.
    pub fn adopt(self: &Rc<Self>, connection: <E::Net as Net>::Detached, unread: Bytes) {
        // A connection that cannot be taken over is dropped, and dialled again by its owner.
        if let Ok(stream) = E::Net::adopt(connection) {
            self.serve(stream, unread);
        }
    }

    /// Links that other nodes have to this shard.
    pub fn accepted_links(&self) -> usize {
        self.accepted.len()
    }

    fn serve(self: &Rc<Self>, stream: StreamOf<E>, unread: Bytes) {
        let peers = self.clone();
        E::spawn(async move { peers.let_in(stream, unread).await });
    }

    async fn let_in(self: Rc<Self>, stream: StreamOf<E>, unread: Bytes) {
        let shards = self.local.borrow().shards;
        let Some(stranger) = Stranger::admit(&self.accepted.strangers, shards) else { return };
        if self.closed.get() {
            return;
        }
        // Read on the whole stream: it may have to be handed over, together with all bytes that came.
        let mut read = Vec::new();
        let mut incoming = IncomingFrames::new(stream, MAX_HANDSHAKE_BYTES, &unread, self.reads.clone());
        drop(unread);
        let entry = E::timeout(HELLO_LIMIT, self.first_frame(&mut incoming, &mut read)).await.unwrap_or(Entry::Gone);
        let rest = incoming.unread().to_vec();
        let stream = incoming.into_half();
        let refused = match entry {
            Entry::Gone => return,
            Entry::Refused(error) => error,
            Entry::Client(request_id) => return self.send_away(stream, request_id).await,
            Entry::Hello(hello) => {
                let (own, shards) = (self.local.borrow().shard, self.local.borrow().shards);
                let wished = hello.to_shard;
                if wished != own && wished.0 < shards {
                    return self.pass_on(wished, stream, read);
                }
                match self.admit_dialler(&hello) {
                    Ok(version) => {
                        drop(stranger);
                        return self.attend(hello, version, stream, rest).await;
                    }
                    Err(error) => error,
                }
            }
        };
        self.say(&format!("a peer connection is refused: {}", refused.text));
        let (mut read, write) = stream.split();
        let out = self.outgoing();
        out.finish(KIND_ERROR, |body| archive_into(&refused, body));
        out.write_to::<E>(write).await;
        // The connection stays counted as a stranger's: one that does not close leaves no room for more.
        discard::<E>(&mut read).await;
    }

    /// The first frame; `read` gets all that was read up to then.
    async fn first_frame(&self, incoming: &mut IncomingFrames<StreamOf<E>>, read: &mut Vec<u8>) -> Entry {
        loop {
            read.clear();
            read.extend_from_slice(incoming.unread());
            match incoming.buffered() {
                Ok(Some((header, payload))) => {
                    if header.kind == KIND_HELLO {
                        return Entry::Client(header.request_id);
                    }
                    self.observe(&header);
                    let hello = split(&payload).and_then(|(_, body)| PeerHello::decode(header.kind, &body));
                    return hello.map_or_else(|error| Entry::Refused(bad_frame(error)), Entry::Hello);
                }
                Ok(None) => {}
                Err(error) => return Entry::Refused(bad_frame(error)),
            }
            match incoming.fill::<E>().await {
                Ok(()) => {}
                Err(FrameReadError::Frame(error)) => return Entry::Refused(bad_frame(error)),
                Err(FrameReadError::End | FrameReadError::Io(_)) => return Entry::Gone,
            }
        }
    }

    /// Sends a client that connected to the peer port an error frame of the client protocol.
    async fn send_away(&self, stream: StreamOf<E>, request_id: u64) {
        let clients = self.local.borrow().client_address.clone();
        let text = format!("this is the port for other nodes; clients connect to {clients}");
        self.say(&format!("a client came to the port for other nodes instead of {clients}"));
        let error = ErrorReply::new(ErrorCode::BadRequest, text);
        let mut frame = Vec::new();
        encode_frame(&mut frame, KIND_ERROR, FLAG_REPLY, request_id, self.clock.stamp(), |out| {
            archive_into(&error, out);
        });
        let (mut read, mut write) = stream.split();
        if matches!(E::timeout(LINGER, write.write_all(&frame)).await, Some(Ok(())))
            && write.shutdown(Shutdown::Write).is_ok()
        {
            discard::<E>(&mut read).await;
        }
    }

    fn pass_on(&self, wished: ShardId, stream: StreamOf<E>, read: Vec<u8>) {
        let hand_over = self.hand_over.borrow().clone();
        // Without a way there, or a descriptor for it, the connection is dropped and dialled again by its owner.
        if let (Some(hand_over), Ok(detached)) = (hand_over, stream.detach()) {
            hand_over(wished, detached, read.into());
        }
    }

    fn admit_dialler(&self, hello: &PeerHello) -> Result<u8, ErrorReply> {
        let known = self.remote(hello.from.node).and_then(|remote| remote.on_record());
        hello.judge(&self.local.borrow(), known)
    }

    /// A link that is let in, to its end.
    async fn attend(self: Rc<Self>, hello: PeerHello, version: u8, stream: StreamOf<E>, unread: Vec<u8>) {
        let from = &hello.from;
        let pending = from.cluster.is_none();
        let identity = PeerIdentity { node: from.node, incarnation: from.incarnation, boot_id: from.boot_id };
        let (read, write) = stream.split();
        let out = self.outgoing();
        out.set_max_payload(from.max_frame_bytes);
        let serial = self.mint_serial();
        let key = (identity.node, identity.incarnation, from.shard);
        if !self.accepted.insert(key, serial, &out) {
            return;
        }
        let remote = self.remote(identity.node);
        if let Some(remote) = &remote {
            self.learn(remote, from, 0);
        }
        let welcome = PeerWelcome { version, from: self.introduction() };
        out.push_reply(Hlc::ZERO, KIND_PEER_WELCOME, FLAG_REPLY, 0, Default::default(), 0, |body| welcome.encode(body));
        let writing = out.clone();
        E::spawn(async move { writing.write_to::<E>(write).await });
        let mut incoming = IncomingFrames::new(read, self.limits.max_frame_bytes, &unread, self.reads.clone());
        drop(unread);
        let ended = loop {
            if !out.may_read().await {
                break None;
            }
            match incoming.next::<E>().await {
                Ok((header, payload)) => {
                    if let Some(remote) = &remote {
                        remote.heard(E::boot_clock());
                    }
                    self.observe(&header);
                    if let Err(error) = self.on_question(identity, pending, &out, header, payload) {
                        break Some(error);
                    }
                }
                Err(FrameReadError::Frame(error)) => break Some(bad_frame(error)),
                Err(FrameReadError::End | FrameReadError::Io(_)) => break None,
            }
        };
        self.accepted.remove(key, serial);
        match ended {
            None => out.close(),
            Some(error) => {
                self.say(&format!("the link of node {} is closed: {}", identity.node, error.text));
                out.finish(KIND_ERROR, |body| archive_into(&error, body));
                discard::<E>(&mut incoming.into_half()).await;
                out.close();
            }
        }
    }

    /// Whether a node is, as far as this one knows, of this node's cluster, or this one has none either.
    fn is_of_our_cluster(&self, node: NodeId) -> bool {
        let own = self.local.borrow().cluster;
        own.is_none() || self.peer(node).is_some_and(|view| view.cluster == own)
    }

    /// One frame of another node, which belonged to no cluster if it was `pending` when the link was made. `Err` ends the
    /// link.
    fn on_question(
        &self,
        from: PeerIdentity,
        pending: bool,
        out: &Rc<Outgoing>,
        header: Header,
        payload: Bytes,
    ) -> Result<(), ErrorReply> {
        let (prelude, body) = split(&payload).map_err(bad_frame)?;
        if header.flags & FLAG_REPLY != 0 {
            return Err(ErrorReply::new(ErrorCode::BadFrame, "an answer to no question"));
        }
        let reply = PeerReplier::new(out.clone(), prelude, header.request_id);
        match header.kind {
            KIND_PULSE => {
                let pulse = Pulse::decode(header.kind, &body).map_err(bad_frame)?;
                let own = self.pulse();
                let remote = self.remote(from.node);
                if let Some(remote) = &remote {
                    remote.note_pulse(from.boot_id, E::boot_clock());
                }
                if let Some(remote) = remote
                    && !self.on_pulse(&remote, &pulse)
                {
                    let error = ErrorReply::new(ErrorCode::WrongCluster, "the nodes have joined different clusters");
                    reply.refuse(&error);
                    return Err(error);
                }
                reply.send(KIND_PULSE_REPLY, |out| own.encode(out));
            }
            KIND_PROBE => reply.send(KIND_PROBE_REPLY, |_| {}),
            kind if pending && !LINK_KINDS.contains(&kind) && !self.is_of_our_cluster(from.node) => {
                let text = format!("node {} has not said yet that it belongs to this cluster", from.node);
                reply.refuse(&ErrorReply::new(ErrorCode::NotReady, text));
            }
            kind => match self.handler_of(kind) {
                Some(handler) => handler.on_frame(from, prelude, header, body, reply),
                None => reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "the node is starting or stopping")),
            },
        }
        Ok(())
    }
}

fn bad_frame(error: FrameError) -> ErrorReply {
    let code = match error {
        FrameError::Version(_) => ErrorCode::BadVersion,
        _ => ErrorCode::BadFrame,
    };
    ErrorReply::new(code, error.to_string())
}
