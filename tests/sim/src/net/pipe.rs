//! One direction of a connection.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io, mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf, Bytes};
use kahuna_shards::env::ClockInstant;

use super::Network;
use crate::exec::{NodeId, Sleep};

/// What a pipe holds before its writer waits: a socket's buffers.
const CAPACITY_BYTES: usize = 256 << 10;

/// Bytes from one node to another.
pub(super) struct Pipe {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    network: Rc<Network>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// When the last chunk arrives: none overtakes another.
    last_arrival: u64,
    /// The writer has ended the stream; it arrives behind the last chunk.
    ended: bool,
    /// The reader wants no more.
    refused: bool,
    /// The connection broke, for its writer and its reader; what was under way to a reader that knows is lost.
    reset: (bool, bool),
    arrival: Option<Sleep>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Chunk {
    arrives: u64,
    bytes: Bytes,
}

impl State {
    fn wakers(&mut self) -> [Option<Waker>; 2] {
        [self.reader.take(), self.writer.take()]
    }
}

fn wake(wakers: impl IntoIterator<Item = Option<Waker>>) {
    wakers.into_iter().flatten().for_each(Waker::wake);
}

impl Pipe {
    pub(super) fn new(from: NodeId, to: NodeId, network: Rc<Network>) -> Self {
        Self { from, to, network, state: RefCell::default() }
    }

    /// Puts as much of `bytes` under way as there is room for.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        // That the reader wants no more is news from the other side, which a cut keeps back.
        if state.reset.0 || state.refused && !self.network.is_cut(self.to, self.from) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = bytes.len().min(CAPACITY_BYTES - state.bytes);
        if len == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let arrives = state.last_arrival.max(self.network.arrival(self.from, self.to));
        state.last_arrival = arrives;
        state.bytes += len;
        state.chunks.push_back(Chunk { arrives, bytes: Bytes::copy_from_slice(&bytes[..len]) });
        let reader = state.reader.take();
        drop(state);
        wake([reader]);
        Poll::Ready(Ok(len))
    }

    /// Takes what has arrived.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.reset.1 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.refused || buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        state.reader = Some(cx.waker().clone());
        if self.network.is_cut(self.from, self.to) {
            return Poll::Pending;
        }
        let now = self.network.now();
        let mut taken = 0;
        while let Some(chunk) = state.chunks.front_mut().filter(|chunk| chunk.arrives <= now) {
            let len = chunk.bytes.len().min(buf.len() - taken);
            chunk.bytes.copy_to_slice(&mut buf[taken..taken + len]);
            taken += len;
            if !chunk.bytes.is_empty() {
                break;
            }
            state.chunks.pop_front();
        }
        if taken > 0 {
            state.bytes -= taken;
            let writer = state.writer.take();
            drop(guard);
            wake([writer]);
            return Poll::Ready(Ok(taken));
        }
        let Some(next) = state.chunks.front().map(|chunk| chunk.arrives) else {
            return if state.ended { Poll::Ready(Ok(0)) } else { Poll::Pending };
        };
        let arrival = state.arrival.insert(Sleep::until(ClockInstant::from_nanos(next)));
        let arrived = Pin::new(arrival).poll(cx).is_ready();
        debug_assert!(!arrived, "what has arrived was taken above");
        Poll::Pending
    }

    /// The writer ends the stream.
    pub(super) fn end(&self) {
        let wakers = {
            let mut state = self.state.borrow_mut();
            state.ended = true;
            state.wakers()
        };
        wake(wakers);
    }

    /// The reader wants no more.
    pub(super) fn refuse(&self) {
        let (wakers, lost) = {
            let mut state = self.state.borrow_mut();
            state.refused = true;
            state.bytes = 0;
            (state.wakers(), mem::take(&mut state.chunks))
        };
        wake(wakers);
        drop(lost);
    }

    pub(super) fn reset(&self) {
        self.set_reset((true, true));
    }

    /// The connection breaks for its writer alone; what is under way arrives `lag` later.
    pub(super) fn reset_for_writer(&self, lag: Duration) {
        let lag = u64::try_from(lag.as_nanos()).expect("a run is short");
        {
            let mut state = self.state.borrow_mut();
            state.last_arrival += lag;
            state.chunks.iter_mut().for_each(|chunk| chunk.arrives += lag);
        }
        self.set_reset((true, false));
    }

    /// The connection breaks for its reader alone.
    pub(super) fn reset_for_reader(&self) {
        self.set_reset((false, true));
    }

    fn set_reset(&self, (writer, reader): (bool, bool)) {
        let wakers = {
            let mut state = self.state.borrow_mut();
            state.reset = (state.reset.0 || writer, state.reset.1 || reader);
            state.wakers()
        };
        wake(wakers);
    }

    /// Lets both sides look again: a cut was healed.
    pub(super) fn stir(&self) {
        let wakers = self.state.borrow_mut().wakers();
        wake(wakers);
    }
}
