//! The incoming side of a connection: reads as much as there is, and cuts it into frames.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::{FrameError, Header};

use crate::env::{Env, ReadHalf};
use crate::unread::{ReadBuffer, Unread};

/// The rest of a frame must arrive within this time.
const FRAME_LIMIT: Duration = Duration::from_secs(60);
/// Frames handled before the shard's other tasks run; a read counts as [`READ_COSTS`] of them.
const FRAMES_PER_SLICE: usize = 64;
/// What a full read costs, compared with a small frame.
const READ_COSTS: usize = 8;

/// Why there is no further frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameReadError {
    /// The other end closed the connection.
    #[error("the other end closed the connection")]
    End,
    /// Reading from the connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not a frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// The incoming direction of a connection.
pub(super) struct IncomingFrames<R> {
    arriving: Unread<R>,
    handled: usize,
}

impl<R: ReadHalf> IncomingFrames<R> {
    /// Reads from `half`; `unread` is what was read from it already.
    pub(super) fn new(half: R, max_payload: u32, unread: &[u8], through: Rc<ReadBuffer>) -> Self {
        Self { arriving: Unread::new(half, max_payload, unread, through, FRAME_LIMIT), handled: 0 }
    }

    /// From now on payloads of at most `max_payload` bytes are accepted.
    pub(super) fn set_max_payload(&mut self, max_payload: u32) {
        self.arriving.set_max_payload(max_payload);
    }

    /// The next frame that is there already.
    pub(super) fn buffered(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        self.arriving.next()
    }

    /// What was read and not handed out.
    pub(super) fn unread(&self) -> &[u8] {
        self.arriving.unread()
    }

    /// Reads more.
    pub(super) async fn fill<E: Env>(&mut self) -> Result<(), FrameReadError> {
        match self.arriving.fill::<E>().await? {
            0 => Err(FrameReadError::End),
            _ => Ok(()),
        }
    }

    /// The next frame. Lets the shard's other tasks run now and then, however much is there.
    pub(super) async fn next<E: Env>(&mut self) -> Result<(Header, Bytes), FrameReadError> {
        loop {
            if self.handled >= FRAMES_PER_SLICE {
                self.handled = 0;
                E::yield_now().await;
            }
            if let Some(frame) = self.arriving.next()? {
                self.handled += 1;
                return Ok(frame);
            }
            self.fill::<E>().await?;
            self.handled += READ_COSTS;
        }
    }

    pub(super) fn into_half(self) -> R {
        self.arriving.into_half()
    }
}
