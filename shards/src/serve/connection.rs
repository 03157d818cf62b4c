//! A client's connection: one task reads and dispatches, one gathers the answers and writes them.
//!
//! What a client can cost is bounded: unanswered requests by count and bytes (then `Busy`), unread answers by bytes (then
//! its requests are no longer read), half a frame by size and time, and its share of the shard by a yield after each turn.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::FrameError;
use kahuna_protocol::{ErrorCode, ErrorReply, FrameReader};

use super::listener::OpenConnection;
use super::load::Load;
use super::outbox::Outbox;
use crate::env::{Env, Net, ReadHalf, Stream};
use crate::shard::Shard;

/// The rest of a frame must arrive within this time.
const FRAME_LIMIT: Duration = Duration::from_secs(30);
/// What is read and thrown away from a client that was refused.
const DISCARD_BYTES: usize = 8 << 20;
const DISCARD_LIMIT: Duration = Duration::from_secs(1);
/// Frames that one connection handles before others run; a long frame counts as several.
const FRAMES_PER_TURN: usize = 256;
const TURN_UNIT_BYTES: usize = 1024;
/// The read buffer starts small, since most connections are idle, and grows while reads fill it.
const LEAST_READ_BYTES: usize = 4 << 10;
const MOST_READ_BYTES: usize = 256 << 10;

/// Serves a connection that was welcomed, until either side ends it.
pub(super) async fn serve_connection<E: Env>(
    shard: Rc<Shard<E>>,
    stream: <E::Net as Net>::Stream,
    unread: Bytes,
    open: OpenConnection<E>,
) {
    let limits = &shard.config.limits;
    let load = Load::new(limits.connection_in_flight, u64::from(limits.connection_in_flight_bytes));
    let out = Outbox::new(shard.clock.clone(), load);
    let (mut read_half, write_half) = stream.split();
    let writer = out.clone();
    E::spawn(async move {
        writer.write_to(write_half).await;
        drop(open);
    });

    let mut reader = FrameReader::new(limits.max_frame_bytes);
    reader.buffer().extend_from_slice(&unread);
    match read_frames(&shard, &mut read_half, &mut reader, &out).await {
        Ok(()) => out.end(),
        Err((request_id, error)) => {
            out.push(request_id, frame_error(error).into());
            out.cut();
            discard::<E>(&mut read_half).await;
        }
    }
}

/// Reads what a refused client still sends, within a limit: a socket that closes with bytes unread resets the connection,
/// and the client would lose the error frame that tells it why.
pub(super) async fn discard<E: Env>(half: &mut impl ReadHalf) {
    let mut scratch = vec![0; LEAST_READ_BYTES];
    let until_end = async {
        let mut left = DISCARD_BYTES;
        while let Ok(bytes @ 1..) = half.read(&mut scratch).await {
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
        }
    };
    // Whoever still sends after this learns it by a reset.
    E::timeout(DISCARD_LIMIT, until_end).await;
}

/// Reads and dispatches until the client has nothing more to say, or says something that is no frame.
async fn read_frames<E: Env>(
    shard: &Rc<Shard<E>>,
    half: &mut impl ReadHalf,
    reader: &mut FrameReader,
    out: &Rc<Outbox<E>>,
) -> Result<(), (u64, FrameError)> {
    let mut scratch = vec![0; LEAST_READ_BYTES];
    let mut turn = 0;
    loop {
        while let Some((header, payload)) = reader.next().map_err(|error| (0, error))? {
            turn += 1 + payload.len() / TURN_UNIT_BYTES;
            shard.take_client_frame(&header, payload, out).map_err(|error| (header.request_id, error))?;
            if turn >= FRAMES_PER_TURN {
                turn = 0;
                E::yield_now().await;
            }
        }
        if !out.has_room().await {
            return Ok(());
        }
        let read = half.read(&mut scratch);
        let bytes =
            if reader.is_mid_frame() { E::timeout(FRAME_LIMIT, read).await.unwrap_or(Ok(0)) } else { read.await };
        // A reset is as good as an end: there is nobody to tell.
        let bytes = bytes.unwrap_or(0);
        if bytes == 0 {
            return Ok(());
        }
        reader.buffer().extend_from_slice(&scratch[..bytes]);
        fit(&mut scratch, bytes);
    }
}

/// Adapts the read buffer to what the last read brought.
fn fit(scratch: &mut Vec<u8>, bytes: usize) {
    if bytes == scratch.len() && bytes < MOST_READ_BYTES {
        scratch.resize(bytes * 2, 0);
    } else if bytes < scratch.len() / 8 && scratch.len() > LEAST_READ_BYTES {
        scratch.truncate(scratch.len() / 2);
        scratch.shrink_to_fit();
    }
}

/// What a malformed frame is answered with.
pub(super) fn frame_error(error: FrameError) -> ErrorReply {
    let code = match error {
        FrameError::Version(_) => ErrorCode::BadVersion,
        FrameError::TooLong { .. } => ErrorCode::TooLarge,
        _ => ErrorCode::BadFrame,
    };
    ErrorReply::new(code, format!("{error}; the connection closes"))
}
