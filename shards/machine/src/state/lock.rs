//! A lock's record.

use bytes::Bytes;
use kahuna_protocol::Kind;

use super::Floors;
use super::record_kind::{HAS_TIME, RecordKind, is_past};
use crate::codec::{Reader, Writer};

/// The last grant of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The fencing token of that grant.
    pub token: u64,
    /// Who holds it; empty once it is released.
    pub owner: Bytes,
    /// When the lease ends, Unix milliseconds.
    pub deadline_ms: u64,
    /// When it was given back, Unix milliseconds of machine time.
    pub released_ms: Option<u64>,
}

impl Lock {
    /// Whether the lock is held at `time_ms`.
    pub fn is_held(&self, skew_ms: u64, time_ms: u64) -> bool {
        self.released_ms.is_none() && !is_past(self.deadline_ms, skew_ms, time_ms)
    }
}

impl RecordKind for Lock {
    const KIND: Kind = Kind::Lock;
    const TAG: u8 = 5;

    fn end_ms(&self, skew_ms: u64) -> Option<u64> {
        Some(self.released_ms.unwrap_or_else(|| self.deadline_ms.saturating_add(skew_ms)))
    }

    fn raise_floor(&self, floors: &mut Floors, _: u16) {
        floors.token = floors.token.max(self.token);
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(if self.released_ms.is_some() { HAS_TIME } else { 0 });
        writer.u64(self.token);
        writer.u64(self.deadline_ms);
        if let Some(released_ms) = self.released_ms {
            writer.u64(released_ms);
        }
        writer.bytes(&self.owner);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8().filter(|flags| flags & !HAS_TIME == 0)?;
        let (token, deadline_ms) = (reader.u64()?, reader.u64()?);
        let released_ms = if flags & HAS_TIME == 0 { None } else { Some(reader.u64()?) };
        let owner = Bytes::copy_from_slice(reader.bytes()?);
        Some(Self { token, owner, deadline_ms, released_ms })
    }
}
