//! What arrives over the lanes: requests of other shards, answers, and control messages.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::meta::Map;

use super::handshake::adopt_client;
use crate::env::Env;
use crate::lanes::{ClusterNews, Control, Detached, LifeNews, Moved, Outlet};
use crate::peer::NodeEvent;
use crate::shard::Shard;

/// What the node does about the control messages that are its own affair. The shard has taken note of them before.
pub trait ControlHandler<E: Env> {
    /// A peer's connection that another shard accepted.
    fn adopt_peer(&self, connection: Detached<E>, unread: Bytes);
    /// Takes news of the cluster that another shard of the node broadcast.
    fn on_cluster(self: Rc<Self>, news: ClusterNews);
    /// The node itself changed.
    fn on_life(self: Rc<Self>, news: LifeNews);
}

impl<E: Env> Shard<E> {
    /// Serves what comes over the lanes, until the node stops. Spawned once per shard.
    pub async fn run_lanes(self: Rc<Self>, outlet: Outlet<E>, handler: Rc<dyn ControlHandler<E>>) {
        let Outlet { requests, replies, control } = outlet;
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = E::across_threads(requests.recv_async()).await {
                for request in batch {
                    let work = shard.lanes().receive(request);
                    shard.serve_here(work);
                }
            }
        });
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = E::across_threads(replies.recv_async()).await {
                batch.into_iter().for_each(|reply| shard.lanes().deliver(reply));
            }
        });
        while let Ok(message) = E::across_threads(control.recv_async()).await {
            if !self.on_control(message, &handler) {
                break;
            }
        }
    }

    /// False once the node stops.
    fn on_control(self: &Rc<Self>, message: Control<E>, handler: &Rc<dyn ControlHandler<E>>) -> bool {
        match message {
            Control::Connection(Moved::Client { connection, hello, request_id, unread, admitted }) => {
                adopt_client(self, connection, hello, request_id, unread, admitted);
            }
            Control::Connection(Moved::Peer { connection, unread }) => handler.adopt_peer(connection, unread),
            Control::Cluster(news) => {
                self.note_cluster(&news);
                handler.clone().on_cluster(news);
            }
            Control::Life(news) => {
                let stops = matches!(news, LifeNews::Stop);
                self.note_life(&news);
                handler.clone().on_life(news);
                return !stops;
            }
            // The asker may have stopped waiting.
            Control::Status(asker) => drop(asker.send(self.shard_status())),
        }
        true
    }

    fn note_cluster(&self, news: &ClusterNews) {
        match news {
            ClusterNews::Leader { group, leader } => self.view().set_leader(*group, *leader),
            ClusterNews::Node(NodeEvent::Up { node, .. }) => self.view().node_came(*node, E::boot_clock()),
            ClusterNews::Node(NodeEvent::Down { node, .. }) => self.view().node_went(*node),
            // These concern the groups that are led there.
            ClusterNews::Node(_) => {}
            ClusterNews::Clocks(note) => {
                self.set_clocks(note.clone().unwrap_or_default());
                self.clock().notify();
            }
            ClusterNews::Meta(meta) => {
                self.count_placed(meta);
                self.view().set_map(Map { ranges: meta.map().clone(), nodes: meta.nodes().cloned().collect() });
            }
        }
    }

    fn note_life(&self, news: &LifeNews) {
        match news {
            LifeNews::Founded(manifest) => {
                if let Some(founding) = &manifest.founding {
                    self.view().join(founding.cluster);
                }
            }
            LifeNews::Stop => self.drain(),
            LifeNews::Lost { .. } | LifeNews::Manifest(_) => {}
        }
    }
}
