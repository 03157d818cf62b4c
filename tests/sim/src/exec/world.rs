//! A world: everything one simulated run consists of.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use kahuna_shards::env::{Env, ExitCode, UnixNanos, local::polled};

use super::{
    Exit, NodeId, OUTSIDE, SimRng,
    clock::Timers,
    nodes::{Strand, WallClock},
    ready::{ReadyQueue, TaskId},
    rng::mix,
    tasks::Tasks,
};
use crate::{Sim, net::Network};

/// What one poll costs in virtual time. More than nothing, or a task that waits by yielding would stop the clock.
const POLL_NANOS: u64 = 1_000;

/// Streams of randomness.
const STREAM_SCHEDULE: u64 = 1;
const STREAM_TASKS: u64 = 2;
const STREAM_NET: u64 = 3;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The world that runs on this thread.
pub(crate) fn current() -> Rc<Core> {
    CURRENT.with_borrow(Clone::clone).expect("simulated code runs inside World::block_on")
}

/// A node, or one shard of it.
type Paused = (NodeId, Option<u16>);

/// What tasks can reach of their world.
pub(crate) struct Core {
    seed: u64,
    pub(crate) timers: Rc<Timers>,
    pub(crate) net: Rc<Network>,
    pub(super) rng: SimRng,
    schedule: SimRng,
    ready: ReadyQueue,
    tasks: Tasks,
    strand: Cell<Strand>,
    polls: Cell<u64>,
    clocks: RefCell<BTreeMap<NodeId, WallClock>>,
    exits: RefCell<Vec<Exit>>,
    /// Nodes, or shards of one, whose tasks do not run, and those of their tasks that would.
    paused: RefCell<BTreeMap<Paused, Vec<Waker>>>,
    trace: Cell<u64>,
}

/// The payload that unwinds out of a task whose node ends itself.
struct Aborting(Exit);

impl Core {
    /// The node of the task that is being polled.
    pub(crate) fn node(&self) -> NodeId {
        self.strand.get().node
    }

    /// Folds something that happened into the trace.
    pub(crate) fn record(&self, event: u64) {
        self.trace.set(mix(self.trace.get() ^ event).wrapping_add(self.timers.now()));
    }

    /// Starts a task where the present one runs.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.tasks.add(self.strand.get(), Box::pin(future), &self.ready);
    }

    /// Does something as the shard `shard` of the present node: what it spawns is of that shard.
    pub(crate) fn as_shard<T>(&self, shard: u16, act: impl FnOnce() -> T) -> T {
        let before = self.strand.get();
        self.strand.set(Strand { shard, ..before });
        let done = act();
        self.strand.set(before);
        done
    }

    fn with_clock<T>(&self, use_it: impl FnOnce(&mut WallClock) -> T) -> T {
        use_it(self.clocks.borrow_mut().entry(self.node()).or_default())
    }

    pub(crate) fn wall_clock(&self) -> UnixNanos {
        let ahead = self.with_clock(|clock| clock.process());
        UnixNanos(self.timers.now().saturating_add_signed(ahead))
    }

    pub(crate) fn resync_wall_clock(&self) -> i64 {
        self.with_clock(WallClock::resync)
    }

    pub(crate) fn abort(&self, code: ExitCode, message: &str) -> ! {
        let exit = Exit { node: self.node(), code, message: message.to_owned(), at_nanos: self.timers.now() };
        // Not a panic: no message, no hook. The executor catches it and ends the node.
        resume_unwind(Box::new(Aborting(exit)))
    }

    /// Polls one future on behalf of `strand`; `None` if its node ended itself meanwhile.
    fn poll<T>(&self, strand: Strand, poll: impl FnOnce() -> Poll<T>) -> Option<Poll<T>> {
        self.polls.set(self.polls.get() + 1);
        let before = self.strand.replace(strand);
        let polled = catch_unwind(AssertUnwindSafe(|| polled(poll)));
        self.strand.set(before);
        match polled {
            Ok(polled) => Some(polled),
            Err(panic) => {
                self.node_ended(panic);
                None
            }
        }
    }

    fn node_ended(&self, panic: Box<dyn Any + Send>) {
        match panic.downcast::<Aborting>() {
            Ok(aborting) => {
                let Aborting(exit) = *aborting;
                assert_ne!(exit.node, OUTSIDE, "the test itself aborted: {}", exit.message);
                self.kill(exit.node);
                self.exits.borrow_mut().push(exit);
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    fn kill(&self, node: NodeId) {
        self.record(mix(node));
        let held = self.resume_all(node);
        drop(held);
        self.tasks.end_all(|of| of == node);
        self.net.forget_node(node);
        // The process that starts next looks at its host's clock anew.
        if let Some(clock) = self.clocks.borrow_mut().get_mut(&node) {
            clock.resync();
        }
    }

    /// Ends all pauses of a node and its shards; returns the tasks that would have run.
    fn resume_all(&self, node: NodeId) -> Vec<Waker> {
        let mut paused = self.paused.borrow_mut();
        let keys: Vec<_> = paused.range((node, None)..=(node, Some(u16::MAX))).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| paused.remove(key)).flatten().collect()
    }

    /// Polls one ready task, or lets time pass; returns the root's turn as `true`.
    fn step(&self) -> bool {
        self.timers.advance(POLL_NANOS);
        let id = loop {
            if let Some(id) = self.ready.draw(&self.schedule) {
                break id;
            }
            assert!(self.timers.advance_to_next(), "nothing can ever happen again: every task waits for another");
        };
        if id == TaskId::ROOT {
            self.record(u64::MAX);
            return true;
        }
        if let Some((strand, waker, mut future)) = self.tasks.take(id) {
            let mut paused = self.paused.borrow_mut();
            let (node, shard) = ((strand.node, None), (strand.node, Some(strand.shard)));
            let key = if paused.contains_key(&node) { node } else { shard };
            if let Some(held) = paused.get_mut(&key) {
                held.push(waker);
                self.tasks.put_back(id, future);
                return false;
            }
            drop(paused);
            self.record(u64::from(id.place) << 32 | u64::from(id.generation));
            match self.poll(strand, || future.as_mut().poll(&mut Context::from_waker(&waker))) {
                Some(Poll::Pending) => self.tasks.put_back(id, future),
                Some(Poll::Ready(())) => self.tasks.end(id),
                None => {}
            }
        }
        false
    }
}

/// One simulated run: tasks, time, network and randomness, all from one seed.
///
/// Worlds do not nest, and one thread runs one at a time. Clones are handles to the same world.
#[derive(Clone)]
pub struct World {
    core: Rc<Core>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.core.seed).field("trace", &self.trace()).finish_non_exhaustive()
    }
}

impl World {
    /// A world in which everything follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let timers = Rc::new(Timers::new());
        Self {
            core: Rc::new(Core {
                seed,
                net: Rc::new(Network::new(timers.clone(), SimRng::new(seed, STREAM_NET))),
                timers,
                rng: SimRng::new(seed, STREAM_TASKS),
                schedule: SimRng::new(seed, STREAM_SCHEDULE),
                ready: ReadyQueue::default(),
                tasks: Tasks::default(),
                strand: Cell::new(Strand { node: OUTSIDE, shard: 0 }),
                polls: Cell::new(0),
                clocks: RefCell::default(),
                exits: RefCell::default(),
                paused: RefCell::default(),
                trace: Cell::new(seed),
            }),
        }
    }

    /// Runs the world until `future`, which is no node's, is done. Tasks that are left go on with the next call.
    ///
    /// # Panics
    ///
    /// With the panic of any task, and when nothing can happen any more; the seed is printed then.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let _entered = Entered::new(&self.core);
        let waker = self.core.ready.waker(TaskId::ROOT);
        let mut future = pin!(future);
        waker.wake_by_ref();
        loop {
            if self.core.step()
                && let Some(Poll::Ready(output)) = self
                    .core
                    .poll(Strand { node: OUTSIDE, shard: 0 }, || future.as_mut().poll(&mut Context::from_waker(&waker)))
            {
                return output;
            }
        }
    }

    /// Runs the world for so much virtual time. Panics as [`block_on`](Self::block_on) does.
    pub fn run_for(&self, duration: Duration) {
        self.block_on(async { Sim::sleep(duration).await });
    }

    /// Starts a task of `node`.
    pub fn spawn_on(&self, node: NodeId, future: impl Future<Output = ()> + 'static) {
        self.core.tasks.add(Strand { node, shard: 0 }, Box::pin(future), &self.core.ready);
    }

    /// Ends `node` as a kill signal does: its tasks are dropped where they stand, its sockets close. Its disk is not
    /// touched: see [`SimDisk::crash`](crate::SimDisk::crash).
    pub fn kill(&self, node: NodeId) {
        let _entered = Entered::new(&self.core);
        self.core.kill(node);
    }

    /// Stops `node` where it stands: none of its tasks runs until [`resume`](Self::resume), while its sockets stay open and
    /// its timers run out.
    pub fn pause(&self, node: NodeId) {
        self.core.paused.borrow_mut().entry((node, None)).or_default();
    }

    /// Stops one shard of `node` in the same way. Shard 0 also runs what belongs to none.
    pub fn pause_shard(&self, node: NodeId, shard: u16) {
        self.core.paused.borrow_mut().entry((node, Some(shard))).or_default();
    }

    /// Lets a paused node, or its paused shards, go on.
    pub fn resume(&self, node: NodeId) {
        self.core.resume_all(node).into_iter().for_each(Waker::wake);
    }

    /// How often a task was polled so far.
    pub fn polls(&self) -> u64 {
        self.core.polls.get()
    }

    /// The nodes that ended themselves, in order.
    pub fn exits(&self) -> Vec<Exit> {
        self.core.exits.borrow().clone()
    }

    /// Moves the wall clock of `node`'s host by `nanos`. The node notices at its next start or check.
    pub fn jump_wall_clock(&self, node: NodeId, nanos: i64) {
        self.core.clocks.borrow_mut().entry(node).or_default().jump(nanos);
    }

    /// The network, to cut and heal.
    pub fn net(&self) -> &Network {
        &self.core.net
    }

    /// The seed it began with.
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// A hash over everything that has happened.
    pub fn trace(&self) -> u64 {
        self.core.trace.get()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The last handle from outside ends all tasks while they can still find their world.
        if Rc::strong_count(&self.core) == 1 {
            let _entered = Entered::new(&self.core);
            self.core.tasks.end_all(|_| true);
            self.core.ready.clear();
        }
    }
}

/// Makes a world the current one of its thread until dropped.
struct Entered {
    previous: Option<Rc<Core>>,
    seed: u64,
}

impl Entered {
    fn new(core: &Rc<Core>) -> Self {
        let previous = CURRENT.replace(Some(core.clone()));
        assert!(previous.as_ref().is_none_or(|previous| Rc::ptr_eq(previous, core)), "worlds do not nest");
        Self { previous, seed: core.seed }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let outermost = self.previous.is_none();
        CURRENT.set(self.previous.take());
        if outermost && thread::panicking() {
            eprintln!("the simulation failed with seed {}", self.seed);
        }
    }
}
