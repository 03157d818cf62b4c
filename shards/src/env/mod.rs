//! The one seam to the outside: everything a shard needs from the world stands behind [`Env`].
//!
//! ```text
//!   shard, groups, peers ──generic over E: Env──┬── linux::Linux   io_uring, the kernel's clocks and sockets
//!                                               └── kahuna_sim     seeded executor, virtual time, memory disk and wires
//! ```
//!
//! What is the same in both worlds lives here as well: the channels and the mutex ([`local`]), the arithmetic of
//! instants ([`ClockInstant`]) and of timeouts ([`Timeout`]). A runtime adds a way to spawn, a clock and a timer.
//!
//! Everything is of one thread: no future, stream or channel of this seam is `Send`. What crosses to another shard is a
//! message on a flume channel, or a connection on the way to its owner ([`Net::Detached`]).

mod exit;
mod instant;
pub mod local;
mod marks;
mod net;
mod say;
mod timeout;
mod world;

pub use exit::ExitCode;
pub use instant::{Clock, ClockInstant};
pub use marks::until_mark;
pub use net::{Listener, Net, ReadHalf, Socket, Stream, WriteHalf};
pub use say::{announce, flush_said, say, say_in_background, say_panic};
pub use timeout::{Elapsed, Timeout};
pub use world::{Env, UnixNanos};
