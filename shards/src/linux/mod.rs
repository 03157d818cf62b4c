//! The real world: [`Env`](crate::env::Env) on Linux, with glommio as the executor.
//!
//! This is the only module of the whole repository that names glommio: its upkeep is slow, and this way a replacement or
//! a fork is a matter of one module. Traps of that library that shape the code here:
//! - A panic in a task unwinds out of the executor and would end one shard only; [`spawn_shard`] ends the process instead.
//! - Each timer deadline costs a park and an unpark, so all longer sleeps share the slots of one timer
//!   queue (`timers.rs`).
//! - It looks for completions only when no task is ready, or when a preemption timer fires; and if that timer fires before
//!   the first task could run, it goes to sleep with ready tasks in its queue. So the timer is all but off, and whoever
//!   yields waits for a completion (`yield_ticker.rs`).
//! - Its file I/O probes devices in a way that can break the executor; files are read and written on our own ring, and
//!   [`drive_disk`] only learns here that something completed.

mod abort;
mod clock;
mod memory;
mod net;
mod ring;
mod runtime;
mod shard;
mod timers;
mod world;
mod yield_ticker;

pub use clock::{BootClock, set_wall_clock_offset_ms};
pub use memory::Allocator;
pub use net::{Tcp, TcpListener, TcpReadHalf, TcpStream, TcpWriteHalf};
pub use ring::drive_disk;
pub use runtime::{Cancelled, Join, Runtime};
pub use shard::{ShardHandle, ShardOptions, spawn_shard};
pub use timers::Sleep;
pub use world::Linux;
