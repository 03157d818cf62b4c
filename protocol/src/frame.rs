//! The fixed header before every frame, and the codec around it. Sans I/O: bytes in, views out.

use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{self, Source};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Positional, Writer};
use rkyv::util::AlignedVec;
use rkyv::{Portable, Serialize};

use crate::Hlc;

/// `KAHN`, the first four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"KAHN";
/// The version of the client and peer protocols that this crate speaks, lowest and highest.
pub const VERSIONS: std::ops::RangeInclusive<u8> = 1..=1;

/// Header flag: the frame answers a request.
pub const FLAG_REPLY: u8 = 1;
/// Header flag: the request came, or the reply went, through another node than the one the client talks to.
pub const FLAG_FORWARDED: u8 = 2;

/// Why bytes are not a frame, or the body of a frame is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are not [`MAGIC`].
    #[error("bad magic {0:02x?}: this is not the Kahuna protocol")]
    Magic([u8; 4]),
    /// A protocol version that this side does not implement.
    #[error("version {0} is not spoken here (1 to 1)")]
    Version(u8),
    /// The length goes beyond the limit.
    #[error("frame of {length} bytes is over the limit of {limit} (max_frame_bytes)")]
    TooLong {
        /// The payload length that the header claims.
        length: u32,
        /// The most that is accepted.
        limit: u32,
    },
    /// The checksum does not match.
    #[error("CRC mismatch: stated {stated:08x}, computed {computed:08x}")]
    Crc {
        /// In the header.
        stated: u32,
        /// Checksum of the received bytes.
        computed: u32,
    },
    /// No body is known under this kind.
    #[error("unknown kind {0:#06x}")]
    UnknownKind(u16),
    /// The body is not a valid archive of its kind.
    #[error("the body of kind {0:#06x} does not validate")]
    Body(u16),
    /// The request prelude is short or holds a value out of range.
    #[error("the request prelude is malformed")]
    Prelude,
}

/// The header, [`Header::BYTES`] bytes, little endian.
///
/// ```text
///  0  4 magic "KAHN"      8  4 length of what follows    16 8 request id
///  4  1 version          12  4 CRC32 (IEEE) of bytes     24 8 HLC of the sender
///  5  1 flags                  0..12 and 16..end
///  6  2 kind
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The protocol version of this frame.
    pub version: u8,
    /// [`FLAG_REPLY`] and friends.
    pub flags: u8,
    /// What the payload is.
    pub kind: u16,
    /// The payload's length in bytes.
    pub length: u32,
    /// Chosen by the asker, repeated by the answer.
    pub request_id: u64,
    /// The sender's hybrid logical clock.
    pub hlc: Hlc,
    /// The checksum the frame carries.
    pub crc: u32,
}

impl Header {
    /// Encoded length; every frame begins with these bytes.
    pub const BYTES: usize = 32;

    /// Reads and checks a header; `None` while fewer than [`Header::BYTES`] bytes are there.
    ///
    /// # Errors
    /// `Magic`, `Version`, `TooLong`.
    pub fn parse(bytes: &[u8], max_payload: u32) -> Result<Option<Self>, FrameError> {
        if let Some(magic) = bytes.first_chunk::<4>()
            && *magic != MAGIC
        {
            return Err(FrameError::Magic(*magic));
        }
        let Some(head) = bytes.first_chunk::<{ Self::BYTES }>() else {
            return Ok(None);
        };
        let word32 = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let word64 = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let header = Self {
            version: head[4],
            flags: head[5],
            kind: u16::from_le_bytes([head[6], head[7]]),
            length: word32(8),
            crc: word32(12),
            request_id: word64(16),
            hlc: Hlc(word64(24)),
        };
        if !VERSIONS.contains(&header.version) {
            return Err(FrameError::Version(header.version));
        }
        if header.length > max_payload {
            return Err(FrameError::TooLong { length: header.length, limit: max_payload });
        }
        Ok(Some(header))
    }

    /// The length of the whole frame in bytes.
    pub fn frame_bytes(&self) -> usize {
        Self::BYTES + self.length as usize
    }

    /// Checks the checksum of a whole frame, header included.
    ///
    /// # Errors
    /// `Crc`.
    pub fn verify(&self, frame: &[u8]) -> Result<(), FrameError> {
        debug_assert_eq!(frame.len(), self.frame_bytes());
        let computed = frame_crc(frame);
        if computed == self.crc { Ok(()) } else { Err(FrameError::Crc { stated: self.crc, computed }) }
    }
}

/// Appends one frame to `out`: a header, and the payload that `payload` writes.
///
/// The payload must stay below 4 GiB: callers check their limits before they encode.
pub fn encode_frame(
    out: &mut Vec<u8>,
    kind: u16,
    flags: u8,
    request_id: u64,
    hlc: Hlc,
    payload: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; Header::BYTES]);
    payload(out);
    let length = u32::try_from(out.len() - start - Header::BYTES).expect("a payload is below 4 GiB");
    let head = &mut out[start..start + Header::BYTES];
    head[0..4].copy_from_slice(&MAGIC);
    head[4] = *VERSIONS.end();
    head[5] = flags;
    head[6..8].copy_from_slice(&kind.to_le_bytes());
    head[8..12].copy_from_slice(&length.to_le_bytes());
    head[16..24].copy_from_slice(&request_id.to_le_bytes());
    head[24..32].copy_from_slice(&hlc.0.to_le_bytes());
    let crc = frame_crc(&out[start..]);
    out[start + 12..start + 16].copy_from_slice(&crc.to_le_bytes());
}

fn frame_crc(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(&frame[16..]);
    hasher.finalize()
}

/// Validates `body` and gives the archived value in place.
///
/// # Errors
/// `FrameError::Body` with `kind`.
pub fn access<T>(kind: u16, body: &[u8]) -> Result<&T, FrameError>
where
    T: Portable + for<'a> CheckBytes<HighValidator<'a, rancor::Failure>>,
{
    rkyv::access::<T, rancor::Failure>(body).map_err(|rancor::Failure| FrameError::Body(kind))
}

/// Appends the archive of `value` to `out`.
pub fn archive_into<T>(value: &T, out: &mut Vec<u8>)
where
    T: for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, rancor::Panic>>,
{
    let Ok(bytes) = rkyv::to_bytes::<rancor::Panic>(value);
    out.extend_from_slice(&bytes);
}

/// The archive of a value would have more bytes than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an archive of more than {most} bytes was asked for")]
pub struct OverLong {
    /// The most that was allowed.
    pub most: usize,
}

/// The same for a value of unchecked size: an archive of more than `most` bytes is refused before it is made. No
/// more than 2 GiB can be made, for a relative pointer reaches no further.
///
/// # Errors
/// The archive would be too long; `out` may have a part of it.
pub fn archive_at_most<T>(value: &T, most: usize, out: &mut Vec<u8>) -> Result<(), OverLong>
where
    T: for<'a, 'b> Serialize<HighSerializer<Bounded<'b>, ArenaHandle<'a>, rancor::Failure>>,
{
    let from = out.len();
    let bounded = Bounded { out, from, most };
    rkyv::api::high::to_bytes_in::<_, rancor::Failure>(value, bounded).map(drop).map_err(|_| OverLong { most })
}

/// Takes no more than `most` bytes behind those that `out` had.
#[derive(Debug)]
pub struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    from: usize,
    most: usize,
}

impl Positional for Bounded<'_> {
    fn pos(&self) -> usize {
        self.out.len() - self.from
    }
}

impl<E: Source> Writer<E> for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.len() > self.most.saturating_sub(self.pos()) {
            rancor::fail!(OverLong { most: self.most });
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Copies an archived value out.
pub fn to_owned<T, A>(archived: &A) -> T
where
    A: rkyv::Deserialize<T, rkyv::api::high::HighDeserializer<rancor::Panic>>,
{
    let Ok(value) = rkyv::deserialize::<T, rancor::Panic>(archived);
    value
}
