//! The real world: [`Env`](crate::env::Env) on Linux, with glommio as the executor.
//!
//! This is the only module of the whole repository that names glommio: its upkeep is slow, and this way a replacement or
//! a fork is a matter of one module. Traps of that library that shape the code here:
//! - A panic in a task unwinds out of the executor and would end one shard only; [`spawn_shard`] ends the process instead.
//! - It has three rings of its own, and a dozen system calls around each wait. A task that is always ready keeps it from
//!   them, and waits in one ring of ours for sockets, log and timers (`reactor.rs`). So nothing of its reactor is used: no
//!   socket, no file, no timer, and no wake-up by another thread (`door.rs`).
//! - Its file I/O probes devices in a way that can break the executor.

mod abort;
mod clock;
mod door;
mod memory;
mod net;
mod reactor;
mod runtime;
mod shard;
mod timers;
mod world;

pub use clock::{BootClock, set_wall_clock_offset_ms};
pub use memory::Allocator;
pub use net::{Tcp, TcpListener, TcpReadHalf, TcpStream, TcpWriteHalf};
pub use reactor::disk;
pub use runtime::{Cancelled, Join, Runtime};
pub use shard::{ShardHandle, ShardOptions, spawn_shard};
pub use timers::Sleep;
pub use world::Linux;
