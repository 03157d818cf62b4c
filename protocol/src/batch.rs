//! One batch of commands: the payload of one Raft entry, one contiguous immutable buffer (a format).
//!
//! ```text
//! batch   0  2 format (1)   4  4 count   8  8 base stamp (HLC)        16 bytes, then the commands
//! command 0  4 body length  4  2 kind    6  2 flags (bit 0: reclaim)
//!         8  8 session     16  8 number  24 8 acknowledged  32 8 valid until, ms     40 bytes, then the body
//! ```
//! A command's body is the request's body as the client sent it: it goes to the log and to the followers unchanged.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::frame::FrameError;
use crate::{Hlc, RequestPrelude, SessionId};

/// The kind under which a malformed batch is reported.
const BATCH: u16 = 0;
const FORMAT: u16 = 1;
const BATCH_HEADER_BYTES: usize = 16;
/// The bytes before each command's body.
pub const COMMAND_HEADER_BYTES: usize = 40;

/// Command flag: memory is short, a delete drops its key's unheld history at once.
pub const COMMAND_RECLAIM: u16 = 1;

/// Gathers commands into the buffer of one entry.
#[derive(Debug)]
pub struct BatchBuilder {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// A builder without commands; the header is filled in by [`finish`](Self::finish).
    pub fn new() -> Self {
        Self { bytes: vec![0; BATCH_HEADER_BYTES], count: 0 }
    }

    /// Adds one command; its body is copied.
    pub fn push(&mut self, kind: u16, flags: u16, prelude: &RequestPrelude, body: &[u8]) {
        let length = u32::try_from(body.len()).expect("a body is within the frame limit");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(&prelude.session.0.to_le_bytes());
        self.bytes.extend_from_slice(&prelude.number.to_le_bytes());
        self.bytes.extend_from_slice(&prelude.acknowledged.to_le_bytes());
        self.bytes.extend_from_slice(&prelude.valid_until_ms.to_le_bytes());
        self.bytes.extend_from_slice(body);
        self.count += 1;
    }

    /// How many commands were added.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The length so far in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Closes the batch under the leader's `stamp`.
    pub fn finish(mut self, stamp: Hlc) -> Batch {
        self.bytes[0..2].copy_from_slice(&FORMAT.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&stamp.0.to_le_bytes());
        Batch(self.bytes.into())
    }
}

/// A batch: cheap to clone, immutable. `Default` is the empty, unreadable batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(Bytes);

impl Batch {
    /// Takes received bytes unchecked; they are checked when they are read.
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Header and commands as they stand in a log entry.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// How many commands the header announces.
    ///
    /// # Errors
    /// `FrameError::Body` for a malformed batch header.
    pub fn count(&self) -> Result<u32, FrameError> {
        Ok(self.header()?.0)
    }

    /// The leader's stamp.
    ///
    /// # Errors
    /// `FrameError::Body` for a malformed batch header.
    pub fn stamp(&self) -> Result<Hlc, FrameError> {
        Ok(self.header()?.1)
    }

    /// The commands in order. The iterator yields an error and ends where the bytes are malformed.
    ///
    /// # Errors
    /// `FrameError::Body` for a malformed batch header.
    pub fn commands(&self) -> Result<Commands<'_>, FrameError> {
        let (count, _) = self.header()?;
        Ok(Commands { rest: &self.0[BATCH_HEADER_BYTES..], left: count })
    }

    fn header(&self) -> Result<(u32, Hlc), FrameError> {
        let head = self.0.first_chunk::<BATCH_HEADER_BYTES>().ok_or(FrameError::Body(BATCH))?;
        if u16::from_le_bytes([head[0], head[1]]) != FORMAT {
            return Err(FrameError::Body(BATCH));
        }
        let count = u32::from_le_bytes(head[4..8].try_into().expect("four bytes"));
        let stamp = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
        Ok((count, Hlc(stamp)))
    }
}

/// One command in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Frame kind of the request.
    pub kind: u16,
    /// [`COMMAND_RECLAIM`].
    pub flags: u16,
    /// The session, 0 for none.
    pub session: SessionId,
    /// The number within the session.
    pub number: u64,
    /// Every number below was answered.
    pub acknowledged: u64,
    /// Unix milliseconds after which it must not be applied.
    pub valid_until_ms: u64,
    /// Archived request, not validated here.
    pub body: &'a [u8],
}

impl Command<'_> {
    /// Distinguishes this command's request from any other under the same (session, number): XXH3, 64 bits, of the body,
    /// with the kind as its seed (a format: it is kept in snapshots).
    pub fn digest(&self) -> u64 {
        digest(u64::from(self.kind), self.body)
    }
}

/// XXH3, 64 bits, of `bytes` under `seed`: stable over versions and machines.
pub fn digest(seed: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Walks the commands of a batch.
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return (!self.rest.is_empty()).then(|| {
                self.rest = &[];
                Err(FrameError::Body(BATCH))
            });
        }
        self.left -= 1;
        let Some(command) = self.take() else {
            (self.left, self.rest) = (0, &[]);
            return Some(Err(FrameError::Body(BATCH)));
        };
        Some(Ok(command))
    }
}

impl<'a> Commands<'a> {
    fn take(&mut self) -> Option<Command<'a>> {
        let (head, rest) = self.rest.split_first_chunk::<COMMAND_HEADER_BYTES>()?;
        let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let length = u32::from_le_bytes(head[0..4].try_into().expect("four bytes")) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Command {
            kind: u16::from_le_bytes([head[4], head[5]]),
            flags: u16::from_le_bytes([head[6], head[7]]),
            session: SessionId(word(8)),
            number: word(16),
            acknowledged: word(24),
            valid_until_ms: word(32),
            body,
        })
    }
}
