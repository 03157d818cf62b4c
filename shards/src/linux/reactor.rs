//! What a shard waits for: one io_uring for its sockets, its log and the bells of other threads, with the next timer as the
//! time limit of the wait.
//!
//! The executor has rings of its own, and looks at them when it has no ready task: with a dozen system calls around each
//! wait. A shard's *driver* keeps it from that. It is a task that is always ready, so the executor only ever polls tasks:
//!
//! ```text
//!   ready tasks:  [a b c driver]   a, b, c ran: others may be ready now         ──> behind them again
//!                 [d driver]       ..
//!                 [driver]         nobody ran since: submit all entries and wait, in one call; wake whom it woke
//! ```
//!
//! While tasks keep each other busy the driver looks at the ring every few polls, without waiting.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use kahuna_wal::{Ring, UringDisk, Watch};
use pin_project_lite::pin_project;

use super::{BootClock, abort::abort, door::Door, timers::Timers};
use crate::env::{Clock, ExitCode, local::polled};

/// Submissions that gather at most; more are submitted in between.
const RING_ENTRIES: u32 = 256;
/// Polls of tasks between two looks at the ring while the tasks keep each other busy.
const POLLS_PER_LOOK: u64 = 16;

/// Looks at the ring when the executor has ended: one submits what is left, the next takes what came of it.
const LAST_LOOKS: u32 = 4;

/// The thread's reactor.
pub(super) struct Reactor {
    ring: Rc<Ring>,
    timers: Rc<Timers>,
    door: Arc<Door>,
    /// The door's eventfd.
    event: Rc<OwnedFd>,
    /// How often tasks were polled, and as of the driver's last round.
    polls: Cell<u64>,
    seen_polls: Cell<u64>,
    /// As of the last look at the ring.
    looked_polls: Cell<u64>,
    /// Tasks that let what has arrived be seen first.
    yielded: RefCell<Vec<Waker>>,
    looks: Cell<u64>,
}

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// The reactor of the calling thread's executor.
pub(super) fn current() -> Rc<Reactor> {
    REACTOR.with_borrow(Clone::clone).expect("a shard waits on its own executor, which has a reactor")
}

/// The disk of the calling shard: its operations share the shard's ring.
pub fn disk() -> UringDisk {
    UringDisk::on(&current().ring)
}

impl Reactor {
    /// A reactor for the calling thread.
    ///
    /// # Errors
    /// When the kernel refuses io_uring or its memory, or the process may open no more files.
    pub(super) fn new() -> io::Result<Rc<Self>> {
        let (door, event) = Door::new()?;
        Ok(Rc::new(Self {
            ring: Ring::new(RING_ENTRIES)?,
            timers: Rc::default(),
            door,
            event: Rc::new(event),
            polls: Cell::new(0),
            // Unlike `polls`: the executor polls the driver as it is spawned, before any other task.
            seen_polls: Cell::new(u64::MAX),
            looked_polls: Cell::new(0),
            yielded: RefCell::default(),
            looks: Cell::new(0),
        }))
    }

    /// Makes this the thread's reactor until what is returned is dropped.
    pub(super) fn install(self: &Rc<Self>) -> Installed {
        Installed { previous: REACTOR.replace(Some(self.clone())) }
    }

    pub(super) fn ring(&self) -> &Rc<Ring> {
        &self.ring
    }

    pub(super) fn timers(&self) -> &Rc<Timers> {
        &self.timers
    }

    pub(super) fn door(&self) -> Arc<Door> {
        self.door.clone()
    }

    /// Lets every other ready task run, and what has arrived be seen, once.
    pub(super) async fn yield_now(&self) {
        let began = self.looks.get();
        poll_fn(|cx| {
            if self.looks.get() != began {
                return Poll::Ready(());
            }
            self.yielded.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The driver: to be spawned on the executor, uncounted. Ends never.
    pub(super) async fn drive(self: Rc<Self>) {
        let mut bells = None;
        poll_fn(|cx| {
            self.watch_bells(&mut bells, cx);
            self.round();
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    }

    /// Keeps the eventfd watched. What it says is not looked at: it ends the wait, and the bells are taken after each.
    fn watch_bells(&self, bells: &mut Option<Watch>, cx: &mut Context<'_>) {
        loop {
            let watch = bells.get_or_insert_with(|| self.ring.watch(&self.event, libc::POLLIN));
            match watch.poll_events(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok((_, true))) => {}
                Poll::Ready(Ok((_, false))) => *bells = None,
                Poll::Ready(Err(error)) => {
                    abort(ExitCode::Internal, &format!("other threads cannot wake a shard any more: {error}"))
                }
            }
        }
    }

    fn round(&self) {
        let polls = self.polls.get();
        let is_idle = self.seen_polls.replace(polls) == polls;
        if is_idle && self.yielded.borrow().is_empty() {
            self.sleep();
        } else if polls >= self.looked_polls.get() + POLLS_PER_LOOK || !self.yielded.borrow().is_empty() {
            self.ring.look();
        } else {
            self.door.answer();
            return;
        }
        self.looked_polls.set(polls);
        self.looks.set(self.looks.get() + 1);
        self.timers.fire(BootClock::now_nanos());
        self.door.answer();
        let yielded = std::mem::take(&mut *self.yielded.borrow_mut());
        yielded.into_iter().for_each(Waker::wake);
    }

    /// Waits until something has happened.
    fn sleep(&self) {
        let limit = self.timers.next().map(|at| Duration::from_nanos(at.saturating_sub(BootClock::now_nanos())));
        if !self.door.falls_asleep() {
            self.ring.look();
            return;
        }
        if let Err(error) = self.ring.wait(limit) {
            abort(ExitCode::DiskFailed, &format!("cannot wait for the disk and the network: {error}"));
        }
        self.door.wakes_up();
    }
}

/// Takes the thread's reactor away when dropped.
pub(super) struct Installed {
    previous: Option<Rc<Reactor>>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(reactor) = REACTOR.replace(self.previous.take()) {
            // Nobody wakes what is left. The executor does not run any more, so the tasks behind these wakers are not dropped
            // either: what they hold ends with the process.
            let yielded = std::mem::take(&mut *reactor.yielded.borrow_mut());
            drop(yielded);
            reactor.timers.forget_sleepers();
            reactor.ring.forget_waiting();
            // Sockets that were dropped last are closed once their watches have ended.
            (0..LAST_LOOKS).for_each(|_| _ = reactor.ring.look());
        }
    }
}

pin_project! {
    /// A task whose polls, and whose end, are counted: that is how the driver knows that it ran. Every task but the driver is
    /// one.
    pub(super) struct Counted<F> {
        #[pin]
        future: F,
        // Dropped after the future: whom that wakes is ready when the end is counted.
        count: Count,
    }
}

/// Counts for the driver of one executor.
struct Count(Rc<Reactor>);

impl Count {
    fn one(&self) {
        self.0.polls.set(self.0.polls.get() + 1);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.one();
    }
}

/// Counts the polls of `future`, and its end.
pub(super) fn counted<F>(future: F) -> Counted<F> {
    Counted { future, count: Count(current()) }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.count.one();
        polled(|| this.future.poll(cx))
    }
}
