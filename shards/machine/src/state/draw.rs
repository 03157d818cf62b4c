//! The draws from sequences that an idempotency key protects.

use std::collections::BTreeSet;

use bytes::Bytes;
use kahuna_protocol::Position;

use super::record_kind::read_position;
use super::table::{BadItem, Items, Restoring, SharedMap, Table, put_last};
use crate::codec::Reader;

const TAG: u8 = 7;

/// A sequence's position and an idempotency key.
pub type DrawKey = (Position, Bytes);

/// What was drawn under an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The sequence's incarnation then; the key means nothing in another one.
    pub incarnation: u64,
    /// First value drawn.
    pub start: i64,
    /// Last value drawn, included.
    pub end: i64,
    /// How many.
    pub count: u64,
    /// The last millisecond of machine time in which a repeat gets it again.
    pub expires_ms: u64,
}

/// Draws by sequence and idempotency key. Due is each at its expiry, in Unix milliseconds.
pub struct Draws;

impl Table for Draws {
    type Key = DrawKey;
    type Row = Draw;
    type Due = BTreeSet<(u64, DrawKey)>;
    type Place = DrawKey;
    type Making = ();

    fn write(rows: &SharedMap<DrawKey, Draw>, last: Option<&DrawKey>, block: &mut Items<'_>) -> Option<DrawKey> {
        block.put_rows(rows, last, |(position, key), draw, writer| {
            writer.u8(TAG);
            writer.bytes(position.encoded());
            writer.bytes(key);
            writer.u64(draw.incarnation);
            writer.i64(draw.start);
            writer.i64(draw.end);
            writer.u64(draw.count);
            writer.u64(draw.expires_ms);
        })
    }

    fn read(_: u8, reader: &mut Reader<'_>, to: &mut Restoring<'_>) -> Result<(), BadItem> {
        let (key, draw) = read(reader).ok_or(BadItem::Content("draw"))?;
        put_last(&mut to.state.rows.draws, key.clone(), draw, "draws")?;
        to.index.draws.insert((draw.expires_ms, key));
        Ok(())
    }

    fn free_due(due: &mut Self::Due) -> bool {
        due.pop_first().is_some()
    }
}

fn read(reader: &mut Reader<'_>) -> Option<(DrawKey, Draw)> {
    let position = read_position(reader)?;
    let key = Bytes::copy_from_slice(reader.bytes()?);
    let incarnation = reader.u64()?;
    let (start, end) = (reader.i64()?, reader.i64()?);
    let (count, expires_ms) = (reader.u64()?, reader.u64()?);
    Some(((position, key), Draw { incarnation, start, end, count, expires_ms }))
}
