//! Nodes that listen and know each other.

use std::{net::SocketAddr, rc::Rc};

use kahuna_protocol::{ClusterId, Incarnation, Limits, NodeId, ShardId};
use kahuna_shards::peer::AddressSource;
use kahuna_shards::{
    clock::Clock,
    config::Timing,
    env::{Env, Listener, Net},
    linux::{Linux, Tcp, TcpListener},
    peer::{LocalNode, PeerLimits, Peers, listen_to_peers},
};

use super::echo::Echo;

pub const CLUSTER: ClusterId = ClusterId([7; 16]);

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
    first.set_addresses(AddressSource::Listed, vec![(NodeId(2), Some(Incarnation(102)), second_address)]);
    second.set_addresses(AddressSource::Listed, vec![(NodeId(1), Some(Incarnation(101)), first_address)]);
    (first, second, echo)
}
