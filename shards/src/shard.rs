//! One core's world, tied together.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flume::Sender;
use kahuna_machine::Meta;
use kahuna_protocol::handshake::Welcome;
use kahuna_protocol::limits::{SHARD_IN_FLIGHT, SHARD_IN_FLIGHT_BYTES};
use kahuna_protocol::meta::{DiskSpace, Map};
use kahuna_protocol::{ClusterId, GroupId, Incarnation, NodeId, ShardId};
use kahuna_wal::Space;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::group::Group;
use crate::lanes::{Control, Detached, Lanes, Outlet, ShardStatus};
use crate::load::Load;
use crate::node::manifest::Manifest;
use crate::peer::{NodeEvent, Peers};
use crate::serve::{Admission, adopt_client};
use crate::unread::ReadBuffer;

/// Most that is read from a client at once.
const READ_BYTES: usize = 256 << 10;
/// As many clients that take nothing may hold a small part of the unsent answers each before others find no room.
const SMALL_PART: usize = 2048;
/// Questions about the node's state that are gathered at once: each answer is put together from all shards.
const QUESTIONS: u32 = 64;

/// Everything that a shard owns. Lives on its shard's thread, from the node's start to its stop; the tasks of its
/// connections and groups hold it.
pub struct Shard<E: Env> {
    /// Which one it is.
    pub id: ShardId,
    /// How many the node runs.
    pub shards: u16,
    /// The node's data directory.
    pub incarnation: Incarnation,
    /// What the node was told at its start.
    pub config: Rc<NodeConfig>,
    /// The stamps of everything it sends and proposes.
    pub clock: Rc<Clock<E>>,
    /// Its links to other nodes.
    pub peers: Rc<Peers<E>>,
    /// Its ends of the lanes to the other shards.
    pub lanes: Rc<Lanes<E>>,
    /// The shard's log; none while the node is pending.
    pub log: RefCell<Option<kahuna_wal::Log<E::Disk>>>,
    /// Its groups: those whose replicas are open.
    pub groups: RefCell<BTreeMap<GroupId, Rc<Group<E>>>>,
    /// Who owns what; empty until the meta group was read.
    pub map: RefCell<Arc<Map>>,
    /// Who leads, as far as this node's replicas know.
    pub leaders: RefCell<BTreeMap<GroupId, NodeId>>,
    /// The other nodes that answer, and since when, as time since boot.
    pub alive: RefCell<BTreeMap<NodeId, Duration>>,
    /// The cluster; none while the node is pending.
    pub cluster: Cell<ClusterId>,
    /// Clients' requests are refused: the node is about to stop.
    pub draining: Cell<bool>,
    /// Requests in flight that count against the shard.
    pub load: Rc<Load>,
    /// Questions about the node's state in flight.
    pub(crate) questions: Rc<Load>,
    /// Answers that wait for clients.
    pub unsent: Rc<Budget>,
    /// What clients sent of frames that are not whole yet.
    pub(crate) client_reads: Rc<ReadBuffer>,
    /// Who is let in, counted over all shards of the node.
    pub(crate) admission: Arc<Admission>,
    /// Open client connections.
    pub connections: Cell<u32>,
    /// What the node found that it waits for, for a person; what the groups show comes on top of it.
    pub waiting: RefCell<String>,
    /// What is wrong with the nodes' clocks, for a person; empty when nothing is.
    pub clocks: RefCell<String>,
    /// Groups that have their place here, open or not.
    pub(crate) placed: Cell<usize>,
    /// When the node started, as time since boot.
    pub started: Duration,
}

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
    /// A shard that serves nothing yet: no groups, an empty map, no cluster.
    pub fn new(
        id: ShardId,
        incarnation: Incarnation,
        config: Rc<NodeConfig>,
        clock: Rc<Clock<E>>,
        peers: Rc<Peers<E>>,
        lanes: Rc<Lanes<E>>,
        admission: Arc<Admission>,
    ) -> Rc<Self> {
        let unsent_bytes = config.limits.shard_unsent_bytes();
        let unread = Budget::new(config.limits.shard_unread_bytes(), config.limits.max_frame_bytes as usize);
        Rc::new(Self {
            id,
            shards: lanes.shards(),
            incarnation,
            config,
            clock,
            peers,
            lanes,
            log: RefCell::new(None),
            groups: RefCell::default(),
            map: RefCell::new(Arc::new(empty_map())),
            leaders: RefCell::default(),
            alive: RefCell::default(),
            cluster: Cell::new(ClusterId::NONE),
            draining: Cell::new(false),
            load: Load::new(SHARD_IN_FLIGHT, SHARD_IN_FLIGHT_BYTES),
            questions: Load::new(QUESTIONS, u64::MAX),
            unsent: Budget::new(unsent_bytes, unsent_bytes / SMALL_PART),
            client_reads: ReadBuffer::new(READ_BYTES, unread),
            admission,
            connections: Cell::new(0),
            waiting: RefCell::default(),
            placed: Cell::new(0),
            clocks: RefCell::default(),
            started: E::boot_clock(),
        })
    }

    /// The group, if this shard owns it and its replica is open.
    pub fn group(&self, id: GroupId) -> Option<Rc<Group<E>>> {
        self.groups.borrow().get(&id).cloned()
    }

    /// Adds a group; requests for it are served from now on.
    pub fn insert_group(&self, group: Rc<Group<E>>) {
        debug_assert_eq!(group.id().shard(self.shards), self.id, "a group belongs to one shard");
        self.groups.borrow_mut().insert(group.id(), group);
    }

    /// The node that leads `group`, as far as this node knows.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.borrow().get(&group).copied().filter(|node| node.0 != 0)
    }

    /// The range map with the leaders that this node knows of, and the nodes.
    pub fn current_map(&self) -> Map {
        let mut map = Map::clone(&self.map.borrow());
        for range in &mut map.ranges.ranges {
            range.leader = self.leader_of(GroupId(range.partition)).map_or(range.leader, |node| node.0);
        }
        map
    }

    /// The answer to a client's first frame.
    pub fn welcome(&self) -> Welcome {
        Welcome {
            version: *kahuna_protocol::frame::VERSIONS.end(),
            node: self.config.node.0,
            shard: self.id.0,
            cluster: self.cluster.get().0,
            limits: self.config.limits.clone(),
            map: self.current_map(),
        }
    }

    /// The data directory of a node, from a live link or from the meta group.
    pub fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        self.peers.incarnation_of(node).or_else(|| {
            let map = self.map.borrow();
            map.nodes.iter().find(|info| info.node == node.0).map(|info| Incarnation(info.incarnation))
        })
    }

    /// What clients have sent of frames that are not whole yet, in bytes, but for the first 4 KiB of each.
    pub fn unread(&self) -> usize {
        self.client_reads.budget().held()
    }

    /// This shard's part of the node's status.
    pub fn shard_status(&self) -> ShardStatus {
        let replicas = self.groups.borrow().values().map(|group| group.status(self)).collect();
        let stats = self.log.borrow().as_ref().map(|log| log.stats());
        ShardStatus {
            replicas,
            log_flushes: stats.as_ref().map_or(0, |stats| stats.flushes),
            log_bytes: stats.as_ref().map_or(0, |stats| stats.segments * self.config.segment_bytes),
            disk: self.log.borrow().as_ref().map_or(DiskSpace::Plenty, |log| disk_space(log.space())),
            connections: self.connections.get(),
            peers_alive: self.alive.borrow().keys().copied().collect(),
            waiting: self.waits_for(),
            note: self.to_mend(),
        }
    }

    /// What is to be mended although the shard serves, for a person; empty when nothing is.
    fn to_mend(&self) -> String {
        let unreached = self.peers.unreached().first().map(|node| self.peers.not_reached_by(*node));
        unreached.unwrap_or_else(|| self.clocks.borrow().clone())
    }

    /// Serves what comes over the lanes, until the node stops. Spawned once per shard.
    pub async fn run_lanes(self: Rc<Self>, outlet: Outlet<E>, handler: Rc<dyn ControlHandler<E>>) {
        let Outlet { requests, replies, control } = outlet;
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = requests.recv_async().await {
                for request in batch {
                    let work = shard.lanes.receive(request);
                    shard.serve_here(work);
                }
            }
        });
        let shard = self.clone();
        E::spawn(async move {
            while let Ok(batch) = replies.recv_async().await {
                batch.into_iter().for_each(|reply| shard.lanes.deliver(reply));
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
            Control::LeaderChanged { group, leader } => {
                self.leaders.borrow_mut().insert(group, leader);
            }
            Control::NodeEvent(event) => {
                match event {
                    NodeEvent::Up { node, .. } => self.alive.borrow_mut().insert(node, E::boot_clock()),
                    NodeEvent::Down { node, .. } => self.alive.borrow_mut().remove(&node),
                };
                handler.node_event(event);
            }
            Control::Clocks(note) => {
                *self.clocks.borrow_mut() = note.unwrap_or_default();
                self.clock.notify();
            }
            Control::Founded(manifest) => {
                if let Some(founding) = &manifest.founding {
                    self.cluster.set(ClusterId(founding.cluster));
                }
                handler.clone().founded(manifest);
            }
            Control::Lost { log_of, counted } => handler.clone().lost(log_of, counted),
            Control::Manifest(manifest) => handler.manifest_changed(manifest),
            Control::Meta(meta) => {
                self.count_placed(&meta);
                *self.map.borrow_mut() =
                    Arc::new(Map { ranges: meta.map().clone(), nodes: meta.nodes().cloned().collect() });
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

fn disk_space(space: Space) -> DiskSpace {
    match space {
        Space::Plenty => DiskSpace::Plenty,
        Space::Reserve => DiskSpace::Reserve,
        Space::Exhausted => DiskSpace::Exhausted,
    }
}

fn empty_map() -> Map {
    Map { ranges: kahuna_protocol::RangeMap::default(), nodes: Vec::new() }
}
