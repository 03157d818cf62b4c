//! What arrives over the lanes: requests of other shards, answers, and what the shards of a node tell each other.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use flume::Sender;
use kahuna_machine::Meta;
use kahuna_protocol::meta::Map;
use kahuna_protocol::{ClusterId, ShardId};

use super::handshake::adopt_client;
use crate::env::Env;
use crate::lanes::{Control, Detached, Outlet};
use crate::manifest::Manifest;
use crate::peer::NodeEvent;
use crate::shard::Shard;

/// What the node does about the control messages that are its own affair.
pub trait ControlHandler<E: Env> {
    /// A peer's connection that another shard accepted.
    fn adopt_peer(&self, connection: Detached<E>, unread: Bytes);
    /// A node went or came.
    fn node_event(&self, event: NodeEvent);
    /// The node belongs to a cluster from now on.
    fn founded(self: Rc<Self>, manifest: Arc<Manifest>);
    /// A log or a snapshot is lost: to be counted before anything takes its place.
    fn lost(self: Rc<Self>, log_of: Option<ShardId>, counted: Sender<Arc<Manifest>>);
    /// The manifest says something new.
    fn manifest_changed(&self, manifest: Arc<Manifest>);
    /// The meta group says something new.
    fn meta_changed(self: Rc<Self>, meta: Arc<Meta>);
    /// The node stops.
    fn stop(&self);
}

impl<E: Env> Shard<E> {
    /// Serves what comes over the lanes, until the node stops. Spawned once per shard.
    pub async fn run_lanes(self: Rc<Self>, outlet: Outlet<E>, handler: Rc<dyn ControlHandler<E>>) {
        let Outlet { requests, replies, control } = outlet;
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = requests.recv_async().await {
                for request in batch {
                    let work = shard.lanes().receive(request);
                    shard.serve_here(work);
                }
            }
        });
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = replies.recv_async().await {
                batch.into_iter().for_each(|reply| shard.lanes().deliver(reply));
            }
        });
        while let Ok(message) = control.recv_async().await {
            if !self.on_control(message, &handler) {
                break;
            }
        }
    }

    /// False once the node stops.
    fn on_control(self: &Rc<Self>, message: Control<E>, handler: &Rc<dyn ControlHandler<E>>) -> bool {
        match message {
            Control::HandOver { connection, hello, request_id, unread, admitted } => {
                adopt_client(self, connection, hello, request_id, unread, admitted);
            }
            Control::PeerHandOver { connection, unread } => handler.adopt_peer(connection, unread),
            Control::LeaderChanged { group, leader } => self.view().set_leader(group, leader),
            Control::NodeEvent(event) => {
                match event {
                    NodeEvent::Up { node, .. } => self.view().node_came(node, E::boot_clock()),
                    NodeEvent::Down { node, .. } => self.view().node_went(node),
                }
                handler.node_event(event);
            }
            Control::Clocks(note) => {
                self.set_clocks(note.unwrap_or_default());
                self.clock().notify();
            }
            Control::Founded(manifest) => {
                if let Some(founding) = &manifest.founding {
                    self.view().join(ClusterId(founding.cluster));
                }
                handler.clone().founded(manifest);
            }
            Control::Lost { log_of, counted } => handler.clone().lost(log_of, counted),
            Control::Manifest(manifest) => handler.manifest_changed(manifest),
            Control::Meta(meta) => {
                self.count_placed(&meta);
                self.view().set_map(Map { ranges: meta.map.clone(), nodes: meta.nodes.clone() });
                handler.clone().meta_changed(meta);
            }
            // Whoever asked may have stopped waiting.
            Control::Status(asker) => drop(asker.send(self.shard_status())),
            Control::Stop => {
                handler.stop();
                return false;
            }
        }
        true
    }
}
