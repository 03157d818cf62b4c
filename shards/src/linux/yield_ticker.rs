//! Yielding to the network, the disk and the timers, not only to other tasks.
//!
//! The executor looks for completions when it has run out of ready tasks. A task that yields by waking itself is ready
//! again at once: two busy connections that yield to each other would keep the disk's answers and the election timers
//! waiting for as long as they are busy. So who yields waits for a completion too, one that is there as soon as the
//! executor looks:
//!
//! ```text
//!   yield, yield, yield ──> [waiting] <──wakes all── driver ──reads──> a socket whose other end is closed: "end", at once
//! ```
//!
//! One read serves everybody who yielded since the last look.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    os::{
        fd::{FromRawFd, IntoRawFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    task::{Poll, Waker},
};

use glommio::io::BufferedFile;

use super::abort::abort;
use crate::env::ExitCode;

/// The yielding tasks of one executor.
#[derive(Debug, Default)]
struct Ticker {
    /// How often the executor has looked for completions on behalf of who yielded.
    ticks: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    driver: RefCell<Option<Waker>>,
}

thread_local! {
    static TICKER: RefCell<Option<Rc<Ticker>>> = const { RefCell::new(None) };
}

/// Lets every other ready task run, and the executor look for completions, once.
pub(super) async fn yield_now() {
    let ticker = TICKER.with_borrow(Clone::clone).expect("a shard yields on its own executor, which has a ticker");
    let began = ticker.ticks.get();
    poll_fn(|cx| {
        if ticker.ticks.get() != began {
            return Poll::Ready(());
        }
        ticker.waiting.borrow_mut().push(cx.waker().clone());
        let driver = ticker.driver.borrow_mut().take();
        if let Some(driver) = driver {
            driver.wake();
        }
        Poll::Pending
    })
    .await;
}

/// A socket from which a read never waits.
pub(super) fn ended_socket() -> io::Result<UnixStream> {
    let (ours, other) = UnixStream::pair()?;
    drop(other);
    Ok(ours)
}

/// Gives the calling thread a ticker until the returned guard drops, and the future that drives it: to be spawned on the
/// executor that is about to run.
pub(super) fn install(ended: UnixStream) -> (Installed, impl Future<Output = ()> + 'static) {
    let ticker = Rc::new(Ticker::default());
    let previous = TICKER.replace(Some(ticker.clone()));
    (Installed { previous }, async move { ticker.drive(ended).await })
}

impl Ticker {
    async fn drive(&self, ended: UnixStream) {
        // SAFETY: the descriptor is ours and is given away.
        let ended = unsafe { BufferedFile::from_raw_fd(ended.into_raw_fd()) };
        loop {
            poll_fn(|cx| {
                if !self.waiting.borrow().is_empty() {
                    return Poll::Ready(());
                }
                let old = self.driver.borrow_mut().replace(cx.waker().clone());
                drop(old);
                Poll::Pending
            })
            .await;
            if let Err(error) = ended.read_at(0, 1).await {
                abort(ExitCode::Bug, &format!("a read of an ended stream failed: {error}"));
            }
            self.ticks.set(self.ticks.get() + 1);
            let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

/// Takes the thread's ticker away when dropped.
pub(super) struct Installed {
    previous: Option<Rc<Ticker>>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(ticker) = TICKER.replace(self.previous.take()) {
            let waiting = std::mem::take(&mut *ticker.waiting.borrow_mut());
            let driver = ticker.driver.borrow_mut().take();
            // The wakers hold tasks, whose destructors may come back here: nothing is borrowed.
            drop((waiting, driver));
        }
    }
}
