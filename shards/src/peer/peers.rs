//! A shard's view of all other nodes.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::limits::SHARD_IN_FLIGHT;
use kahuna_protocol::{ClusterId, GroupId, Header, Hlc, Incarnation, NodeId, ShardId};

use super::accepted::Accepted;
use super::call::Calls;
use super::handshake::Introduction;
use super::outgoing::Outgoing;
use super::pulse::Pulse;
use super::remote::Remote;
use super::skew::Offset;
use super::{AddressSource, LastAddresses, LocalNode, NodeEvent, PeerHandler, PeerLimits, PeerView};
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::Timing;
use crate::env::local::Signal;
use crate::env::{Env, Net};
use crate::request::Load;
use crate::unread::ReadBuffer;

/// As many links that take nothing may hold a small part of what waits each before others find no room.
const SMALL_PART: usize = 128;
/// Most that is read from a link at once.
const READ_BYTES: usize = 64 << 10;
/// Between two lines about connections that were refused.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// Most messages printed about one node before it is reached.
const MAX_COMPLAINTS: usize = 8;

/// The kinds of frames that belong together, by their numbers.
type Kinds = RangeInclusive<u16>;
/// Takes a peer's connection to the shard it belongs to, with everything that was read from it.
pub(super) type HandOver<E> = Rc<dyn Fn(ShardId, <<E as Env>::Net as Net>::Detached, Bytes)>;

/// A shard's links to all other nodes, in both directions, and what it knows of those nodes.
///
/// One per shard, shared by its groups. [`Peers::set_handler`] comes before the first connection is accepted.
pub struct Peers<E: Env> {
    pub(super) local: RefCell<LocalNode>,
    pub(super) clock: Rc<Clock<E>>,
    pub(super) timing: Timing,
    pub(super) limits: PeerLimits,
    pub(super) calls: Rc<Calls>,
    /// What waits to be written to all other nodes.
    pub(super) unsent: Rc<Budget>,
    pub(super) reads: Rc<ReadBuffer>,
    /// Raft messages that this shard's replicas have not answered yet.
    pub(crate) unanswered: Rc<Load>,
    handler: RefCell<Option<Rc<dyn PeerHandler>>>,
    handlers: RefCell<Vec<(Kinds, Rc<dyn PeerHandler>)>>,
    pub(super) hand_over: RefCell<Option<HandOver<E>>>,
    pub(super) accepted: Accepted,
    pub(super) closed: Cell<bool>,
    /// A node was added, or, before the clocks were judged, one more clock was heard.
    pub(super) to_watch: Signal,
    pub(super) unreached: RefCell<Vec<NodeId>>,
    /// A node was reached, or its address changed.
    pub(super) moved: Signal,
    progress: RefCell<Arc<[AtomicU64]>>,
    /// Whether the node's watcher has reported anything yet.
    watches: Cell<bool>,
    remotes: RefCell<Vec<Rc<Remote>>>,
    said_at: Cell<Option<Duration>>,
    /// Messages that make no sense.
    refused: Cell<u64>,
    next_id: Cell<u64>,
    next_serial: Cell<u64>,
}

impl<E: Env> Peers<E> {
    /// Links of the node and shard `local`, to no other node as yet.
    pub fn new(local: LocalNode, clock: Rc<Clock<E>>, timing: Timing, limits: PeerLimits) -> Rc<Self> {
        assert!(local.node.0 != 0 && local.incarnation.0 != 0 && local.shard.0 < local.shards, "{local:?}");
        Rc::new(Self {
            local: RefCell::new(local),
            clock,
            timing,
            limits,
            calls: Rc::default(),
            unsent: Budget::new(limits.shard_queue_bytes(), limits.shard_queue_bytes() / SMALL_PART),
            reads: ReadBuffer::new(
                READ_BYTES,
                Budget::new(limits.shard_unread_bytes(), limits.max_frame_bytes as usize),
            ),
            unanswered: Load::new(SHARD_IN_FLIGHT, limits.unanswered_bytes),
            handler: RefCell::new(None),
            handlers: RefCell::default(),
            hand_over: RefCell::new(None),
            accepted: Accepted::default(),
            closed: Cell::new(false),
            to_watch: Signal::default(),
            unreached: RefCell::default(),
            moved: Signal::default(),
            progress: RefCell::new(Arc::new([])),
            watches: Cell::new(false),
            remotes: RefCell::default(),
            said_at: Cell::new(None),
            refused: Cell::new(0),
            next_id: Cell::new(1),
            next_serial: Cell::new(1),
        })
    }

    /// Who takes the frames of `kinds` that come from other nodes.
    pub fn set_handler_of(&self, kinds: Kinds, handler: Rc<dyn PeerHandler>) {
        self.handlers.borrow_mut().push((kinds, handler));
    }

    /// Sets the handler of the frames whose kind has no handler of its own.
    pub fn set_handler(&self, handler: Rc<dyn PeerHandler>) {
        let before = self.handler.replace(Some(handler));
        drop(before);
    }

    /// One counter per shard that every pulse carries to the other nodes: each shard counts its own up as it runs.
    pub fn set_progress(&self, progress: Arc<[AtomicU64]>) {
        self.progress.replace(progress);
    }

    /// The node belongs to this cluster from now on.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.local.borrow_mut().cluster = cluster;
    }

    /// This node's own addresses, as it announces them: (clients, peers). For ports that were taken after construction.
    pub fn set_local_addresses(&self, client_address: String, peer_address: String) {
        let mut local = self.local.borrow_mut();
        local.client_address = client_address;
        local.peer_address = peer_address;
    }

    /// Where the other nodes are, by the word of `source`, and their data directories as far as the cluster has them on
    /// record: a node that shows another one is refused. Adds and updates; this node itself is passed over.
    pub fn set_addresses(&self, source: AddressSource, nodes: Vec<(NodeId, Option<Incarnation>, String)>) {
        for (node, incarnation, address) in nodes {
            if node == self.local.borrow().node {
                continue;
            }
            let remote = self.remote(node).unwrap_or_else(|| {
                let remote = Remote::new(node, self.mint_serial());
                let mut remotes = self.remotes.borrow_mut();
                remotes.push(remote.clone());
                remotes.sort_by_key(|remote| remote.node);
                self.to_watch.notify();
                remote
            });
            let other = incarnation.is_some() && remote.incarnation().is_some_and(|known| Some(known) != incarnation);
            if let Some(incarnation) = incarnation {
                remote.put_on_record(incarnation);
            }
            remote.addresses.borrow_mut().put(source, &address);
            self.moved.notify();
            if other {
                remote.close_links(0);
                self.accepted.close_node(node);
            }
        }
    }

    /// Whether the cluster has this data directory on record for the node.
    pub fn has_on_record(&self, node: NodeId, incarnation: Incarnation) -> bool {
        self.remote(node).is_some_and(|remote| remote.on_record() == Some(incarnation))
    }

    /// Where the nodes that the cluster has on record were last, ascending by node.
    pub fn last_addresses(&self) -> Vec<LastAddresses> {
        let last = |remote: &Rc<Remote>| {
            let incarnation = remote.on_record()?;
            let addresses = remote.addresses.borrow();
            let (reached, recorded) = addresses.last();
            let known = !(reached.is_empty() && recorded.is_empty());
            known.then(|| LastAddresses {
                node: remote.node,
                incarnation,
                reached: reached.to_owned(),
                recorded: recorded.to_owned(),
            })
        };
        self.remotes.borrow().iter().filter_map(last).collect()
    }

    /// Returns once [`last_addresses`](Self::last_addresses) may have changed since the previous call, or all links were
    /// closed. For one task at a time.
    pub async fn moved(&self) {
        self.moved.wait().await;
    }

    /// Whether all links were ended for good.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// What is known of a node; `None` before its first introduction.
    pub fn peer(&self, node: NodeId) -> Option<PeerView> {
        self.remote(node)?.view()
    }

    /// The node with this data directory.
    pub fn node_of(&self, incarnation: Incarnation) -> Option<NodeId> {
        let local = self.local.borrow();
        if local.incarnation == incarnation {
            return Some(local.node);
        }
        self.by_incarnation(incarnation).map(|remote| remote.node)
    }

    /// The data directory of a node, on record or as it introduced itself.
    pub fn incarnation_of(&self, node: NodeId) -> Option<Incarnation> {
        let local = self.local.borrow();
        if local.node == node {
            return Some(local.incarnation);
        }
        self.remote(node)?.incarnation()
    }

    /// Why the name of a node's address could not be resolved at the last attempt, for a person.
    pub fn unresolved(&self, node: NodeId) -> Option<String> {
        self.remote(node)?.unresolved.borrow().clone()
    }

    /// All other nodes whose address is known, ascending.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.remotes.borrow().iter().map(|remote| remote.node).collect()
    }

    /// This node as it introduces itself.
    pub fn local(&self) -> LocalNode {
        self.local.borrow().clone()
    }

    /// Longest payload of a frame between nodes in bytes, prelude included.
    pub fn max_frame_bytes(&self) -> u32 {
        self.limits.max_frame_bytes
    }

    /// The nodes that are up, by the last word of the node's watcher, ascending.
    pub fn alive(&self) -> Vec<NodeId> {
        let remotes = self.remotes.borrow();
        remotes.iter().filter(|remote| remote.up_boot().is_some()).map(|remote| remote.node).collect()
    }

    /// Takes the watcher's word on a node; every shard gets every event. A node under a new boot is dialled again at
    /// once.
    pub(crate) fn on_node_event(&self, event: &NodeEvent) {
        let now = E::boot_clock();
        self.watches.set(true);
        match *event {
            NodeEvent::Up { node, boot_id, .. } => {
                let Some(remote) = self.remote(node) else { return };
                remote.set_up(Some(boot_id), now);
                if remote.boot_id().is_some_and(|known| known != boot_id) {
                    remote.close_links(0);
                }
            }
            NodeEvent::Down { node, .. } => {
                if let Some(remote) = self.remote(node) {
                    remote.set_up(None, now);
                }
            }
            NodeEvent::Heard { node, boot_id, .. } => {
                if let Some(remote) = self.remote(node) {
                    remote.set_heard(Some(boot_id));
                }
            }
            NodeEvent::Unheard { node, .. } => {
                if let Some(remote) = self.remote(node) {
                    remote.set_heard(None);
                }
            }
            NodeEvent::Stalled { node, shard, .. } | NodeEvent::Resumed { node, shard } => {
                if let Some(remote) = self.remote(node) {
                    remote.set_stalled(shard, matches!(event, NodeEvent::Stalled { .. }));
                }
            }
        }
    }

    /// Boot id under which the node of a data directory is up, by the watcher's last report; `None` if the shard that owns
    /// `group` is stalled.
    pub(crate) fn boot_of(&self, incarnation: Incarnation, group: GroupId) -> Option<u64> {
        let remote = self.by_incarnation(incarnation)?;
        remote.up_boot().filter(|_| !remote.is_stalled(group))
    }

    /// Boot id under which pulses of the node of a data directory arrive, by the watcher's last report; `None` if the shard
    /// that owns `group` is stalled.
    pub(crate) fn heard_boot_of(&self, incarnation: Incarnation, group: GroupId) -> Option<u64> {
        let remote = self.by_incarnation(incarnation)?;
        remote.heard_boot().filter(|_| !remote.is_stalled(group))
    }

    /// The boot under which the pulses of the node of a data directory come.
    pub(crate) fn heard_boot(&self, incarnation: Incarnation) -> Option<u64> {
        self.by_incarnation(incarnation)?.heard_boot()
    }

    /// Whether a message may reach the node of a data directory: it is not known to be down. Nothing is known of any node
    /// before one of them was up.
    pub(crate) fn is_reachable(&self, incarnation: Incarnation) -> bool {
        !self.watches.get() || self.by_incarnation(incarnation).is_some_and(|remote| remote.up_boot().is_some())
    }

    /// The shard of another node that owns `group` there, once its shards are known.
    pub(crate) fn shard_of(&self, node: NodeId, group: GroupId) -> Option<ShardId> {
        self.remote(node)?.shard_of(group)
    }

    /// When a frame of a node came last, as time since boot; zero for never.
    pub(crate) fn last_heard(&self, node: NodeId) -> Duration {
        self.remote(node).map_or(Duration::ZERO, |remote| remote.last_heard())
    }

    /// Ends all links, for good: calls that wait fail, further ones are not sent, no connection is taken any more.
    pub fn close(&self) {
        self.closed.set(true);
        let remotes = self.remotes.borrow().clone();
        remotes.iter().for_each(|remote| remote.close_links(0));
        self.accepted.close_all();
        self.to_watch.notify();
        self.moved.notify();
        remotes.iter().for_each(|remote| remote.disturbed.notify());
        let handlers = (self.handler.take(), self.handlers.take());
        drop(handlers);
    }

    /// The handler of frames of this kind, if there is one.
    pub(super) fn handler_of(&self, kind: u16) -> Option<Rc<dyn PeerHandler>> {
        let handlers = self.handlers.borrow();
        let taken = handlers.iter().find(|(kinds, _)| kinds.contains(&kind));
        taken.map(|(_, handler)| handler.clone()).or_else(|| self.handler.borrow().clone())
    }

    pub(super) fn remote(&self, node: NodeId) -> Option<Rc<Remote>> {
        self.remotes.borrow().iter().find(|remote| remote.node == node).cloned()
    }

    pub(super) fn by_incarnation(&self, incarnation: Incarnation) -> Option<Rc<Remote>> {
        self.remotes.borrow().iter().find(|remote| remote.incarnation() == Some(incarnation)).cloned()
    }

    pub(super) fn introduction(&self) -> Introduction {
        Introduction::of(&self.local.borrow(), self.limits.max_frame_bytes)
    }

    pub(super) fn outgoing(&self) -> Rc<Outgoing> {
        let clock = self.clock.clone();
        let stamp: Box<dyn Fn() -> Hlc> = Box::new(move || clock.stamp());
        Outgoing::new(self.limits.queue_bytes, self.limits.max_frame_bytes, stamp, &self.unsent)
    }

    /// Bytes of frames that other nodes have sent and that are not whole yet, but for the first 4 KiB of each.
    pub fn unread_bytes(&self) -> usize {
        self.reads.budget().held()
    }

    /// Bytes that wait to be written to all other nodes.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.held()
    }

    pub(super) fn pulse(&self) -> Pulse {
        let local = self.local.borrow();
        let progress = self.progress.borrow();
        Pulse {
            boot_id: local.boot_id,
            wall_ns: E::wall_clock().0,
            agreed_ns: self.clock.agreed().map_or(0, |agreed| agreed.0),
            cluster: local.cluster,
            progress: progress.iter().map(|counter| counter.load(Ordering::Relaxed)).collect(),
        }
    }

    /// A heartbeat of `remote` came, or an answer to one. False if the node belongs to another cluster.
    pub(super) fn on_pulse(&self, remote: &Remote, pulse: &Pulse) -> bool {
        let (own, theirs) = (self.local.borrow().cluster, pulse.cluster);
        if !own.is_none() && !theirs.is_none() && own != theirs {
            return false;
        }
        remote.set_cluster(theirs);
        true
    }

    /// The other nodes' clocks that were heard since the previous call of [`take_offsets`](Self::take_offsets), which takes
    /// them.
    pub(super) fn offsets(&self) -> Vec<Offset> {
        self.remotes.borrow().iter().filter_map(|remote| remote.offset()).collect()
    }

    /// The other nodes' clocks, as pulses showed them since the previous call.
    pub(super) fn take_offsets(&self) -> Vec<Offset> {
        self.remotes.borrow().iter().filter_map(|remote| remote.take_offset()).collect()
    }

    /// Every frame that comes moves the clock.
    pub(super) fn observe(&self, header: &Header) {
        self.clock.observe(header.hlc);
    }

    pub(super) fn mint_serial(&self) -> u64 {
        self.next_serial.replace(self.next_serial.get() + 1)
    }

    pub(super) fn mint_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Counts a message of the node `from` that was refused as malformed, and prints it.
    pub(crate) fn refused(&self, from: Incarnation, text: &str) {
        self.refused.set(self.refused.get() + 1);
        let node = self.node_of(from).map_or_else(|| format!("{from:016x}"), |node| node.to_string());
        self.say(&format!("node {node}: {text} (refused so far: {})", self.refused.get()));
    }

    /// How many messages of other nodes were refused because they make no sense.
    pub fn refused_messages(&self) -> u64 {
        self.refused.get()
    }

    /// Prints what strangers sent, at most once a second: a refused stranger tries again.
    pub(super) fn say(&self, text: &str) {
        let now = E::boot_clock();
        if self.said_at.get().is_none_or(|said_at| now > said_at + SAY_EVERY) {
            self.said_at.set(Some(now));
            crate::say!("node {}: {text}", self.local.borrow().node);
        }
    }

    /// Prints what is wrong with a node, each message once until the node is reached again.
    pub(super) fn complain(&self, remote: &Remote, text: &str) {
        let mut complaints = remote.complaints.borrow_mut();
        if complaints.len() < MAX_COMPLAINTS && complaints.iter().all(|said| said != text) {
            crate::say!("node {}: {text}", self.local.borrow().node);
            complaints.push(text.to_owned());
        }
    }
}
