//! One other node: where it is, who it is, and the links that were dialled to it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::{ClusterId, GroupId, Incarnation, NodeId, ShardId};

use super::addresses::Addresses;
use super::handshake::Introduction;
use super::link::Link;
use super::skew::Offset;
use super::{AddressSource, PeerView};
use crate::budget::Share;
use crate::env::local::Signal;

/// Calls for a node whose shards are not counted yet: which link they belong on is not known.
#[derive(Default)]
pub(super) struct Lobby {
    /// (request id, group, whole frame), in order.
    pub(super) calls: Vec<(u64, GroupId, Vec<u8>)>,
    /// What their frames count.
    pub(super) share: Option<Share>,
}

/// Another node.
pub(super) struct Remote {
    pub(super) node: NodeId,
    /// The number that [`Calls`](super::call::Calls) has for its lobby.
    pub(super) lobby_serial: u64,
    /// Where to dial.
    pub(super) addresses: RefCell<Addresses>,
    /// The data directory that the cluster has on record; the handshake must show no other.
    on_record: Cell<Option<Incarnation>>,
    pub(super) lobby: RefCell<Lobby>,
    /// Wakes the node's watcher: a link broke, or the node introduced itself.
    pub(super) disturbed: Signal,
    /// Messages printed since the node was reached last, so that each is printed once.
    pub(super) complaints: RefCell<Vec<String>>,
    /// Why the name of its address could not be resolved at the last attempt.
    pub(super) unresolved: RefCell<Option<String>>,
    view: RefCell<Option<PeerView>>,
    last_heard: Cell<Duration>,
    /// The boot under which it is up, and since when.
    up: Cell<Option<(u64, Duration)>>,
    /// The boot under which its pulses come, by the watcher's word.
    heard_boot: Cell<Option<u64>>,
    /// The boot and the time of the last pulse that came, on shard 0.
    pulse: Cell<Option<(u64, Duration)>>,
    /// Its shards that stand still although it is up.
    stalled: RefCell<BTreeSet<ShardId>>,
    offset: Cell<Option<Offset>>,
    links: RefCell<BTreeMap<ShardId, Rc<Link>>>,
}

impl Remote {
    /// A node of which nothing is known.
    pub(super) fn new(node: NodeId, lobby_serial: u64) -> Rc<Self> {
        Rc::new(Self {
            node,
            lobby_serial,
            addresses: RefCell::default(),
            on_record: Cell::new(None),
            lobby: RefCell::default(),
            disturbed: Signal::default(),
            complaints: RefCell::default(),
            unresolved: RefCell::new(None),
            view: RefCell::new(None),
            last_heard: Cell::new(Duration::ZERO),
            up: Cell::new(None),
            heard_boot: Cell::new(None),
            pulse: Cell::new(None),
            stalled: RefCell::default(),
            offset: Cell::new(None),
            links: RefCell::default(),
        })
    }

    /// The data directory that the cluster has on record.
    pub(super) fn on_record(&self) -> Option<Incarnation> {
        self.on_record.get()
    }

    /// The cluster has this data directory on record from now on. What was learned from another one is forgotten.
    pub(super) fn put_on_record(&self, incarnation: Incarnation) {
        self.on_record.set(Some(incarnation));
        self.view.borrow_mut().take_if(|view| view.incarnation != incarnation);
    }

    /// Its data directory, on record or as it introduced itself.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        self.on_record.get().or_else(|| self.view.borrow().as_ref().map(|view| view.incarnation))
    }

    /// The shard that owns `group` there, once its shards are known.
    pub(super) fn shard_of(&self, group: GroupId) -> Option<ShardId> {
        self.view.borrow().as_ref().map(|view| group.shard(view.shards))
    }

    /// As it introduced itself last.
    pub(super) fn view(&self) -> Option<PeerView> {
        let view = self.view.borrow().clone()?;
        let up_since = self.up.get().map_or(Duration::ZERO, |(_, since)| since);
        Some(PeerView { last_heard: self.last_heard.get(), up_since, ..view })
    }

    /// The watcher's word on it: up since `now` under a boot, or down. Gives what it was before.
    pub(super) fn set_up(&self, boot_id: Option<u64>, now: Duration) -> Option<u64> {
        self.stalled.borrow_mut().clear();
        if boot_id.is_none() {
            self.heard_boot.set(None);
        }
        self.up.replace(boot_id.map(|boot_id| (boot_id, now))).map(|(boot_id, _)| boot_id)
    }

    /// Boot id under which the watcher reported the node up.
    pub(super) fn up_boot(&self) -> Option<u64> {
        self.up.get().map(|(boot_id, _)| boot_id)
    }

    /// The watcher's word on its pulses: they come under this boot, or not.
    pub(super) fn set_heard(&self, boot_id: Option<u64>) {
        self.heard_boot.set(boot_id);
    }

    /// Boot id under which the watcher reported the node's pulses.
    pub(super) fn heard_boot(&self) -> Option<u64> {
        self.heard_boot.get()
    }

    /// A pulse of it came at `now`, from a process of this boot.
    pub(super) fn note_pulse(&self, boot_id: u64, now: Duration) {
        let before = self.pulse.replace(Some((boot_id, now)));
        if self.heard_boot.get() != Some(boot_id) || before.is_none() {
            self.disturbed.notify();
        }
    }

    /// The boot and the time of the last pulse that came.
    pub(super) fn pulse(&self) -> Option<(u64, Duration)> {
        self.pulse.get()
    }

    /// The watcher's word on one of its shards.
    pub(super) fn set_stalled(&self, shard: ShardId, stalled: bool) {
        let mut all = self.stalled.borrow_mut();
        if stalled {
            all.insert(shard);
        } else {
            all.remove(&shard);
        }
    }

    /// Whether the shard that owns `group` there stands still.
    pub(super) fn is_stalled(&self, group: GroupId) -> bool {
        self.shard_of(group).is_some_and(|shard| self.stalled.borrow().contains(&shard))
    }

    /// What an answer to a pulse showed of its clock.
    pub(super) fn set_offset(&self, offset: Offset) {
        self.offset.set(Some(offset));
    }

    /// What was heard of its clock since the previous call of [`take_offset`](Self::take_offset).
    pub(super) fn offset(&self) -> Option<Offset> {
        self.offset.get()
    }

    /// What the last pulse since the previous call showed of its clock.
    pub(super) fn take_offset(&self) -> Option<Offset> {
        self.offset.take()
    }

    /// A frame of it came at `now`.
    pub(super) fn heard(&self, now: Duration) {
        self.last_heard.set(now);
    }

    /// When a frame of it came last.
    pub(super) fn last_heard(&self) -> Duration {
        self.last_heard.get()
    }

    /// The boot it runs under, as far as known.
    pub(super) fn boot_id(&self) -> Option<u64> {
        self.view.borrow().as_ref().map(|view| view.boot_id)
    }

    /// Its cluster has become known.
    pub(super) fn set_cluster(&self, cluster: ClusterId) {
        if let Some(view) = self.view.borrow_mut().as_mut() {
            view.cluster = cluster;
        }
    }

    /// It introduced itself. What was dialled to an earlier boot, or by another count of shards, is closed, except for
    /// the connection `current`.
    pub(super) fn learn(&self, from: &Introduction, current: u64, now: Duration) {
        let view = PeerView {
            node: self.node,
            incarnation: from.incarnation,
            boot_id: from.boot_id,
            cluster: from.cluster,
            peer_set: from.peer_set.iter().map(|peer| (peer.node, peer.address.clone())).collect(),
            client_address: from.client_address.clone(),
            peer_address: from.peer_address.clone(),
            shards: from.shards,
            last_heard: now,
            up_since: Duration::ZERO,
        };
        self.heard(now);
        // If the node is not on record, the address is not trusted: two nodes may use one number.
        let on_record = self.on_record.get() == Some(from.incarnation);
        if on_record && self.addresses.borrow_mut().put(AddressSource::Introduced, &from.peer_address) {
            self.links.borrow().values().for_each(|link| link.retry_now());
        }
        let before = self.view.replace(Some(view));
        let same = |before: &PeerView| before.boot_id == from.boot_id && before.shards == from.shards;
        if before.as_ref().is_some_and(|before| !same(before)) {
            self.close_links(current);
        }
        self.disturbed.notify();
    }

    /// Forgets the data directory that was learned from an introduction; the next handshake provides the present one.
    pub(super) fn forget(&self) {
        if self.on_record.get().is_none() {
            self.view.take();
            self.close_links(0);
        }
    }

    /// The link to one of its shards.
    pub(super) fn link(&self, shard: ShardId) -> Rc<Link> {
        self.links.borrow_mut().entry(shard).or_default().clone()
    }

    /// Closes the connections of all links but `current`, and lets every link dial again at once.
    pub(super) fn close_links(&self, current: u64) {
        let links: Vec<Rc<Link>> = self.links.borrow().values().cloned().collect();
        links.iter().for_each(|link| link.close_unless(current));
    }
}
