//! TCP.
//!
//! Sockets never block: reads, writes and accepts are tried first, and the shard's ring watches a socket that had nothing. It
//! reports each change once, so a read that takes less than it could have taken knows, without another call, that nothing is
//! left. A batch leaves in one gathering `sendmsg`.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use kahuna_wal::{Ring, Watch};
use openraft::AsyncRuntime;
use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, accept_with, recv, sendmsg},
};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::{Runtime, reactor};
use crate::env::{Listener, Net, ReadHalf, Socket, Stream, Timeout, WriteHalf};

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 1024;

/// Connections that are accepted before the shard's other tasks run.
const MAX_ACCEPTS: u32 = 16;

/// The kernel asks a silent connection's other end whether it is still there after this long, so often, so many times: an
/// end that vanished without a word holds its connection for a minute, not forever.
const SILENCE: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// What the kernel holds of a connection's bytes that it has not sent yet: what more it would hold for an end that does not
/// read, megabytes of each connection, nobody counts. What is on its way is not limited by it.
const UNSENT_BYTES: u32 = 128 << 10;

/// The kernel's limit of slices per gathering write (IOV_MAX).
const MAX_SLICES: usize = 1024;

/// Something to read or to accept; the other end will send no more.
const READABLE: i16 = libc::POLLIN | libc::POLLRDHUP;
/// No change will come after these.
const CLOSED: i16 = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;

/// [`Net`] over TCP sockets.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Net for Tcp {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Detached = OwnedFd;

    fn listen(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        // A restarted node gets its port back although old connections are in TIME_WAIT.
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let local = local_addr(&socket)?;
        Ok(TcpListener { socket: Readable::new(Rc::new(socket.into())), local, at_once: 0 })
    }

    async fn connect(addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        let connected = match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
            done => done.map(|()| true)?,
        };
        let fd = Rc::new(OwnedFd::from(socket));
        if !connected {
            let waited = Timeout::new(writable(&fd), Runtime::sleep(limit)).await;
            waited.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if let Some(refused) = SockRef::from(&fd).take_error()? {
                return Err(refused);
            }
        }
        TcpStream::new(fd)
    }

    fn adopt(detached: OwnedFd) -> io::Result<TcpStream> {
        TcpStream::new(Rc::new(detached))
    }
}

fn local_addr(socket: &RawSocket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A socket, and what is known of its readiness: it is tried until it has nothing, and watched from then on.
struct Readable {
    fd: Rc<OwnedFd>,
    ring: Rc<Ring>,
    watch: Option<Watch>,
    /// There may be something.
    is_ready: bool,
    /// No change will be reported any more: the end is there, or behind what is there.
    is_closed: bool,
}

impl Readable {
    fn new(fd: Rc<OwnedFd>) -> Self {
        let ring = reactor::current().ring().clone();
        Self { fd, ring, watch: None, is_ready: true, is_closed: false }
    }

    /// Nothing is left, unless nothing would be reported. (Bytes behind an urgent one are left too, until more come: nobody
    /// here sends urgent bytes.)
    fn is_drained(&mut self) {
        self.is_ready = self.is_closed;
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_ready {
            let watch = self.watch.get_or_insert_with(|| self.ring.watch(&self.fd, READABLE));
            let reported = ready!(watch.poll_events(cx));
            if !matches!(reported, Ok((_, true))) {
                self.watch = None;
            }
            let (events, _) = reported?;
            self.is_ready = true;
            self.is_closed |= events & CLOSED != 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Repeats `attempt` until it neither is interrupted nor finds nothing.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&OwnedFd) -> Result<T, Errno>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_ready(cx))?;
            match attempt(&self.fd) {
                // The end that was reported is read, not waited for: there is something, or there will be an event.
                Err(Errno::AGAIN) => self.is_ready = false,
                Err(Errno::INTR) => {}
                done => return Poll::Ready(done.map_err(io::Error::from)),
            }
        }
    }
}

/// Ends once `fd` takes bytes, or cannot any more.
async fn writable(fd: &Rc<OwnedFd>) -> io::Result<()> {
    loop {
        // A watch of its own for each wait: what is reported first is how things are now.
        let mut watch = reactor::current().ring().watch(fd, libc::POLLOUT);
        loop {
            let (events, goes_on) = poll_fn(|cx| watch.poll_events(cx)).await?;
            // The kernel reports the other end's end too: it may read on all the same.
            if events & (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) != 0 {
                return Ok(());
            }
            if !goes_on {
                break;
            }
        }
    }
}

/// A listening socket.
pub struct TcpListener {
    socket: Readable,
    local: SocketAddr,
    /// Accepted since the shard's other tasks ran.
    at_once: u32,
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        self.at_once += 1;
        if self.at_once > MAX_ACCEPTS {
            // More may wait for ever.
            reactor::current().yield_now().await;
            self.at_once = 1;
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = poll_fn(|cx| self.socket.poll(cx, |fd| accept_with(fd, flags))).await?;
        TcpStream::new(Rc::new(accepted))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

fn poll_read(socket: &mut Readable, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    let read = ready!(socket.poll(cx, |fd| recv(fd, &mut *buf, RecvFlags::DONTWAIT).map(|(read, _)| read)))?;
    if (1..buf.len()).contains(&read) {
        socket.is_drained();
    }
    Poll::Ready(Ok(read))
}

/// Writes until nothing is left, as much at a time as the socket takes.
async fn write_vectored_all(fd: &Rc<OwnedFd>, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Skips what is empty at the front, so that "nothing left" is "no slice left".
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        let most = bufs.len().min(MAX_SLICES);
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(fd, &bufs[..most], &mut SendAncillaryBuffer::default(), flags) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => IoSlice::advance_slices(&mut bufs, taken),
            Err(Errno::AGAIN) => writable(fd).await?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn write_all(fd: &Rc<OwnedFd>, buf: &[u8]) -> io::Result<()> {
    write_vectored_all(fd, &mut [IoSlice::new(buf)]).await
}

fn peer_addr(fd: &OwnedFd) -> io::Result<SocketAddr> {
    SockRef::from(fd).peer_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A connection.
pub struct TcpStream(Readable);

/// The direction towards us.
pub struct TcpReadHalf(Readable);

/// The direction away from us.
pub struct TcpWriteHalf(Rc<OwnedFd>);

impl TcpStream {
    fn new(fd: Rc<OwnedFd>) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_EVERY).with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self(Readable::new(fd)))
    }

    fn fd(&self) -> &Rc<OwnedFd> {
        &self.0.fd
    }
}

impl TcpReadHalf {
    fn fd(&self) -> &Rc<OwnedFd> {
        &self.0.fd
    }
}

impl TcpWriteHalf {
    fn fd(&self) -> &Rc<OwnedFd> {
        &self.0
    }
}

impl Stream for TcpStream {
    type ReadHalf = TcpReadHalf;
    type WriteHalf = TcpWriteHalf;
    type Detached = OwnedFd;

    fn split(self) -> (TcpReadHalf, TcpWriteHalf) {
        let fd = self.fd().clone();
        (TcpReadHalf(self.0), TcpWriteHalf(fd))
    }

    fn detach(self) -> io::Result<OwnedFd> {
        // The ring closes its own descriptor when its last operation on it is gone; the duplicate keeps the connection.
        self.fd().as_fd().try_clone_to_owned()
    }
}

macro_rules! socket {
    ($($handle:ty),*) => {$(
        impl Socket for $handle {
            fn peer_addr(&self) -> io::Result<SocketAddr> {
                peer_addr(self.fd())
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                SockRef::from(self.fd()).shutdown(how)
            }
        }
    )*};
}

socket!(TcpStream, TcpReadHalf, TcpWriteHalf);

macro_rules! read_half {
    ($($handle:ty),*) => {$(
        impl ReadHalf for $handle {
            fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                poll_read(&mut self.0, cx, buf)
            }
        }
    )*};
}

read_half!(TcpStream, TcpReadHalf);

macro_rules! write_half {
    ($($handle:ty),*) => {$(
        impl WriteHalf for $handle {
            fn write_all(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
                write_all(self.fd(), buf)
            }

            fn write_vectored_all(&mut self, bufs: &mut [IoSlice<'_>]) -> impl Future<Output = io::Result<()>> {
                write_vectored_all(self.fd(), bufs)
            }
        }
    )*};
}

write_half!(TcpStream, TcpWriteHalf);
