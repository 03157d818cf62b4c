//! A client's first frame, and the hand-over to the shard it wishes for.

use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_REPLY, FrameError, VERSIONS, access, archive_into, encode_frame, to_owned};
use kahuna_protocol::handshake::{ANY_SHARD, ArchivedHello, Hello, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_protocol::limits::SHARD_CONNECTIONS;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, FrameReader};

use super::connection::{frame_error, serve_connection};
use super::open_connection::OpenConnection;
use crate::admission::Admitted;
use crate::discard::discard;
use crate::env::{Env, Net, ReadHalf, Socket, Stream, WriteHalf};
use crate::lanes::{Control, Detached, Moved};
use crate::peer::handshake::KIND_PEER_HELLO;
use crate::request::{KIND_ERROR, full, map_bytes};
use crate::shard::Shard;

/// A client has this long to send its first frame, and to take the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The first frame is short.
const MAX_HELLO_BYTES: u32 = 4096;
const READ_BYTES: usize = 1024;
/// What a welcome takes beside the map, rounded up.
const REST_BYTES: usize = 256;

type ClientStream<E> = <<E as Env>::Net as Net>::Stream;

/// Who is no client.
enum Stranger {
    /// What came first is not a client's hello.
    NoHello(FrameError),
    /// Another node, which takes this port for the one of its peers: its hello's request id.
    Node(u64),
}

/// Reads the first frame of a new connection, then serves it or hands it over.
pub(super) async fn greet_client<E: Env>(shard: Rc<Shard<E>>, mut stream: ClientStream<E>, open: OpenConnection<E>) {
    let mut reader = FrameReader::new(MAX_HELLO_BYTES);
    // Silence, half a frame, or a closed connection: no client to answer.
    let Some(Some(first)) = E::timeout(LIMIT, first_frame::<E>(&mut stream, &mut reader)).await else { return };
    let (request_id, hello) = match first {
        Ok(hello) => hello,
        Err(Stranger::NoHello(error)) => return refuse::<E>(&shard, stream, 0, &[], frame_error(error)).await,
        Err(Stranger::Node(request_id)) => {
            let text = format!("this is the port for clients; nodes connect to {}", shard.peers().local().peer_address);
            let (prelude, error) = (PeerPrelude::default().encode(), ErrorReply::new(ErrorCode::BadRequest, text));
            return refuse::<E>(&shard, stream, request_id, &prelude, error).await;
        }
    };
    if let Err(error) = check(&shard, &hello) {
        return refuse::<E>(&shard, stream, request_id, &[], error).await;
    }
    let unread = Bytes::copy_from_slice(reader.unread());
    let wish = hello.shard;
    if wish == ANY_SHARD || wish == shard.id() || wish.0 >= shard.shards() {
        return welcome(shard, stream, request_id, unread, open).await;
    }
    // A descriptor that cannot be duplicated closes the connection: the client connects again.
    if let Ok(connection) = stream.detach() {
        let admitted = open.into_admitted();
        let moved = Moved::Client { connection, hello, request_id, unread, admitted };
        shard.lanes().control(wish, Control::Connection(moved));
    }
}

/// Takes over a client that another shard greeted.
pub(super) fn adopt_client<E: Env>(
    shard: &Rc<Shard<E>>,
    connection: Detached<E>,
    hello: Hello,
    request_id: u64,
    unread: Bytes,
    admitted: Admitted,
) {
    debug_assert_eq!(hello.shard, shard.id(), "handed to the shard it wished for");
    if shard.connections() >= SHARD_CONNECTIONS {
        return;
    }
    if let Ok(stream) = E::Net::adopt(connection) {
        let open = OpenConnection::count(shard, admitted);
        E::spawn(welcome(shard.clone(), stream, request_id, unread, open));
    }
}

async fn first_frame<E: Env>(
    stream: &mut ClientStream<E>,
    reader: &mut FrameReader,
) -> Option<Result<(u64, Hello), Stranger>> {
    let mut scratch = [0; READ_BYTES];
    loop {
        match reader.next() {
            Ok(Some((header, payload))) if header.kind == KIND_HELLO => {
                let hello = access::<ArchivedHello>(header.kind, &payload).map(to_owned);
                return Some(hello.map(|hello| (header.request_id, hello)).map_err(Stranger::NoHello));
            }
            Ok(Some((header, _))) if header.kind == KIND_PEER_HELLO => {
                return Some(Err(Stranger::Node(header.request_id)));
            }
            Ok(Some((header, _))) => return Some(Err(Stranger::NoHello(FrameError::UnknownKind(header.kind)))),
            Ok(None) => {}
            Err(error) => return Some(Err(Stranger::NoHello(error))),
        }
        match stream.read(&mut scratch).await {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => reader.extend(&scratch[..bytes]),
        }
    }
}

fn check<E: Env>(shard: &Shard<E>, hello: &Hello) -> Result<(), ErrorReply> {
    if hello.min_version > *VERSIONS.end() || hello.max_version < *VERSIONS.start() {
        let text = format!(
            "the client speaks versions {} to {}, this node {} to {}",
            hello.min_version,
            hello.max_version,
            VERSIONS.start(),
            VERSIONS.end()
        );
        return Err(ErrorReply::new(ErrorCode::BadVersion, text));
    }
    let (wanted, here) = (hello.cluster, shard.view().id());
    if !wanted.is_none() && !here.is_none() && wanted != here {
        let text = format!("this node is of cluster {here}, the client asks for {wanted}: check the address");
        return Err(ErrorReply::new(ErrorCode::WrongCluster, text));
    }
    Ok(())
}

async fn welcome<E: Env>(
    shard: Rc<Shard<E>>,
    mut stream: ClientStream<E>,
    request_id: u64,
    unread: Bytes,
    open: OpenConnection<E>,
) {
    // A client may be slow to take it, and the map in it is long.
    let share = shard.unsent().share();
    let welcome = welcome_of(&shard);
    let bytes = map_bytes(&welcome.map) + REST_BYTES;
    if !share.fits(bytes) {
        return refuse::<E>(&shard, stream, request_id, &[], full()).await;
    }
    let mut frame = Vec::with_capacity(bytes);
    share.set(frame.capacity());
    let stamp = shard.clock().stamp();
    encode_frame(&mut frame, KIND_WELCOME, FLAG_REPLY, request_id, stamp, |out| archive_into(&welcome, out));
    let taken = E::timeout(LIMIT, stream.write_all(&frame)).await;
    drop((frame, share));
    if matches!(taken, Some(Ok(()))) {
        serve_connection(shard, stream, unread, open).await;
    }
}

/// The answer to a client's first frame.
fn welcome_of<E: Env>(shard: &Shard<E>) -> Welcome {
    Welcome {
        version: *VERSIONS.end(),
        node: shard.config().node,
        shard: shard.id(),
        cluster: shard.view().id(),
        limits: shard.config().limits.clone(),
        map: shard.view().current_map(),
    }
}

/// One error frame, with what stands before its body, then the connection closes.
async fn refuse<E: Env>(
    shard: &Shard<E>,
    mut stream: ClientStream<E>,
    request_id: u64,
    prelude: &[u8],
    error: ErrorReply,
) {
    let mut frame = Vec::new();
    encode_frame(&mut frame, KIND_ERROR, FLAG_REPLY, request_id, shard.clock().stamp(), |out| {
        out.extend_from_slice(prelude);
        archive_into(&error, out);
    });
    if matches!(E::timeout(LIMIT, stream.write_all(&frame)).await, Some(Ok(())))
        && stream.shutdown(Shutdown::Write).is_ok()
    {
        discard::<E>(&mut stream).await;
    }
}
