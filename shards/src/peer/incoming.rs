//! The incoming side of a connection: reads as much as there is, and cuts it into frames.

use std::io;

use bytes::{Bytes, BytesMut};
use kahuna_protocol::{FrameError, FrameReader, Header};

use crate::env::{Env, ReadHalf};

/// Bytes asked for at once when no long frame is awaited.
const READ_BYTES: usize = 64 << 10;
/// Frames handled before the shard's other tasks get a turn; a read counts as [`READ_COSTS`] of them.
const FRAMES_PER_TURN: usize = 64;
/// What a full read costs, compared with a small frame.
const READ_COSTS: usize = 8;

/// Why there is no further frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The other end closed the connection.
    #[error("the other end closed the connection")]
    End,
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The bytes are not what they should be.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// The incoming direction of a connection.
pub(super) struct Incoming<R> {
    half: R,
    frames: FrameReader,
    scratch: Box<[u8]>,
    handled: usize,
}

impl<R: ReadHalf> Incoming<R> {
    /// Reads from `half`; `unread` is what was read from it already.
    pub(super) fn new(half: R, max_payload: u32, unread: &[u8]) -> Self {
        let mut frames = FrameReader::new(max_payload);
        frames.buffer().extend_from_slice(unread);
        Self { half, frames, scratch: vec![0; READ_BYTES].into(), handled: 0 }
    }

    /// From now on payloads of at most `max_payload` bytes are accepted.
    pub(super) fn set_max_payload(&mut self, max_payload: u32) {
        self.frames.set_max_payload(max_payload);
    }

    /// The next frame that is there already.
    pub(super) fn buffered(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        self.frames.next()
    }

    /// Reads more; the bytes that came are also appended to `copy`.
    pub(super) async fn fill(&mut self, copy: Option<&mut Vec<u8>>) -> Result<(), ReadError> {
        let count = self.half.read(&mut self.scratch).await?;
        if count == 0 {
            return Err(ReadError::End);
        }
        self.frames.buffer().extend_from_slice(&self.scratch[..count]);
        if let Some(copy) = copy {
            copy.extend_from_slice(&self.scratch[..count]);
        }
        Ok(())
    }

    /// The next frame. Lets the shard's other tasks run now and then, however much is there.
    pub(super) async fn next<E: Env>(&mut self) -> Result<(Header, Bytes), ReadError> {
        loop {
            if self.handled >= FRAMES_PER_TURN {
                self.handled = 0;
                E::yield_now().await;
            }
            if let Some(frame) = self.frames.next()? {
                self.handled += 1;
                return Ok(frame);
            }
            self.fill(None).await?;
            self.handled += READ_COSTS;
        }
    }

    /// The direction itself, and what was read from it and not handed out.
    pub(super) fn into_parts(self) -> (R, BytesMut) {
        (self.half, self.frames.into_unread())
    }

    /// Reads and drops what still comes, until the other end closes: closing before that would reset the connection, and a
    /// reset can overtake the last frame that we wrote.
    pub(super) async fn drain(&mut self) {
        while matches!(self.half.read(&mut self.scratch).await, Ok(count) if count > 0) {}
    }
}
