//! Cuts a stream of bytes into frames. Sans I/O: the caller reads into the buffer, the reader hands frames out of it.

use bytes::{Buf, Bytes, BytesMut};

use crate::Header;
use crate::frame::FrameError;

/// Gathers the bytes of one connection and gives its frames, their payloads shared with the read buffer.
///
/// ```text
/// read() -> [ frame | frame | fra ] -> next() = frame, next() = frame, next() = None, "fra" stays for the next read
/// ```
/// One owner per connection; all state is the unread bytes. They are bounded: after `next` has said `None`, at most one
/// unfinished frame is held, so the buffer never needs more than a frame and one read. A payload keeps the piece of the
/// buffer it came in alive: whoever stores a small part of it for long copies that part.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    max_payload: u32,
}

impl FrameReader {
    /// A reader at the start of a stream, which accepts payloads of at most `max_payload` bytes.
    pub fn new(max_payload: u32) -> Self {
        Self { buffer: BytesMut::new(), max_payload }
    }

    /// From now on payloads of at most `max_payload` bytes are accepted.
    pub fn set_max_payload(&mut self, max_payload: u32) {
        self.max_payload = max_payload;
    }

    /// Where the next bytes of the stream go: append to it, reserving room for a whole read first.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether part of a frame is waiting for its rest. Asked after [`FrameReader::next`] said `None`.
    pub fn is_mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The unread bytes, for whoever goes on reading this stream elsewhere.
    pub fn into_unread(self) -> BytesMut {
        self.buffer
    }

    /// The next whole frame: its header and its payload, checksum verified; `None` when more bytes are needed.
    ///
    /// # Errors
    /// `Magic`, `Version`, `TooLong`, as soon as the header says so, and `Crc`. The stream has no next frame after an
    /// error: the same error comes again.
    #[expect(clippy::should_implement_trait, reason = "not an iterator: `None` means not yet")]
    pub fn next(&mut self) -> Result<Option<(Header, Bytes)>, FrameError> {
        let Some(header) = Header::parse(&self.buffer, self.max_payload)? else {
            return Ok(None);
        };
        let Some(frame) = self.buffer.get(..header.frame_bytes()) else {
            return Ok(None);
        };
        header.verify(frame)?;
        let mut frame = self.buffer.split_to(header.frame_bytes()).freeze();
        frame.advance(Header::BYTES);
        Ok(Some((header, frame)))
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
                reader.buffer().extend_from_slice(bytes);
                drain(&mut reader, &mut seen);
            }
            assert_eq!(seen, whole, "pieces of {piece}");
            assert!(!reader.is_mid_frame());
        }
    }

    #[test]
    fn payloads_are_shared_not_copied() {
        let mut reader = FrameReader::new(64);
        reader.buffer().extend_from_slice(&frames());
        let start = reader.buffer().as_ptr() as usize;
        let end = start + reader.buffer().len();
        reader.next().expect("good").expect("whole");
        let (_, payload) = reader.next().expect("good").expect("whole");
        assert!((start..end).contains(&(payload.as_ptr() as usize)));
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
            reader.buffer().extend_from_slice(&bad);
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
        reader.buffer().extend_from_slice(&frames()[Header::BYTES..2 * Header::BYTES]);
        assert_eq!(reader.next(), Err(FrameError::TooLong { length: 9, limit: 8 }));
        reader.set_max_payload(9);
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.is_mid_frame());
    }
}
