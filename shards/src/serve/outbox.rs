//! A client connection's outgoing side: answers gather in one buffer while the previous one is being written.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::frame::encode_frame;
use kahuna_protocol::{ErrorCode, ErrorReply};

use super::load::Load;
use super::reply::Answer;
use super::signal::Signal;
use crate::clock::Clock;
use crate::env::{Env, WriteHalf};

/// No more requests are read from a connection while this many bytes wait to be written to it.
const PAUSE_BYTES: usize = 1 << 20;
/// While this many wait, values and pages are answered with `Busy`: a client that does not read cannot fill the memory.
const REFUSE_BYTES: usize = 16 << 20;
/// A connection that takes nothing for this long is closed.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// A buffer that grew beyond this is not kept once it was written.
const KEEP_BYTES: usize = 256 << 10;

/// What waits to be written to one client. One task, [`Outbox::write_to`], empties it.
pub struct Outbox<E: Env> {
    clock: Rc<Clock<E>>,
    load: Rc<Load>,
    gathered: RefCell<Vec<u8>>,
    /// Bytes in the buffer that is being written.
    writing: Cell<usize>,
    ready: Signal,
    written: Signal,
    /// Nothing more is read from the client: the connection ends when everything is answered and written.
    ending: Cell<bool>,
    /// Whatever is still in flight is not waited for.
    cut: Cell<bool>,
    closed: Cell<bool>,
}

impl<E: Env> Outbox<E> {
    /// An empty one; `load` counts the connection's unanswered requests.
    pub fn new(clock: Rc<Clock<E>>, load: Rc<Load>) -> Rc<Self> {
        Rc::new(Self {
            clock,
            load,
            gathered: RefCell::default(),
            writing: Cell::new(0),
            ready: Signal::default(),
            written: Signal::default(),
            ending: Cell::new(false),
            cut: Cell::new(false),
            closed: Cell::new(false),
        })
    }

    /// The count of the connection's unanswered requests.
    pub fn load(&self) -> &Rc<Load> {
        &self.load
    }

    /// Queues an answer. On a connection that is closed it goes nowhere: the client has gone.
    pub fn push(&self, request_id: u64, answer: Answer) {
        if self.closed.get() || self.cut.get() {
            return self.ready.notify();
        }
        let answer = if answer.is_bulky() && self.queued() > REFUSE_BYTES {
            let text = format!("more than {REFUSE_BYTES} bytes of answers wait on this connection: read them first");
            ErrorReply { retry_after_ms: 50, ..ErrorReply::new(ErrorCode::Busy, text) }.into()
        } else {
            answer
        };
        let (kind, flags) = (answer.kind(), answer.flags());
        let stamp = self.clock.now();
        let mut gathered = self.gathered.borrow_mut();
        encode_frame(&mut gathered, kind, flags, request_id, stamp, |out| answer.encode_body(out));
        drop(gathered);
        self.ready.notify();
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.gathered.borrow().len() + self.writing.get()
    }

    /// Returns when the connection may be read again: at once, unless the client lags behind with reading. False once
    /// the connection is closed.
    pub async fn has_room(&self) -> bool {
        while !self.closed.get() && self.queued() > PAUSE_BYTES {
            self.written.wait().await;
        }
        !self.closed.get()
    }

    /// Nothing more is read: write the outstanding answers, then close.
    pub fn end(&self) {
        self.ending.set(true);
        self.ready.notify();
    }

    /// Write what was queued so far, then close.
    pub fn cut(&self) {
        self.cut.set(true);
        self.end();
    }

    /// Writes what gathers until the connection ends, then closes it.
    pub async fn write_to(&self, mut half: impl WriteHalf) {
        let mut batch = Vec::new();
        // Which direction ends with the last answer: after a failed write both do, which ends a pending read too.
        let mut how = Shutdown::Both;
        loop {
            std::mem::swap(&mut *self.gathered.borrow_mut(), &mut batch);
            if batch.is_empty() {
                if self.ending.get() && (self.cut.get() || self.load.requests() == 0) {
                    how = Shutdown::Write;
                    break;
                }
                self.ready.wait().await;
                continue;
            }
            self.writing.set(batch.len());
            let done = E::timeout(STALL_LIMIT, half.write_all(&batch)).await;
            self.writing.set(0);
            batch.clear();
            batch.shrink_to(KEEP_BYTES);
            self.written.notify();
            if !matches!(done, Some(Ok(()))) {
                break;
            }
        }
        self.closed.set(true);
        self.gathered.take();
        self.written.notify();
        // A socket that is gone already is as good.
        let _ = half.shutdown(how);
    }
}
