//! A shard's view of all other nodes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ClusterId, GroupId, Header, Hlc, Incarnation, NodeId, ShardId};

use super::accept::Accepted;
use super::call::{Answer, Calls};
use super::handshake::Introduction;
use super::link::{Connection, Link, Ready};
use super::notice::Notice;
use super::outgoing::{Outgoing, encode_limited};
use super::pulse::{KIND_PROBE, Pulse};
use super::remote::Remote;
use super::skew::Offset;
use super::{CallError, Calling, LocalNode, NodeEvent, PeerHandler, PeerLimits, PeerView};
use crate::clock::Clock;
use crate::config::Timing;
use crate::env::{Env, Net};

/// Calls of one shard that may wait for their answers at once.
const MAX_CALLS: usize = 1 << 17;

/// Between two lines about connections that were refused.
const SAY_EVERY: Duration = Duration::from_secs(1);

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
    pub(super) handler: RefCell<Option<Rc<dyn PeerHandler>>>,
    pub(super) hand_over: RefCell<Option<HandOver<E>>>,
    pub(super) accepted: Accepted,
    pub(super) closed: Cell<bool>,
    /// A node was added.
    pub(super) nodes_changed: Notice,
    progress: RefCell<Arc<[AtomicU64]>>,
    remotes: RefCell<Vec<Rc<Remote>>>,
    said_at: Cell<Option<Duration>>,
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
            handler: RefCell::new(None),
            hand_over: RefCell::new(None),
            accepted: Accepted::default(),
            closed: Cell::new(false),
            nodes_changed: Notice::default(),
            progress: RefCell::new(Arc::new([])),
            remotes: RefCell::default(),
            said_at: Cell::new(None),
            next_id: Cell::new(1),
            next_serial: Cell::new(1),
        })
    }

    /// Who takes the frames that come from other nodes.
    pub fn set_handler(&self, handler: Rc<dyn PeerHandler>) {
        let before = self.handler.replace(Some(handler));
        drop(before);
    }

    /// One counter per shard that other nodes are told with every heartbeat: each shard counts its own up as it runs.
    pub fn set_progress(&self, progress: Arc<[AtomicU64]>) {
        self.progress.replace(progress);
    }

    /// The node belongs to this cluster from now on.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.local.borrow_mut().cluster = cluster;
    }

    /// This node's own addresses, as others are told: (clients, peers). For ports that were taken after construction.
    pub fn set_local_addresses(&self, client_address: String, peer_address: String) {
        let mut local = self.local.borrow_mut();
        local.client_address = client_address;
        local.peer_address = peer_address;
    }

    /// Where the other nodes are, and their data directories as far as the cluster has them on record: a node that shows
    /// another one is refused. Adds and updates; this node itself is passed over.
    pub fn set_addresses(&self, nodes: Vec<(NodeId, Option<Incarnation>, String)>) {
        for (node, incarnation, address) in nodes {
            if node == self.local.borrow().node {
                continue;
            }
            let remote = self.remote(node).unwrap_or_else(|| {
                let remote = Remote::new(node, self.mint_serial(), address.clone());
                let mut remotes = self.remotes.borrow_mut();
                remotes.push(remote.clone());
                remotes.sort_by_key(|remote| remote.node);
                self.nodes_changed.notify();
                remote
            });
            let moved = *remote.address.borrow() != address;
            let other = incarnation.is_some() && remote.incarnation().is_some_and(|known| Some(known) != incarnation);
            if let Some(incarnation) = incarnation {
                remote.put_on_record(incarnation);
            }
            remote.address.replace(address);
            if moved || other {
                remote.close_links(0);
            }
            if other {
                self.accepted.close_node(node);
            }
        }
    }

    /// Sends one frame to the shard of node `to` that owns `prelude.group`, and gives its answer.
    ///
    /// The frame is in the link's buffer when this returns: calls for one group arrive in the order in which they were made
    /// as long as the link stands. `payload` writes what follows the prelude; it must not call back into the peers. The
    /// link is dialled if there is none. `timeout` ends the wait, not the call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(
        self: &Rc<Self>,
        to: Incarnation,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        timeout: Duration,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Calling<E> {
        match self.by_incarnation(to) {
            Some(remote) => self.call_remote(&remote, prelude, kind, flags, timeout, payload),
            None => Calling::failed(CallError::NotSent(
                format!("no node is known with the data directory {:016x}", to.0).into(),
            )),
        }
    }

    pub(super) fn call_remote(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        timeout: Duration,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Calling<E> {
        match self.queue(remote, prelude, kind, flags, payload) {
            Ok((id, answer)) => Calling::new(&self.calls, id, answer, timeout),
            Err(error) => Calling::failed(error),
        }
    }

    fn queue(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u64, Answer), CallError> {
        if self.closed.get() {
            return Err(CallError::NotSent("the node stops".into()));
        }
        if self.calls.len() >= MAX_CALLS {
            return Err(CallError::Busy);
        }
        let group = GroupId(prelude.group);
        let Some(shard) = remote.shard_of(group) else {
            return self.queue_in_lobby(remote, prelude, kind, flags, payload);
        };
        let link = remote.link(shard);
        let connection = self.connection(remote, &link, shard)?;
        if !connection.out.has_room() {
            return Err(CallError::Busy);
        }
        let id = self.mint_id();
        let pushed = connection.out.push_call(kind, flags, id, prelude, payload);
        pushed.map_err(too_long)?;
        Ok((id, self.calls.begin(id, connection.serial, prelude)))
    }

    /// The connection of `link`, dialled now if there is none.
    fn connection(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        link: &Rc<Link>,
        shard: ShardId,
    ) -> Result<Connection, CallError> {
        match link.ready(E::boot_clock()) {
            Ready::Queue { connection, probe } => {
                if probe {
                    // Nobody waits for the answer: that something comes is the answer.
                    let id = self.mint_id();
                    let pushed = connection.out.push_call(KIND_PROBE, 0, id, PeerPrelude::default(), |_| {});
                    pushed.map_err(too_long)?;
                }
                Ok(connection)
            }
            Ready::Dial => {
                let connection = Connection { serial: self.mint_serial(), out: self.outgoing() };
                link.begin(connection.clone());
                let dial = self.clone().dial(remote.clone(), link.clone(), shard, connection.clone());
                E::spawn(dial);
                Ok(connection)
            }
            Ready::Down(reason) => Err(CallError::NotSent(reason)),
        }
    }

    /// Keeps a call until the first handshake says how many shards the node has; shard 0 is there in any case.
    fn queue_in_lobby(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u64, Answer), CallError> {
        let shard = ShardId(0);
        self.connection(remote, &remote.link(shard), shard)?;
        let mut lobby = remote.lobby.borrow_mut();
        if lobby.bytes >= self.limits.queue_bytes {
            return Err(CallError::Busy);
        }
        let mut frame = Vec::new();
        let id = self.mint_id();
        let max_payload = self.limits.max_frame_bytes;
        encode_limited(&mut frame, kind, flags, id, self.clock.now(), prelude, max_payload, payload)
            .map_err(too_long)?;
        lobby.bytes += frame.len();
        lobby.calls.push((id, GroupId(prelude.group), frame));
        Ok((id, self.calls.begin(id, remote.lobby_serial, prelude)))
    }

    /// A node introduced itself, over the connection `current` that was dialled to it or, with 0, over one of its own.
    pub(super) fn learn(self: &Rc<Self>, remote: &Rc<Remote>, from: &Introduction, current: u64) {
        remote.learn(from, current, E::boot_clock());
        // At once: the next call goes straight to its link, and must not overtake those that wait here.
        self.empty_lobby(remote);
    }

    /// The shards of `remote` are known: everybody in its lobby goes to the right link.
    fn empty_lobby(self: &Rc<Self>, remote: &Rc<Remote>) {
        let lobby = std::mem::take(&mut *remote.lobby.borrow_mut());
        for (id, group, frame) in lobby.calls {
            let shard = remote.shard_of(group).expect("the node has just introduced itself");
            match self.connection(remote, &remote.link(shard), shard) {
                Ok(connection) => {
                    if self.calls.assign(id, connection.serial) {
                        connection.out.push_encoded(id, &frame);
                    }
                }
                Err(error) => self.calls.fail_one(id, error),
            }
        }
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

    /// All other nodes whose address is known, ascending.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.remotes.borrow().iter().map(|remote| remote.node).collect()
    }

    /// This node as others are told.
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

    /// Takes the watcher's word on a node; every shard is told every event. A node under a new boot is dialled again at
    /// once.
    pub(super) fn on_node_event(&self, event: &NodeEvent) {
        let now = E::boot_clock();
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
        }
    }

    /// Ends all links, for good: calls that wait fail, further ones are not sent, no connection is taken any more.
    pub fn close(&self) {
        self.closed.set(true);
        let remotes = self.remotes.borrow().clone();
        remotes.iter().for_each(|remote| remote.close_links(0));
        self.accepted.close_all();
        self.nodes_changed.notify();
        remotes.iter().for_each(|remote| remote.disturbed.notify());
        let handler = self.handler.take();
        drop(handler);
    }

    pub(super) fn remote(&self, node: NodeId) -> Option<Rc<Remote>> {
        self.remotes.borrow().iter().find(|remote| remote.node == node).cloned()
    }

    fn by_incarnation(&self, incarnation: Incarnation) -> Option<Rc<Remote>> {
        self.remotes.borrow().iter().find(|remote| remote.incarnation() == Some(incarnation)).cloned()
    }

    pub(super) fn introduction(&self) -> Introduction {
        Introduction::of(&self.local.borrow(), self.limits.max_frame_bytes)
    }

    pub(super) fn outgoing(&self) -> Rc<Outgoing> {
        let clock = self.clock.clone();
        let stamp: Box<dyn Fn() -> Hlc> = Box::new(move || clock.now());
        Outgoing::new(self.limits.queue_bytes, self.limits.max_frame_bytes, stamp)
    }

    pub(super) fn pulse(&self) -> Pulse {
        let local = self.local.borrow();
        let progress = self.progress.borrow();
        Pulse {
            boot_id: local.boot_id,
            wall_ns: E::wall_clock().0,
            cluster: local.cluster.0,
            progress: progress.iter().map(|counter| counter.load(Ordering::Relaxed)).collect(),
        }
    }

    /// A heartbeat of `remote` came, or an answer to one. False when it shows that the node belongs elsewhere.
    pub(super) fn on_pulse(&self, remote: &Remote, pulse: &Pulse) -> bool {
        let (own, theirs) = (self.local.borrow().cluster, ClusterId(pulse.cluster));
        if !own.is_none() && !theirs.is_none() && own != theirs {
            return false;
        }
        remote.set_cluster(theirs);
        true
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

    fn mint_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Says what came from strangers, at most once a second: whoever is refused tries again, and may be anybody.
    pub(super) fn say(&self, text: &str) {
        let now = E::boot_clock();
        if self.said_at.get().is_none_or(|said_at| now > said_at + SAY_EVERY) {
            self.said_at.set(Some(now));
            eprintln!("node {}: {text}", self.local.borrow().node);
        }
    }

    /// Says once what is wrong with a node.
    pub(super) fn complain(&self, remote: &Remote, text: &str) {
        if *remote.complaint.borrow() != text {
            eprintln!("node {}: {text}", self.local.borrow().node);
            remote.complaint.replace(text.to_owned());
        }
    }
}

fn too_long(length: usize) -> CallError {
    CallError::NotSent(format!("a frame of {length} bytes is longer than that node takes").into())
}
