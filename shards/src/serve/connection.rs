//! A client's connection: one task reads and dispatches, one gathers the answers and writes them.
//!
//! What a client can cost is bounded: unanswered requests by count and bytes (then `Busy`), unread answers by bytes (then
//! its requests are no longer read), half a frame by size and time, and its share of the shard by a yield after each
//! scheduling slice. Unread answers and half frames are bounded over all connections of the shard, too ([`crate::budget`]).

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::FrameError;
use kahuna_protocol::{ErrorCode, ErrorReply};

use super::open_connection::OpenConnection;
use super::outbox::Outbox;
use crate::discard::discard;
use crate::env::{Env, Net, ReadHalf, Stream};
use crate::request::Load;
use crate::shard::Shard;
use crate::unread::Unread;

/// The rest of a frame must arrive within this time.
const FRAME_LIMIT: Duration = Duration::from_secs(30);
/// Frames that one connection handles before others run; a long frame counts as several.
const FRAMES_PER_SLICE: usize = 256;
const SLICE_UNIT_BYTES: usize = 1024;

/// Serves a connection that was welcomed, until either side ends it.
pub(super) async fn serve_connection<E: Env>(
    shard: Rc<Shard<E>>,
    stream: <E::Net as Net>::Stream,
    unread: Bytes,
    open: OpenConnection<E>,
) {
    let limits = &shard.config().limits;
    let load = Load::new(limits.connection_in_flight, u64::from(limits.connection_in_flight_bytes));
    let out = Outbox::new(shard.clock().clone(), load, shard.unsent());
    let (read_half, write_half) = stream.split();
    let writer = out.clone();
    E::spawn(async move {
        writer.write_to(write_half).await;
        drop(open);
    });

    let through = shard.client_reads().clone();
    let mut arriving = Unread::new(read_half, limits.max_frame_bytes, &unread, through, FRAME_LIMIT);
    drop(unread);
    match read_frames(&shard, &mut arriving, &out).await {
        Ok(()) => out.end(),
        Err((request_id, error)) => {
            out.push(request_id, frame_error(error).into());
            out.cut();
            let mut half = arriving.into_half();
            discard::<E>(&mut half).await;
        }
    }
}

/// Reads and dispatches until the client closes its side, or sends something that is no frame.
async fn read_frames<E: Env>(
    shard: &Rc<Shard<E>>,
    arriving: &mut Unread<impl ReadHalf>,
    out: &Rc<Outbox<E>>,
) -> Result<(), (u64, FrameError)> {
    let mut handled = 0;
    loop {
        // Before each frame: a read may bring thousands, and the answers of some fill the room for all.
        if !out.has_room().await {
            return Ok(());
        }
        let Some((header, payload)) = arriving.next().map_err(|error| (0, error))? else {
            // A reset, or half a frame for too long, counts as the end: no client is left to answer.
            if arriving.fill::<E>().await.unwrap_or(0) == 0 {
                return Ok(());
            }
            continue;
        };
        handled += 1 + payload.len() / SLICE_UNIT_BYTES;
        shard.take_client_frame(&header, payload, out).map_err(|error| (header.request_id, error))?;
        if handled >= FRAMES_PER_SLICE {
            handled = 0;
            E::yield_now().await;
        }
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
