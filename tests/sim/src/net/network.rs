//! What all connections share: who listens where, what is cut, how long bytes take.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    task::Waker,
    time::Duration,
};

use super::{connection::End, pipe::Pipe};
use crate::exec::{NodeId, SimRng, Timers, mix};

/// The least and the most that bytes take from one node to another, unless a test says otherwise.
const DEFAULT_DELAY_NANOS: (u64, u64) = (50_000, 500_000);
/// Connections that may wait for `accept`.
const BACKLOG: usize = 1024;
/// The first port that is given to who asks for any.
const FIRST_FREE_PORT: u16 = 40_000;

/// A socket that accepts.
pub(super) struct Listening {
    pub(super) node: NodeId,
    pub(super) addr: SocketAddr,
    shared: bool,
    pub(super) waiting: RefCell<VecDeque<Rc<End>>>,
    pub(super) acceptor: RefCell<Option<Waker>>,
}

/// A direction of a connection that is broken for one side alone; for both once this is dropped.
pub struct Broken(Rc<Pipe>);

impl Drop for Broken {
    fn drop(&mut self) {
        self.0.reset();
    }
}

/// The network of one world.
pub struct Network {
    timers: Rc<Timers>,
    rng: SimRng,
    delay_nanos: Cell<(u64, u64)>,
    /// Links that take another time than the rest.
    link_nanos: RefCell<BTreeMap<(NodeId, NodeId), (u64, u64)>>,
    cuts: RefCell<BTreeSet<(NodeId, NodeId)>>,
    listening: RefCell<BTreeMap<SocketAddr, Vec<Weak<Listening>>>>,
    pipes: RefCell<Vec<Weak<Pipe>>>,
    /// Connections between two shards, by the node they belong to and number.
    detached: RefCell<BTreeMap<(NodeId, u64), Rc<End>>>,
    next_detached: Cell<u64>,
    next_port: Cell<u16>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("cuts", &self.cuts).finish_non_exhaustive()
    }
}

impl Network {
    pub(crate) fn new(timers: Rc<Timers>, rng: SimRng) -> Self {
        Self {
            timers,
            rng,
            delay_nanos: Cell::new(DEFAULT_DELAY_NANOS),
            link_nanos: RefCell::default(),
            cuts: RefCell::default(),
            listening: RefCell::default(),
            pipes: RefCell::default(),
            detached: RefCell::default(),
            next_detached: Cell::new(0),
            next_port: Cell::new(FIRST_FREE_PORT),
        }
    }

    /// From now on bytes take between `least` and `most` nanoseconds.
    pub fn set_delay_nanos(&self, least: u64, most: u64) {
        self.delay_nanos.set((least, most));
    }

    /// From now on bytes on the link, which is from one node to another, take between the least and the most of so many
    /// nanoseconds; with `None` what they take everywhere.
    pub fn set_link_delay_nanos(&self, link: (NodeId, NodeId), range: Option<(u64, u64)>) {
        let mut links = self.link_nanos.borrow_mut();
        match range {
            Some(range) => drop(links.insert(link, range)),
            None => drop(links.remove(&link)),
        }
    }

    /// Lets nothing pass from one node to another, until healed.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.cuts.borrow_mut().insert((from, to));
    }

    /// Lets everything pass from one node to another again, what waited first.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.cuts.borrow_mut().remove(&(from, to));
        self.stir(|pipe| [(from, to), (to, from)].contains(&(pipe.from, pipe.to)));
    }

    /// Takes all cuts back.
    pub fn heal_all(&self) {
        self.cuts.borrow_mut().clear();
        self.stir(|_| true);
    }

    /// Breaks the connections that two processes have with each other; both learn of it at once.
    pub fn reset(&self, one: NodeId, two: NodeId) {
        for pipe in self.live_pipes() {
            if [(one, two), (two, one)].contains(&(pipe.from, pipe.to)) {
                pipe.reset();
            }
        }
    }

    /// Breaks the connections that two processes have with each other: `one` learns of it at once; what it has sent arrives
    /// after `lag`. The other process learns of it when what this returns is dropped.
    pub fn reset_late(&self, one: NodeId, two: NodeId, lag: Duration) -> Vec<Broken> {
        let pipes = self.live_pipes().into_iter();
        let between = pipes.filter(|pipe| [(one, two), (two, one)].contains(&(pipe.from, pipe.to)));
        between
            .map(|pipe| {
                if pipe.from == one {
                    pipe.reset_for_writer(lag);
                } else {
                    pipe.reset_for_reader();
                }
                Broken(pipe)
            })
            .collect()
    }

    fn stir(&self, which: impl Fn(&Pipe) -> bool) {
        for pipe in self.live_pipes() {
            if which(&pipe) {
                pipe.stir();
            }
        }
    }

    fn live_pipes(&self) -> Vec<Rc<Pipe>> {
        self.pipes.borrow().iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn register(&self, pipe: &Rc<Pipe>) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() == pipes.capacity() {
            pipes.retain(|pipe| pipe.strong_count() > 0);
        }
        pipes.push(Rc::downgrade(pipe));
    }

    /// True while nothing passes from one node to another.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.borrow().contains(&(from, to))
    }

    pub(super) fn now(&self) -> u64 {
        self.timers.now()
    }

    /// When bytes that leave now arrive.
    pub(super) fn arrival(&self, from: NodeId, to: NodeId) -> u64 {
        let link = self.link_nanos.borrow().get(&(from, to)).copied();
        let (least, most) = link.unwrap_or_else(|| self.delay_nanos.get());
        self.now() + self.rng.between(least, most)
    }

    /// Breaks what `node` had open, as far as the other side can learn of it.
    pub(crate) fn forget_node(&self, node: NodeId) {
        let detached: Vec<_> =
            self.detached.borrow_mut().extract_if((node, 0)..=(node, u64::MAX), |_, _| true).collect();
        drop(detached);
        for pipe in self.live_pipes() {
            let heard = if pipe.from == node { !self.is_cut(node, pipe.to) } else { !self.is_cut(node, pipe.from) };
            if (pipe.from == node || pipe.to == node) && heard {
                pipe.reset();
            }
        }
    }

    pub(super) fn listen(&self, node: NodeId, mut addr: SocketAddr, shared: bool) -> io::Result<Rc<Listening>> {
        let mut listening = self.listening.borrow_mut();
        while addr.port() == 0 {
            let port = self.next_port.get();
            self.next_port.set(port.checked_add(1).unwrap_or(FIRST_FREE_PORT));
            if !listening.contains_key(&SocketAddr::new(addr.ip(), port)) {
                addr.set_port(port);
            }
        }
        let others = listening.entry(addr).or_default();
        others.retain(|other| other.strong_count() > 0);
        if others.iter().filter_map(Weak::upgrade).any(|other| !shared || !other.shared || other.node != node) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let new = Rc::new(Listening { node, addr, shared, waiting: RefCell::default(), acceptor: RefCell::default() });
        others.push(Rc::downgrade(&new));
        Ok(new)
    }

    /// One of those who listen on `addr`.
    pub(super) fn find(&self, addr: SocketAddr) -> Option<Rc<Listening>> {
        let listening = self.listening.borrow();
        let there: Vec<_> = listening.get(&addr)?.iter().filter_map(Weak::upgrade).collect();
        let open: Vec<_> = there.iter().filter(|one| one.waiting.borrow().len() < BACKLOG).collect();
        let chosen = self.rng.below(open.len() as u64) as usize;
        open.get(chosen).map(|one| Rc::clone(one))
    }

    /// The node that listens on `addr`.
    pub(super) fn node_of(&self, addr: SocketAddr) -> Option<NodeId> {
        self.listening.borrow().get(&addr)?.iter().find_map(Weak::upgrade).map(|one| one.node)
    }

    /// Where a connection of `node` seems to come from.
    pub(super) fn client_addr(&self, node: NodeId) -> SocketAddr {
        let [.., high, low] = node.to_be_bytes();
        let port = FIRST_FREE_PORT + (mix(self.rng.draw()) % u64::from(u16::MAX - FIRST_FREE_PORT)) as u16;
        SocketAddr::from(([10, 0, high, low], port))
    }

    pub(super) fn detach(&self, node: NodeId, end: Rc<End>) -> u64 {
        let number = self.next_detached.get();
        self.next_detached.set(number + 1);
        self.detached.borrow_mut().insert((node, number), end);
        number
    }

    pub(super) fn adopt(&self, node: NodeId, number: u64) -> Option<Rc<End>> {
        self.detached.borrow_mut().remove(&(node, number))
    }
}
