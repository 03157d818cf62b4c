//! One request on a connection of its own, without the client's core.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use kahuna_protocol::{
    ClusterId, FrameReader, Header, Hlc, Limits, Outcome as Answer, Request, RequestPrelude,
    frame::{VERSIONS, archive_into, encode_frame},
    handshake::{ANY_SHARD, Hello, KIND_HELLO, KIND_WELCOME},
};
use kahuna_shards::env::{Net, ReadHalf, Stream, WriteHalf};

use crate::{
    SimNet,
    net::{SimReadHalf, SimWriteHalf},
};

/// What the node at `endpoint` answers to a request on a connection of its own; connecting may take
/// `patience`.
pub(super) async fn exchange(
    endpoint: &str,
    prelude: &RequestPrelude,
    request: &Request,
    patience: Duration,
) -> io::Result<Answer> {
    let address: SocketAddr = endpoint.parse().expect("simulated endpoints are written out");
    let (mut read, mut write) = SimNet::connect(address, patience).await?.split();
    let mut frames = FrameReader::new(Limits::default().max_frame_bytes);
    let hello = Hello {
        min_version: *VERSIONS.start(),
        max_version: *VERSIONS.end(),
        shard: ANY_SHARD,
        cluster: ClusterId::NONE,
        client_name: "kahuna-sim".into(),
    };
    send(&mut write, KIND_HELLO, 0, |out| archive_into(&hello, out)).await?;
    let (header, _) = receive(&mut read, &mut frames).await?;
    if header.kind != KIND_WELCOME {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    send(&mut write, request.kind(), 1, |out| {
        out.extend_from_slice(&prelude.encode());
        request.encode_body(out);
    })
    .await?;
    loop {
        let (header, payload) = receive(&mut read, &mut frames).await?;
        if header.request_id == 1 {
            return Answer::decode(header.kind, &payload).map_err(io::Error::other);
        }
    }
}

async fn send(write: &mut SimWriteHalf, kind: u16, id: u64, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, 0, id, Hlc::ZERO, body);
    write.write_all(&bytes).await
}

async fn receive(read: &mut SimReadHalf, frames: &mut FrameReader) -> io::Result<(Header, Bytes)> {
    let mut buf = [0; 4096];
    loop {
        if let Some(frame) = frames.next().map_err(io::Error::other)? {
            return Ok(frame);
        }
        match read.read(&mut buf).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => frames.extend(&buf[..len]),
        }
    }
}
