//! What every kind of record has.

use bytes::Bytes;
use kahuna_protocol::{Kind, Position};

use super::Floors;
use crate::codec::{Reader, Writer};

/// Flag of an item, of a version, a lock's release and a sequence's bound: the field is there.
pub const HAS_TIME: u8 = 2;

/// One kind of record. A record is behind a pointer: a shared map copies whole nodes, and must not copy values with them.
pub trait RecordKind: Clone {
    /// The kind in its position.
    const KIND: Kind;
    /// The tag of its item.
    const TAG: u8;

    /// The last millisecond of machine time in which it is alive, or was; `None` for one without an end.
    fn end_ms(&self, skew_ms: u64) -> Option<u64>;

    /// It goes: what is minted for a fresh name of its kind starts above its number.
    fn raise_floor(&self, floors: &mut Floors, restore_epoch: u16);

    /// Writes what stands behind the position in its item.
    fn write(&self, writer: &mut Writer);

    /// What stands there.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Whether a lease with this deadline has ended at `time_ms`: all three in Unix milliseconds, or differences of them.
pub fn is_past(deadline_ms: u64, skew_ms: u64, time_ms: u64) -> bool {
    time_ms > deadline_ms.saturating_add(skew_ms)
}

/// A position in an item.
pub fn read_position(reader: &mut Reader<'_>) -> Option<Position> {
    reader.bytes().map(Bytes::copy_from_slice).map(Position::from_encoded)
}
