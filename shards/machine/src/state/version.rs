//! One version of a key.

use bytes::Bytes;
use kahuna_protocol::Hlc;

use super::record_kind::HAS_TIME;
use crate::codec::{Reader, Writer};

/// The tag of a version's item.
pub const TAG: u8 = 4;
/// It has a value; without one it is a tombstone.
const HAS_VALUE: u8 = 1;
/// Versions before it were dropped.
const GAP: u8 = 4;

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number among the key's versions.
    pub revision: u64,
    /// The value; none for a deletion.
    pub value: Option<Bytes>,
    /// The stamp of the command that wrote it.
    pub stamp: Hlc,
    /// The stamp from which it is visible; that of the command, unless a transaction commits it later.
    pub commit_stamp: Hlc,
    /// When it ends by itself, Unix milliseconds.
    pub deadline_ms: Option<u64>,
    /// Versions between the one before it in the chain and this one are not kept.
    pub gap: bool,
}

impl Version {
    /// The last millisecond in which it is alive, or was; `None` for a value without a deadline.
    pub fn end_ms(&self, skew_ms: u64) -> Option<u64> {
        match self.value {
            None => Some(self.commit_stamp.millis()),
            Some(_) => self.deadline_ms.map(|deadline_ms| deadline_ms.saturating_add(skew_ms)),
        }
    }

    /// Writes its item.
    pub fn write(&self, writer: &mut Writer) {
        writer.u8(TAG);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        writer.u8(flag(self.value.is_some(), HAS_VALUE)
            | flag(self.deadline_ms.is_some(), HAS_TIME)
            | flag(self.gap, GAP));
        writer.u64(self.revision);
        writer.u64(self.stamp.0);
        writer.u64(self.commit_stamp.0);
        if let Some(deadline_ms) = self.deadline_ms {
            writer.u64(deadline_ms);
        }
        if let Some(value) = &self.value {
            writer.bytes(value);
        }
    }

    /// What an item holds behind its tag.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8().filter(|flags| flags & !(HAS_VALUE | HAS_TIME | GAP) == 0)?;
        let (revision, stamp, commit_stamp) = (reader.u64()?, Hlc(reader.u64()?), Hlc(reader.u64()?));
        let deadline_ms = if flags & HAS_TIME == 0 { None } else { Some(reader.u64()?) };
        // Copied, so that a small value does not pin the block it came in.
        let value = if flags & HAS_VALUE == 0 { None } else { Some(Bytes::copy_from_slice(reader.bytes()?)) };
        Some(Self { revision, value, stamp, commit_stamp, deadline_ms, gap: flags & GAP != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_back_with_and_without_each_field_that_may_be_missing() {
        for bits in 0..8u8 {
            let [value, deadline, gap] = [1, 2, 4].map(|bit| bits & bit != 0);
            let version = Version {
                revision: 3,
                value: value.then(|| Bytes::from_static(b"value")),
                stamp: Hlc(4),
                commit_stamp: Hlc(5),
                deadline_ms: deadline.then_some(6),
                gap,
            };
            let mut writer = Writer::default();
            version.write(&mut writer);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes[1..]);
            assert_eq!(Version::read(&mut reader), Some(version));
            assert!(reader.is_empty(), "nothing is left over");
        }
    }
}
