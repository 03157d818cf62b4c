//! A peer that is nothing but bytes.

use bytes::Bytes;
use kahuna_protocol::{Header, peer::PeerPrelude};
use kahuna_shards::{
    env::{Net, ReadHalf, WriteHalf},
    linux::{Tcp, TcpStream},
};

use super::running::LIMIT;

/// A connection of raw bytes.
pub struct Wire {
    stream: TcpStream,
    frames: kahuna_protocol::FrameReader,
}

impl Wire {
    pub async fn dial(address: &str) -> Self {
        Self::over(Tcp::connect(address.parse().expect("an address"), LIMIT).await.expect("somebody listens"))
    }

    pub fn over(stream: TcpStream) -> Self {
        Self { stream, frames: kahuna_protocol::FrameReader::new(64 << 20) }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The other end may have had enough already; what it then says is what the test is about.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame, or `None` at the end of the stream. Any reset counts as the end.
    pub async fn next(&mut self) -> Option<(Header, PeerPrelude, Bytes)> {
        let (header, payload) = self.next_raw().await?;
        let (prelude, _) = PeerPrelude::split(&payload).expect("a prelude");
        Some((header, prelude, payload.slice(PeerPrelude::BYTES..)))
    }

    /// The same with its payload as it is.
    pub async fn next_raw(&mut self) -> Option<(Header, Bytes)> {
        let mut chunk = vec![0; 64 << 10];
        loop {
            if let Some(frame) = self.frames.next().expect("whole frames only") {
                return Some(frame);
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.extend(&chunk[..count]),
            }
        }
    }
}
