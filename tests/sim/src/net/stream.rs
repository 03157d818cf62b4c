//! [`Net`] on simulated wires.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use kahuna_shards::env::{Env, Listener, Net, ReadHalf, Socket, Stream, WriteHalf};

use super::{
    connection::{End, connect},
    network::Listening,
};
use crate::{Sim, exec::current};

/// Connections over the network of the world that runs on the calling thread.
#[derive(Debug, Clone, Copy)]
pub struct SimNet;

impl Net for SimNet {
    type Listener = SimListener;
    type Stream = SimStream;
    type Detached = SimDetached;

    fn listen(addr: SocketAddr, shared: bool) -> io::Result<SimListener> {
        let world = current();
        world.net.listen(world.node(), addr, shared).map(SimListener)
    }

    async fn connect(addr: SocketAddr, limit: Duration) -> io::Result<SimStream> {
        let connected = Sim::timeout(limit, async {
            let world = current();
            let node = world.node();
            let server = world.net.node_of(addr);
            let links = server.map_or([(node, node); 2], |server| [(node, server), (server, node)]);
            let there_and_back = links.map(|(from, to)| world.net.arrival(from, to) - world.net.now()).iter().sum();
            Sim::sleep(Duration::from_nanos(there_and_back)).await;
            let Some(server) = world.net.node_of(addr) else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            while world.net.is_cut(node, server) || world.net.is_cut(server, node) {
                // As TCP does: the first packet is sent again every now and then.
                Sim::sleep(RESEND).await;
            }
            let listening = world.net.find(addr).ok_or(io::ErrorKind::ConnectionRefused)?;
            let client = (node, world.net.client_addr(node));
            let (near, far) = connect(&world.net, client, (listening.node, addr));
            listening.waiting.borrow_mut().push_back(far);
            let acceptor = listening.acceptor.borrow_mut().take();
            if let Some(acceptor) = acceptor {
                acceptor.wake();
            }
            Ok(SimStream(near))
        });
        connected.await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    fn adopt(detached: SimDetached) -> io::Result<SimStream> {
        let world = current();
        world.net.adopt(world.node(), detached.0).map(SimStream).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// How long a connection attempt waits before it tries again to reach through a cut.
const RESEND: Duration = Duration::from_millis(20);

/// Socket of a simulated node that accepts connections.
pub struct SimListener(Rc<Listening>);

impl Listener for SimListener {
    type Stream = SimStream;

    fn accept(&mut self) -> impl Future<Output = io::Result<SimStream>> {
        poll_fn(|cx| {
            let next = self.0.waiting.borrow_mut().pop_front();
            if let Some(end) = next {
                return Poll::Ready(Ok(SimStream(end)));
            }
            let old = self.0.acceptor.borrow_mut().replace(cx.waker().clone());
            drop(old);
            Poll::Pending
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.addr)
    }
}

/// A connection that has left its shard; it is adopted by number.
#[derive(Debug, PartialEq, Eq)]
pub struct SimDetached(u64);

/// One end of a simulated connection.
pub struct SimStream(Rc<End>);

/// The direction towards us.
pub struct SimReadHalf(Rc<End>);

/// The direction away from us.
pub struct SimWriteHalf(Rc<End>);

impl Stream for SimStream {
    type ReadHalf = SimReadHalf;
    type WriteHalf = SimWriteHalf;
    type Detached = SimDetached;

    fn split(self) -> (SimReadHalf, SimWriteHalf) {
        (SimReadHalf(self.0.clone()), SimWriteHalf(self.0))
    }

    fn detach(self) -> io::Result<SimDetached> {
        let world = current();
        Ok(SimDetached(world.net.detach(world.node(), self.0)))
    }
}

macro_rules! socket {
    ($($handle:ty),*) => {$(
        impl Socket for $handle {
            fn peer_addr(&self) -> io::Result<SocketAddr> {
                Ok(self.0.peer)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                if how != Shutdown::Write {
                    self.0.incoming.refuse();
                }
                if how != Shutdown::Read {
                    self.0.outgoing.end();
                }
                Ok(())
            }
        }
    )*};
}

socket!(SimStream, SimReadHalf, SimWriteHalf);

macro_rules! read_half {
    ($($handle:ty),*) => {$(
        impl ReadHalf for $handle {
            fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.0.incoming.poll_read(cx, buf)
            }
        }
    )*};
}

read_half!(SimStream, SimReadHalf);

async fn write_all(end: &End, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let taken = poll_fn(|cx| end.outgoing.poll_write(cx, buf)).await?;
        buf = &buf[taken..];
    }
    Ok(())
}

async fn write_vectored_all(end: &End, bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
    // One chunk: what was written together arrives together.
    write_all(end, &bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>()).await
}

macro_rules! write_half {
    ($($handle:ty),*) => {$(
        impl WriteHalf for $handle {
            fn write_all(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
                write_all(&self.0, buf)
            }

            fn write_vectored_all(&mut self, bufs: &mut [IoSlice<'_>]) -> impl Future<Output = io::Result<()>> {
                write_vectored_all(&self.0, bufs)
            }
        }
    )*};
}

write_half!(SimStream, SimWriteHalf);
