//! Byte streams between clients, nodes and shards.
//!
//! The shape of a connection is two tasks: one reads as much as there is and handles every whole frame in it, the other
//! gathers the answers that became ready meanwhile and writes them at once. System calls per batch, not per frame, are
//! what a shard's throughput is made of; hence [`Stream::split`] and [`WriteHalf::write_vectored_all`].
//!
//! **Yielding.** A read or a write that can be served at once does not suspend its task. A loop over a busy connection
//! awaits [`Env::yield_now`](super::Env::yield_now) once in a while, or nothing else on the shard runs.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

/// Listeners and connections.
pub trait Net: 'static {
    /// Accepts connections.
    type Listener: Listener<Stream = Self::Stream>;
    /// Open connection, bound to the thread it is used on.
    type Stream: Stream<Detached = Self::Detached>;
    /// A connection on its way to another shard; the only thing here that may change threads.
    type Detached: Send + 'static;

    /// Listens on `addr`; port 0 takes a free one. With `shared`, further listeners (of other shards) may take the same
    /// address and the kernel spreads connections over them; without it, a second one fails with `AddrInUse`.
    fn listen(addr: SocketAddr, shared: bool) -> io::Result<Self::Listener>;

    /// Connects, or fails with `TimedOut` once `limit` is over. Nagle's algorithm is off.
    fn connect(addr: SocketAddr, limit: Duration) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Takes over a connection that another shard has [detached](Stream::detach).
    fn adopt(detached: Self::Detached) -> io::Result<Self::Stream>;
}

/// A listening socket; dropping it closes it.
pub trait Listener: 'static {
    /// What it accepts.
    type Stream: Stream;

    /// The next connection, Nagle's algorithm off. Run one loop per listener to its end: dropping this future may close a
    /// connection that was just accepted. An error concerns that one connection, or means that descriptors ran out: wait a
    /// little and accept again.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>>;

    /// The address it listens on, with the port that was taken.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A connection as a whole, before it is split into its two directions.
pub trait Stream: ReadHalf + WriteHalf {
    /// The direction towards us.
    type ReadHalf: ReadHalf;
    /// The direction away from us.
    type WriteHalf: WriteHalf;
    /// See [`Net::Detached`].
    type Detached: Send + 'static;

    /// The two directions, for two tasks of this shard. The connection closes when both are dropped.
    fn split(self) -> (Self::ReadHalf, Self::WriteHalf);

    /// Lets go of the connection so that another shard may [adopt](Net::adopt) it. Bytes that were read already are not
    /// read again: the shard that hands the connection over sends them along.
    fn detach(self) -> io::Result<Self::Detached>;
}

/// What every handle of a connection can do.
pub trait Socket: 'static {
    /// The other end's address.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Ends one direction or both at once, for all handles: a pending read returns 0, a pending write fails.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

/// The direction towards us.
pub trait ReadHalf: Socket {
    /// Reads what has arrived, at least one byte, at most `buf.len()`; 0 is the end of the stream. While nothing has, the
    /// buffer is not kept: many connections that wait can share one.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Reads what has arrived. Dropping the future loses nothing.
    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        poll_fn(|cx| self.poll_read(cx, buf))
    }
}

/// The direction away from us.
pub trait WriteHalf: Socket {
    /// Writes all of `buf`. Dropping the future leaves an unknown part of it written: close the connection then.
    fn write_all(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<()>>;

    /// Writes all of `bufs` in order, gathered into as few system calls as possible. The slices are advanced as they are
    /// written; their content afterwards is unspecified. Dropping the future: as with [`write_all`](Self::write_all).
    fn write_vectored_all(&mut self, bufs: &mut [IoSlice<'_>]) -> impl Future<Output = io::Result<()>>;
}
