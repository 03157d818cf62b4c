//! TCP.
//!
//! The executor's stream does the waiting; the system calls of the fast path are a `recv` that is tried before any
//! waiting and one gathering `sendmsg` per batch. A poll for readability that was armed early costs nothing more when the
//! next bytes come.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::io::{AsyncRead, AsyncWrite};
use openraft::AsyncRuntime;
use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};
use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};

use super::Runtime;
use crate::env::{Listener, Net, ReadHalf, Socket, Stream, Timeout, WriteHalf};

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 1024;

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

/// [`Net`] over TCP sockets.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Net for Tcp {
    type Listener = TcpListener;
    type Stream = TcpStream;
    type Detached = OwnedFd;

    fn listen(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
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
        // SAFETY: the descriptor is ours and is given away.
        let listener = unsafe { glommio::net::TcpListener::from_raw_fd(socket.into_raw_fd()) };
        Ok(TcpListener { listener, local })
    }

    async fn connect(addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        let connected = Timeout::new(glommio::net::TcpStream::connect(addr), Runtime::sleep(limit)).await;
        match connected {
            Ok(stream) => TcpStream::new(stream?),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn adopt(detached: OwnedFd) -> io::Result<TcpStream> {
        // SAFETY: the descriptor is ours and is given away.
        TcpStream::new(unsafe { glommio::net::TcpStream::from_raw_fd(detached.into_raw_fd()) })
    }
}

fn local_addr(socket: &RawSocket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// A listening socket.
#[derive(Debug)]
pub struct TcpListener {
    listener: glommio::net::TcpListener,
    local: SocketAddr,
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let stream = self.listener.accept().await?;
        let stream = TcpStream::new(stream)?;
        fcntl_setfd(stream.0.borrow().fd(), FdFlags::CLOEXEC)?;
        Ok(stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// What both directions share. It is borrowed within one poll only.
#[derive(Debug)]
struct Shared {
    stream: glommio::net::TcpStream,
}

impl Shared {
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and lives as long as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.stream.as_raw_fd()) }
    }
}

type Handle = Rc<RefCell<Shared>>;

fn poll_read(handle: &Handle, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    Pin::new(&mut handle.borrow_mut().stream).poll_read(cx, buf)
}

fn poll_write(handle: &Handle, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(&mut handle.borrow_mut().stream).poll_write(cx, buf)
}

/// One gathering write of as much as the socket takes now; waits for room through the executor if it takes nothing.
fn poll_write_vectored(handle: &Handle, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let sent = {
        let shared = handle.borrow();
        let bufs = &bufs[..bufs.len().min(MAX_SLICES)];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(shared.fd(), bufs, &mut SendAncillaryBuffer::default(), flags)
    };
    match sent {
        Ok(bytes) => Poll::Ready(Ok(bytes)),
        Err(Errno::AGAIN) => {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            poll_write(handle, cx, first)
        }
        Err(Errno::INTR) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

fn nothing_taken(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) }
}

async fn write_all(handle: &Handle, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        let taken = nothing_taken(poll_fn(|cx| poll_write(handle, cx, buf)).await?)?;
        buf = &buf[taken..];
    }
    Ok(())
}

async fn write_vectored_all(handle: &Handle, mut bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
    // Skips what is empty at the front, so that "nothing left" is "no slice left".
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        let taken = nothing_taken(poll_fn(|cx| poll_write_vectored(handle, cx, bufs)).await?)?;
        IoSlice::advance_slices(&mut bufs, taken);
    }
    Ok(())
}

fn peer_addr(handle: &Handle) -> io::Result<SocketAddr> {
    let addr = SockRef::from(&handle.borrow().fd()).peer_addr()?;
    addr.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

fn shutdown(handle: &Handle, how: Shutdown) -> io::Result<()> {
    SockRef::from(&handle.borrow().fd()).shutdown(how)
}

/// A connection.
#[derive(Debug)]
pub struct TcpStream(Handle);

/// The direction towards us.
#[derive(Debug)]
pub struct TcpReadHalf(Handle);

/// The direction away from us.
#[derive(Debug)]
pub struct TcpWriteHalf(Handle);

impl TcpStream {
    fn new(stream: glommio::net::TcpStream) -> io::Result<Self> {
        let shared = Shared { stream };
        let fd = shared.fd();
        let socket = SockRef::from(&fd);
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE_EVERY).with_retries(PROBES);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        Ok(Self(Rc::new(RefCell::new(shared))))
    }
}

impl Stream for TcpStream {
    type ReadHalf = TcpReadHalf;
    type WriteHalf = TcpWriteHalf;
    type Detached = OwnedFd;

    fn split(self) -> (TcpReadHalf, TcpWriteHalf) {
        (TcpReadHalf(self.0.clone()), TcpWriteHalf(self.0))
    }

    fn detach(self) -> io::Result<OwnedFd> {
        // The executor closes its own descriptor when its last operation on it is gone; the duplicate keeps the connection.
        self.0.borrow().fd().as_fd().try_clone_to_owned()
    }
}

macro_rules! socket {
    ($($handle:ty),*) => {$(
        impl Socket for $handle {
            fn peer_addr(&self) -> io::Result<SocketAddr> {
                peer_addr(&self.0)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                shutdown(&self.0, how)
            }
        }
    )*};
}

socket!(TcpStream, TcpReadHalf, TcpWriteHalf);

macro_rules! read_half {
    ($($handle:ty),*) => {$(
        impl ReadHalf for $handle {
            fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                poll_read(&self.0, cx, buf)
            }
        }
    )*};
}

read_half!(TcpStream, TcpReadHalf);

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

write_half!(TcpStream, TcpWriteHalf);
