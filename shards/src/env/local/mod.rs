//! Channels and a mutex for tasks of one thread, shared by every runtime of the [`Env`](super::Env) seam.
//!
//! openraft asks its runtime for a bounded mpsc channel, a oneshot, a watch and an async mutex. Both of our runtimes
//! run a shard on one thread, so these are plain `Rc` and `RefCell`: no atomics, no locks.
//!
//! Two rules hold in every file here:
//! - **No borrow across foreign code.** A waker, a destructor of a carried value, or a closure of the caller may come
//!   back into the same channel; wakers are taken out, values are moved out, and the borrow ends before either runs.
//! - **First come, first woken.** Waiters queue in the order of their first poll and are woken in that order, so a
//!   simulated run depends on nothing but its seed.

mod mpsc;
mod mutex;
mod oneshot;
mod quiet;
mod ready;
mod signal;
mod waiters;
mod watch;

pub use mpsc::{LocalMpsc, MpscReceiver, MpscSender, MpscWeakSender};
pub use mutex::{LocalMutex, MutexGuard};
pub use oneshot::{LocalOneshot, OneshotReceiver, OneshotSender, SenderDropped};
pub use quiet::{keep_quiet, polled, speak_up};
pub use ready::behind_ready_tasks;
pub use signal::Signal;
pub use watch::{LocalWatch, WatchReceiver, WatchSender};
