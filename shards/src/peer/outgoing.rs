//! The outgoing side of a connection: frames gather while earlier ones are being written.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use kahuna_protocol::frame::{FLAG_REPLY, encode_frame};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{Header, Hlc};

use crate::budget::Budget;
use crate::env::{Env, WriteHalf};
use crate::unsent::Unsent;

/// A connection that takes nothing of a batch for this long is closed.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// Most bytes per write: the stall limit applies to each, so that a slow link is distinguished from one that does not read.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of short answers that every connection may hold, however little of the shared budget is left.
const LEAST_BYTES: usize = 64 << 10;

/// Frames that wait to be written to one connection. One task, [`Outgoing::write_to`], writes them; all others append.
pub(super) struct Outgoing {
    stamp: Box<dyn Fn() -> Hlc>,
    queue_bytes: usize,
    /// Longest payload that the other end takes.
    max_payload: Cell<u32>,
    /// Its pieces are numbered by the request id that follows the last one in them.
    unsent: Unsent,
    /// Every frame with a lower request id has been handed to the socket, at least in part.
    taken_below: Cell<u64>,
    /// The request id that the next frame must reach.
    next_id: Cell<u64>,
    writer: RefCell<Option<Waker>>,
    reader: RefCell<Option<Waker>>,
    /// The writer too, while it waits for the socket: only the end of the connection interrupts that.
    closer: RefCell<Option<Waker>>,
    /// Nothing more is queued; the connection ends when everything is written.
    finishing: Cell<bool>,
    closed: Cell<bool>,
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Outgoing {
    /// An empty one that holds at most `queue_bytes`, and of `budget` no more than it leaves to others; `stamp` gives the
    /// clock's next stamp.
    pub(super) fn new(
        queue_bytes: usize,
        max_payload: u32,
        stamp: Box<dyn Fn() -> Hlc>,
        budget: &Rc<Budget>,
    ) -> Rc<Self> {
        Rc::new(Self {
            stamp,
            queue_bytes,
            max_payload: Cell::new(max_payload),
            unsent: Unsent::new(budget),
            taken_below: Cell::new(0),
            next_id: Cell::new(0),
            writer: RefCell::default(),
            reader: RefCell::default(),
            closer: RefCell::default(),
            finishing: Cell::new(false),
            closed: Cell::new(false),
        })
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.unsent.share().bytes()
    }

    /// Whether another frame may be queued, of any length that the other end takes.
    pub(super) fn has_room(&self) -> bool {
        self.queued() < self.queue_bytes && self.unsent.share().may_grow()
    }

    /// Whether a frame of so many bytes may be queued.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        self.queued() < self.queue_bytes && self.unsent.share().fits(bytes)
    }

    /// Whether a frame with this id may have left this node.
    pub(super) fn may_have_left(&self, request_id: u64) -> bool {
        request_id < self.taken_below.get()
    }

    /// Appends frames that were encoded already, the last one under `request_id`. Ids rise.
    pub(super) fn push_encoded(&self, request_id: u64, frames: &[u8]) {
        debug_assert!(request_id >= self.next_id.get(), "request ids rise");
        self.next_id.set(request_id + 1);
        if !self.closed.get() {
            self.unsent.push(request_id + 1, frames.len(), |out| out.extend_from_slice(frames));
            wake(&self.writer);
        }
    }

    /// Appends a frame that asks for something. Ids rise. A payload that the other end would not take is taken
    /// back: `Err` with its length.
    pub(super) fn push_call(
        &self,
        kind: u16,
        flags: u8,
        request_id: u64,
        prelude: PeerPrelude,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), usize> {
        debug_assert!(request_id >= self.next_id.get(), "request ids rise");
        let (stamp, max_payload) = ((self.stamp)(), self.max_payload.get());
        self.unsent.push(request_id + 1, 0, |out| {
            encode_limited(out, kind, flags, request_id, stamp, prelude, max_payload, payload)
        })?;
        self.next_id.set(request_id + 1);
        wake(&self.writer);
        Ok(())
    }

    /// Appends an answer, some `bytes` long; its stamp is no lower than `at`. Answers never wait for room: a long one is
    /// refused before, if it is not [taken](Self::takes), and a peer that lets too many short ones pile up is cut off.
    pub(super) fn push_reply(
        &self,
        at: Hlc,
        kind: u16,
        flags: u8,
        request_id: u64,
        prelude: PeerPrelude,
        bytes: usize,
        payload: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.closed.get() || self.finishing.get() {
            return;
        }
        if self.queued() >= LEAST_BYTES && !self.takes(0) {
            return self.close();
        }
        let stamp = (self.stamp)().max(at);
        self.unsent.push(self.next_id.get(), Header::BYTES + PeerPrelude::BYTES + bytes, |out| {
            encode_frame(out, kind, flags, request_id, stamp, |out| {
                out.extend_from_slice(&prelude.encode());
                payload(out);
            });
        });
        wake(&self.writer);
    }

    /// Returns when the connection may be read again: at once, unless the peer lags behind with reading our answers.
    /// False once the connection is closed. For one waiter at a time.
    pub(super) async fn may_read(&self) -> bool {
        poll_fn(|cx| {
            let queued = self.queued();
            let lags = queued > self.queue_bytes / 2 || (queued >= LEAST_BYTES && !self.takes(0));
            if self.closed.get() || !lags {
                return Poll::Ready(());
            }
            *self.reader.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        !self.closed.get()
    }

    /// Drops what waits and ends the connection; also the pending read of its other half.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.unsent.clear();
        [&self.writer, &self.reader, &self.closer].into_iter().for_each(wake);
    }

    /// Sets the longest payload that the other end accepts, as it announced.
    pub(super) fn set_max_payload(&self, max_payload: u32) {
        self.max_payload.set(max_payload);
    }

    /// Appends a frame that ends the conversation; nothing is queued after it, and the connection's outgoing direction
    /// closes once it was written.
    pub(super) fn finish(&self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        self.push_reply(Hlc::ZERO, kind, FLAG_REPLY, 0, PeerPrelude::default(), 0, payload);
        self.finishing.set(true);
        wake(&self.writer);
    }

    /// Whether the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Waits until there is something to write, and takes it; `None` once the connection is closed, or finished and written.
    async fn take(&self) -> Option<Vec<u8>> {
        poll_fn(|cx| {
            if self.closed.get() || self.finishing.get() || !self.unsent.is_empty() {
                return Poll::Ready(());
            }
            *self.writer.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let (piece, below) = self.unsent.take()?;
        self.taken_below.set(below);
        Some(piece)
    }

    /// Writes what gathers until the connection ends. If it was [finished](Self::finish) only the outgoing direction closes,
    /// so that a last frame is not lost to a reset; else both do.
    pub(super) async fn write_to<E: Env>(&self, mut half: impl WriteHalf) {
        while let Some(piece) = self.take().await {
            let written = self.write::<E>(&mut half, &piece).await;
            self.unsent.written(piece);
            if written.is_none() {
                self.close();
                break;
            }
            wake(&self.reader);
        }
        let how = if self.closed.get() { Shutdown::Both } else { Shutdown::Write };
        self.close();
        // Ends the wait of the reading side as well. A socket that is gone already is as good.
        let _ = half.shutdown(how);
    }

    async fn write<E: Env>(&self, half: &mut impl WriteHalf, batch: &[u8]) -> Option<()> {
        for piece in batch.chunks(WRITE_BYTES) {
            let mut writing = pin!(E::timeout(STALL_LIMIT, half.write_all(piece)));
            poll_fn(|cx| {
                if self.closed.get() {
                    return Poll::Ready(None);
                }
                *self.closer.borrow_mut() = Some(cx.waker().clone());
                writing.as_mut().poll(cx).map(|written| written?.ok())
            })
            .await?;
        }
        Some(())
    }
}

/// Appends one frame, prelude first; takes it back if its payload is longer than `max_payload`: `Err` with the length.
pub(super) fn encode_limited(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u8,
    request_id: u64,
    stamp: Hlc,
    prelude: PeerPrelude,
    max_payload: u32,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<(), usize> {
    let start = out.len();
    encode_frame(out, kind, flags, request_id, stamp, |out| {
        out.extend_from_slice(&prelude.encode());
        payload(out);
    });
    let length = out.len() - start - Header::BYTES;
    if length > max_payload as usize {
        out.truncate(start);
        return Err(length);
    }
    Ok(())
}
