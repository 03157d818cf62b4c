//! Cuts a stream of bytes into frames. Sans I/O: the caller gives the reader what it read, the reader hands frames out.

use bytes::{Buf, Bytes};

use crate::Header;
use crate::frame::FrameError;

/// Room for the next read that a reader keeps while nothing is unread.
const KEEP_BYTES: usize = 4 << 10;

/// Gathers the bytes of one connection and gives its frames.
///
/// ```text
/// read() -> [ frame | frame | fra ] -> next() = frame, next() = frame, next() = None, "fra" stays for the next read
/// ```
/// One owner per connection; all state is the unread bytes. They are bounded: after `next` returned `None`, at most one
/// unfinished frame is held, so the buffer never needs more than a frame and one read. A payload is a buffer of its own, at
/// most twice as long as its frame: a short request that waits does not keep all that was read with it. A long frame that
/// came alone takes the reader's buffer along and is not copied.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where the unread bytes start.
    start: usize,
    max_payload: u32,
}

impl FrameReader {
    /// A reader at the start of a stream, which accepts payloads of at most `max_payload` bytes.
    pub fn new(max_payload: u32) -> Self {
        Self { buffer: Vec::new(), start: 0, max_payload }
    }

    /// From now on payloads of at most `max_payload` bytes are accepted.
    pub fn set_max_payload(&mut self, max_payload: u32) {
        self.max_payload = max_payload;
    }

    /// Takes the next bytes of the stream.
    pub fn extend(&mut self, bytes: &[u8]) {
        // Room for all of a frame whose length is known, at once and no more.
        let missing = self.missing().unwrap_or(0).max(bytes.len());
        if self.buffer.capacity() - self.buffer.len() < missing {
            self.buffer.drain(..self.start);
            self.start = 0;
            self.buffer.reserve_exact(missing);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether part of a frame is waiting for its rest. Valid after [`FrameReader::next`] returned `None`.
    pub fn is_mid_frame(&self) -> bool {
        !self.unread().is_empty()
    }

    /// What was taken in and not handed out.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// How many bytes the frame at hand lacks; `None` as long as its header is not whole, or if it is no good one.
    pub fn missing(&self) -> Option<usize> {
        let header = Header::parse(self.unread(), self.max_payload).ok()??;
        Some(header.frame_bytes().saturating_sub(self.unread().len()))
    }

    /// The next whole frame: its header and its payload, checksum verified; `None` when more bytes are needed.
    ///
    /// # Errors
    /// `Magic`, `Version`, `TooLong`, as soon as the header shows it, and `Crc`. The stream has no next frame after an
    /// error: the same error comes again.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: `None` means not yet")]
    pub fn next(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        let unread = &self.buffer[self.start..];
        let Some(header) = Header::parse(unread, self.max_payload)? else {
            self.let_go();
            return Ok(None);
        };
        let Some(frame) = unread.get(..header.frame_bytes()) else {
            return Ok(None);
        };
        header.verify(frame)?;
        if unread.len() == frame.len() && self.buffer.capacity() <= 2 * frame.len() {
            let mut payload = Bytes::from(std::mem::take(&mut self.buffer));
            payload.advance(std::mem::take(&mut self.start) + Header::BYTES);
            return Ok(Some((header, payload)));
        }
        let payload = Bytes::copy_from_slice(&frame[Header::BYTES..]);
        self.start += header.frame_bytes();
        Ok(Some((header, payload)))
    }

    /// Gives a buffer back that served a burst and holds nothing any more.
    fn let_go(&mut self) {
        if self.unread().is_empty() {
            self.start = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEEP_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hlc;
    use crate::frame::encode_frame;

    fn frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        for id in 0..5_u64 {
            encode_frame(&mut bytes, 0x0202, 0, id, Hlc(7 + id), |out| {
                out.extend(std::iter::repeat_n(b'x', usize::try_from(id).expect("small") * 9));
            });
        }
        bytes
    }

    fn drain(reader: &mut FrameReader, into: &mut Vec<(u64, usize)>) {
        while let Some((header, payload)) = reader.next().expect("good frames") {
            assert_eq!(payload.len(), header.length as usize);
            assert!(payload.iter().all(|&byte| byte == b'x'));
            into.push((header.request_id, payload.len()));
        }
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let stream = frames();
        let whole: Vec<_> = vec![(0, 0), (1, 9), (2, 18), (3, 27), (4, 36)];
        for piece in 1..=stream.len() {
            let mut reader = FrameReader::new(64);
            let mut seen = Vec::new();
            for bytes in stream.chunks(piece) {
                reader.extend(bytes);
                drain(&mut reader, &mut seen);
            }
            assert_eq!(seen, whole, "pieces of {piece}");
            assert!(!reader.is_mid_frame());
        }
    }

    fn frame_of(payload: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, 0x0202, 0, 1, Hlc(7), |out| out.resize(out.len() + payload, b'x'));
        bytes
    }

    #[test]
    fn a_long_frame_is_gathered_once_and_handed_out_as_it_is() {
        let frame = frame_of(100 << 10);
        let mut reader = FrameReader::new(1 << 20);
        reader.extend(&frame[..5000]);
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.missing(), Some(frame.len() - 5000));
        reader.extend(&frame[5000..6000]);
        let (gathered, capacity) = (reader.buffer.as_ptr() as usize, reader.buffer.capacity());
        assert_eq!(capacity, frame.len(), "room for the frame and no more");
        reader.extend(&frame[6000..]);
        let (_, payload) = reader.next().expect("good").expect("whole");
        assert_eq!(payload.as_ptr() as usize, gathered + Header::BYTES);
        assert_eq!(reader.buffer.capacity(), 0);
    }

    #[test]
    fn a_short_payload_does_not_keep_what_was_read_with_it() {
        let mut reader = FrameReader::new(1 << 20);
        reader.extend(&[frame_of(200 << 10), frame_of(10)].concat());
        let held = reader.buffer.as_ptr_range();
        let (_, long) = reader.next().expect("good").expect("whole");
        let (_, short) = reader.next().expect("good").expect("whole");
        assert_eq!((long.len(), short.len()), (200 << 10, 10));
        assert!(!held.contains(&short.as_ptr()), "it is a copy");
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.buffer.capacity() <= KEEP_BYTES, "an idle connection keeps little");
    }

    #[test]
    fn every_flipped_bit_is_refused_and_stays_refused() {
        let stream = frames();
        let second = Header::BYTES..2 * Header::BYTES + 9;
        let length = second.start + 8..second.start + 12;
        for bit in second.start * 8..second.end * 8 {
            let mut bad = stream.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(64);
            reader.extend(&bad);
            assert!(reader.next().expect("the first frame is untouched").is_some());
            // A flipped length may ask for more bytes than came; then nothing is handed out either.
            match reader.next() {
                Ok(found) => assert!(found.is_none() && length.contains(&(bit / 8)), "bit {bit}"),
                Err(first) => assert_eq!(reader.next().expect_err("again"), first),
            }
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_the_payload_comes() {
        let mut reader = FrameReader::new(8);
        reader.extend(&frames()[Header::BYTES..2 * Header::BYTES]);
        assert_eq!(reader.next(), Err(FrameError::TooLong { length: 9, limit: 8 }));
        reader.set_max_payload(9);
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.is_mid_frame());
    }
}
