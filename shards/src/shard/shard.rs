//! One core's world, tied together.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kahuna_protocol::limits::{SHARD_IN_FLIGHT, SHARD_IN_FLIGHT_BYTES};
use kahuna_protocol::{GroupId, Incarnation, NodeId, ShardId};
use kahuna_wal::{Log, Space};

use super::cluster_view::ClusterView;
use crate::admission::Admission;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::group::{Group, GroupContext, Groups};
use crate::lanes::Lanes;
use crate::peer::Peers;
use crate::request::Load;
use crate::unread::ReadBuffer;

/// Most that is read from a client at once.
const READ_BYTES: usize = 256 << 10;
/// As many clients that take nothing may hold a small part of the unsent answers each before others find no room.
const SMALL_PART: usize = 2048;
/// Questions about the node's state that are gathered at once: each answer is put together from all shards.
const QUESTIONS: u32 = 64;

/// Everything that a shard owns. Lives on its shard's thread, from the node's start to its stop; the tasks of its
/// connections hold it.
pub struct Shard<E: Env> {
    id: ShardId,
    incarnation: Incarnation,
    config: Rc<NodeConfig>,
    clock: Rc<Clock<E>>,
    peers: Rc<Peers<E>>,
    lanes: Rc<Lanes<E>>,
    log: RefCell<Option<Log<E::Disk>>>,
    groups: Rc<Groups<E>>,
    view: ClusterView,
    draining: Cell<bool>,
    load: Rc<Load>,
    questions: Rc<Load>,
    unsent: Rc<Budget>,
    client_reads: Rc<ReadBuffer>,
    admission: Arc<Admission>,
    connections: Cell<u32>,
    waiting: RefCell<String>,
    clocks: RefCell<String>,
    placed: Cell<usize>,
    started: Duration,
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
            incarnation,
            groups: Groups::new(config.node),
            config,
            clock,
            peers,
            lanes,
            log: RefCell::new(None),
            view: ClusterView::default(),
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

    /// Which one it is.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// How many shards the node runs.
    pub fn shards(&self) -> u16 {
        self.lanes.shards()
    }

    /// The node's data directory.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Configuration of the node; the same for all shards.
    pub fn config(&self) -> &Rc<NodeConfig> {
        &self.config
    }

    /// The stamps of everything it sends and proposes.
    pub fn clock(&self) -> &Rc<Clock<E>> {
        &self.clock
    }

    /// Its links to other nodes.
    pub fn peers(&self) -> &Rc<Peers<E>> {
        &self.peers
    }

    /// Its ends of the lanes to the other shards.
    pub fn lanes(&self) -> &Rc<Lanes<E>> {
        &self.lanes
    }

    /// The shard's log; none while the node is pending.
    pub fn log(&self) -> Option<Log<E::Disk>> {
        self.log.borrow().clone()
    }

    /// The log is open.
    pub fn set_log(&self, log: Log<E::Disk>) {
        let before = self.log.replace(Some(log));
        debug_assert!(before.is_none(), "a log is opened once");
    }

    /// The room that its log has; none while there is no log.
    pub fn space(&self) -> Option<Space> {
        self.log.borrow().as_ref().map(Log::space)
    }

    /// Its groups: those whose replicas are open.
    pub fn groups(&self) -> &Rc<Groups<E>> {
        &self.groups
    }

    /// The group, if this shard owns it and its replica is open.
    pub fn group(&self, id: GroupId) -> Option<Rc<Group<E>>> {
        self.groups.get(id)
    }

    /// Adds a group; requests for it are served from now on.
    pub fn insert_group(&self, group: Rc<Group<E>>) {
        debug_assert_eq!(group.id().shard(self.shards()), self.id, "a group belongs to one shard");
        self.groups.insert(group);
    }

    /// What a group needs of this shard.
    pub fn group_context(&self) -> GroupContext<E> {
        GroupContext {
            shard: self.id,
            config: self.config.clone(),
            clock: self.clock.clone(),
            peers: self.peers.clone(),
            lanes: self.lanes.clone(),
        }
    }

    /// What it knows of the cluster.
    pub fn view(&self) -> &ClusterView {
        &self.view
    }

    /// The data directory of a node, from a live link or from the meta group.
    pub fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        self.peers.incarnation_of(node).or_else(|| self.view.incarnation_of(node))
    }

    /// Whether clients' requests are refused: the node is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Refuses clients' requests from now on.
    pub fn drain(&self) {
        self.draining.set(true);
    }

    /// Requests in flight that count against the shard.
    pub fn load(&self) -> &Rc<Load> {
        &self.load
    }

    /// Questions about the node's state in flight.
    pub(crate) fn questions(&self) -> &Rc<Load> {
        &self.questions
    }

    /// Answers that wait for clients.
    pub fn unsent(&self) -> &Rc<Budget> {
        &self.unsent
    }

    /// What clients sent of frames that are not whole yet.
    pub(crate) fn client_reads(&self) -> &Rc<ReadBuffer> {
        &self.client_reads
    }

    /// What clients have sent of frames that are not whole yet, in bytes, but for the first 4 KiB of each.
    pub fn unread(&self) -> usize {
        self.client_reads.budget().held()
    }

    /// Who is let in, counted over all shards of the node.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Open client connections.
    pub fn connections(&self) -> u32 {
        self.connections.get()
    }

    /// One connection more.
    pub(crate) fn connection_opened(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    /// One connection less.
    pub(crate) fn connection_closed(&self) {
        self.connections.set(self.connections.get() - 1);
    }

    /// When the node started, as time since boot.
    pub fn started(&self) -> Duration {
        self.started
    }

    /// What the node found that it waits for, for a person; what the groups show comes on top of it.
    pub fn waiting(&self) -> String {
        self.waiting.borrow().clone()
    }

    /// Prints what the node waits for; an empty text prints nothing.
    pub fn set_waiting(&self, why: impl Into<String>) {
        *self.waiting.borrow_mut() = why.into();
    }

    /// What is wrong with the nodes' clocks, for a person; empty when nothing is.
    pub(super) fn clocks(&self) -> String {
        self.clocks.borrow().clone()
    }

    /// Prints what is wrong with the nodes' clocks; an empty text prints nothing.
    pub fn set_clocks(&self, why: String) {
        *self.clocks.borrow_mut() = why;
    }

    /// How many groups have their place here, open or not.
    pub(super) fn placed(&self) -> usize {
        self.placed.get()
    }

    pub(super) fn set_placed(&self, groups: usize) {
        self.placed.set(groups);
    }
}
