//! The incoming side of a connection: read through one buffer of the shard, kept until it is whole frames.
//!
//! ```text
//!   socket ─▶ the shard's buffer ─▶ [ frame | frame | fra ] ─▶ next() = frame, next() = frame, next() = None
//!                                    └──── counted against the budget of all connections, but for FREE_BYTES each
//! ```
//! A connection that sends nothing has no buffer. The rest of a long frame is read once there is room for all of it; until
//! then the connection is not read, and others are. What came before its frame's length was known takes half of the budget
//! at most, so that there is always room to finish what was begun.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::FrameError;
use kahuna_protocol::{FrameReader, Header};

use crate::budget::{Budget, Share};
use crate::env::{Env, ReadHalf};

/// What every connection may have sent without being counted.
pub(crate) const FREE_BYTES: usize = 4 << 10;
/// While the budget is pressed, the rest of a frame must arrive within this time.
const PRESSED_LIMIT: Duration = Duration::from_secs(2);

/// What the connections of a shard read into, and the limit of what they keep.
pub(crate) struct ReadBuffer {
    bytes: RefCell<Box<[u8]>>,
    budget: Rc<Budget>,
}

impl ReadBuffer {
    /// Reads of at most `bytes`, above [`FREE_BYTES`]; what is not whole frames counts against `budget`.
    pub(crate) fn new(bytes: usize, budget: Rc<Budget>) -> Rc<Self> {
        debug_assert!(bytes > FREE_BYTES);
        Rc::new(Self { bytes: RefCell::new(vec![0; bytes].into()), budget })
    }

    /// What is kept for all connections.
    pub(crate) fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }
}

/// The incoming direction of one connection.
pub(crate) struct Unread<R> {
    half: R,
    frames: FrameReader,
    through: Rc<ReadBuffer>,
    share: Share,
    /// How long the rest of a frame may take.
    frame_limit: Duration,
    /// Since when the rest of the frame at hand is awaited.
    since: Option<Duration>,
    /// All of the frame at hand is counted.
    reserved: bool,
}

impl<R: ReadHalf> Unread<R> {
    /// Reads from `half`; `unread` is what was read from it already.
    pub(crate) fn new(
        half: R,
        max_payload: u32,
        unread: &[u8],
        through: Rc<ReadBuffer>,
        frame_limit: Duration,
    ) -> Self {
        let share = through.budget.share();
        let mut frames = FrameReader::new(max_payload);
        frames.extend(unread);
        Self { half, frames, through, share, frame_limit, since: None, reserved: false }
    }

    /// From now on payloads of at most `max_payload` bytes are accepted.
    pub(crate) fn set_max_payload(&mut self, max_payload: u32) {
        self.frames.set_max_payload(max_payload);
    }

    /// The next frame that is there already.
    pub(crate) fn next(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        let next = self.frames.next()?;
        if next.is_some() {
            (self.since, self.reserved) = (None, false);
            self.count(0);
        }
        Ok(next)
    }

    /// What was read and is no whole frame yet, or was not asked for.
    pub(crate) fn unread(&self) -> &[u8] {
        self.frames.unread()
    }

    pub(crate) fn into_half(self) -> R {
        self.half
    }

    /// Reads more, after [`Unread::next`] said `None`: how many bytes came, 0 at the end of the stream.
    ///
    /// # Errors
    /// The connection's own, and `TimedOut` when the rest of a frame takes too long.
    pub(crate) async fn fill<E: Env>(&mut self) -> io::Result<usize> {
        let missing = self.frames.missing().filter(|missing| missing + self.unread().len() > FREE_BYTES);
        if let Some(missing) = missing.filter(|_| !self.reserved) {
            self.share.room_for(missing).await;
            self.count(missing);
            (self.since, self.reserved) = (None, true);
        }
        if !self.frames.is_mid_frame() {
            return poll_fn(|cx| self.poll_fill(cx, None)).await;
        }
        let since = *self.since.get_or_insert_with(E::boot_clock);
        loop {
            let limit = if self.through.budget.is_pressed() && missing.is_some() {
                PRESSED_LIMIT.min(self.frame_limit)
            } else {
                self.frame_limit
            };
            let Some(left) = (since + limit).checked_sub(E::boot_clock()) else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            let read = E::timeout(left.min(PRESSED_LIMIT), poll_fn(|cx| self.poll_fill(cx, missing))).await;
            if let Some(read) = read {
                return read;
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, missing: Option<usize>) -> Poll<io::Result<usize>> {
        let mut buffer = self.through.bytes.borrow_mut();
        let unreserved =
            || if self.through.budget.is_half_left() { self.share.room().max(FREE_BYTES) } else { FREE_BYTES };
        let most = missing.unwrap_or_else(unreserved).min(buffer.len());
        let bytes = ready!(self.half.poll_read(cx, &mut buffer[..most]))?;
        self.frames.extend(&buffer[..bytes]);
        drop(buffer);
        self.count(missing.map_or(0, |missing| missing - bytes));
        Poll::Ready(Ok(bytes))
    }

    /// Counts what is held, and `reserved` for the rest of a frame.
    fn count(&self, reserved: usize) {
        let bytes = self.frames.unread().len() + reserved;
        self.share.set(bytes.saturating_sub(FREE_BYTES));
    }
}
