//! A running node, as its process sees it.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use kahuna_protocol::NodeId;

use super::lock::DirLock;
use crate::linux::ShardHandle;

/// A running node. Dropping it leaves the node running: call [`NodeHandle::shutdown`].
#[derive(Debug)]
pub struct NodeHandle {
    node: NodeId,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    stop: flume::Sender<()>,
    shards: Mutex<Vec<ShardHandle<()>>>,
    _lock: DirLock,
}

impl NodeHandle {
    /// The node `node`, which runs `shards` until `stop` receives; `lock` is held as long.
    pub(in crate::node) fn new(
        node: NodeId,
        client_address: SocketAddr,
        peer_address: SocketAddr,
        stop: flume::Sender<()>,
        shards: Vec<ShardHandle<()>>,
        lock: DirLock,
    ) -> Self {
        Self { node, client_address, peer_address, stop, shards: Mutex::new(shards), _lock: lock }
    }

    /// Number that the operator gave the node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Where clients connect, with the port that was taken.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where peers connect, with the port that was taken.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Begins to drain; returns at once. [`NodeHandle::wait`] returns when the node has stopped.
    pub fn begin_shutdown(&self) {
        // A second call finds the channel full or closed: the node stops already.
        let _ = self.stop.try_send(());
    }

    /// Drains and stops the node: leaderships are handed over, what is in flight is answered, logs are sealed.
    pub fn shutdown(&self) {
        self.begin_shutdown();
        self.wait();
    }

    /// Returns when all shards have stopped.
    pub fn wait(&self) {
        let shards = std::mem::take(&mut *self.shards.lock().unwrap_or_else(PoisonError::into_inner));
        shards.into_iter().for_each(ShardHandle::join);
    }
}
