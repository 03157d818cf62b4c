//! Frames as they stand on the wire.

use kahuna_protocol::{
    Incarnation, NodeId, ShardId,
    frame::{FLAG_REPLY, encode_frame},
    peer::PeerPrelude,
};
use kahuna_shards::peer::handshake::{Introduction, KIND_PEER_HELLO, PeerHello};

use super::nodes::CLUSTER;

pub fn introduction(node: u32) -> Introduction {
    Introduction {
        node: NodeId(node),
        shard: ShardId(0),
        shards: 1,
        incarnation: Incarnation(100 + u64::from(node)),
        boot_id: 1000 + u64::from(node),
        cluster: CLUSTER,
        max_frame_bytes: 4 << 20,
        client_address: String::new(),
        peer_address: String::new(),
        peer_set: Vec::new(),
    }
}

pub fn hello(from: u32, to: u32) -> PeerHello {
    PeerHello {
        min_version: 1,
        max_version: 1,
        to_shard: ShardId(0),
        to_node: NodeId(to),
        to_incarnation: Incarnation(0),
        from: introduction(from),
    }
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
