//! A sequence's record.

use kahuna_protocol::Kind;

use super::record_kind::{HAS_TIME, RecordKind};
use super::{Floors, in_epoch};
use crate::codec::{Reader, Writer};

/// A sequence as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Which life of this name; see [`in_epoch`](super::in_epoch) for what it counts as after a restore.
    pub incarnation: u64,
    /// The last value drawn, or the initial one.
    pub value: i64,
    /// The step, not 0.
    pub increment: i64,
    /// The last value that may be drawn.
    pub max: Option<i64>,
}

impl Sequence {
    /// How many values are left.
    pub fn remaining(&self) -> u64 {
        let end = match self.max {
            Some(max) => max,
            None if self.increment > 0 => i64::MAX,
            None => i64::MIN,
        };
        // A distance between two i64 fits i128, and so does its quotient by a step of 1 fit u64.
        let steps = (i128::from(end) - i128::from(self.value)) / i128::from(self.increment);
        u64::try_from(steps.max(0)).expect("at most 2^64 - 1 steps lie between two i64")
    }

    /// Draws `count` values: the first and the last one. `None`, and nothing is drawn, when fewer are left.
    pub fn draw(&mut self, count: u64) -> Option<(i64, i64)> {
        if count == 0 || count > self.remaining() {
            return None;
        }
        let at = |steps: u64| {
            let value = i128::from(self.value) + i128::from(self.increment) * i128::from(steps);
            i64::try_from(value).expect("within the bound, which is an i64")
        };
        let (start, end) = (at(1), at(count));
        self.value = end;
        Some((start, end))
    }
}

impl RecordKind for Sequence {
    const KIND: Kind = Kind::Sequence;
    const TAG: u8 = 6;

    fn end_ms(&self, _: u64) -> Option<u64> {
        None
    }

    fn raise_floor(&self, floors: &mut Floors, restore_epoch: u16) {
        floors.incarnation = floors.incarnation.max(in_epoch(self.incarnation, restore_epoch));
    }

    fn write(&self, writer: &mut Writer) {
        writer.u8(if self.max.is_some() { HAS_TIME } else { 0 });
        writer.u64(self.incarnation);
        writer.i64(self.value);
        writer.i64(self.increment);
        if let Some(max) = self.max {
            writer.i64(max);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8().filter(|flags| flags & !HAS_TIME == 0)?;
        let incarnation = reader.u64()?;
        let value = reader.i64()?;
        let increment = reader.i64().filter(|&increment| increment != 0)?;
        let max = if flags & HAS_TIME == 0 { None } else { Some(reader.i64()?) };
        Some(Self { incarnation, value, increment, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(value: i64, increment: i64, max: Option<i64>) -> Sequence {
        Sequence { incarnation: 1, value, increment, max }
    }

    #[test]
    fn the_ends_of_i64_neither_wrap_nor_overflow() {
        let mut whole = sequence(i64::MIN, 1, None);
        assert_eq!(whole.remaining(), u64::MAX);
        assert_eq!(whole.draw(u64::MAX), Some((i64::MIN + 1, i64::MAX)));
        assert_eq!(whole.draw(1), None);
        let mut down = sequence(i64::MAX, i64::MIN, None);
        assert_eq!(down.remaining(), 1);
        assert_eq!(down.draw(2), None);
        assert_eq!(down.draw(1), Some((-1, -1)));
        assert_eq!(down.draw(1), None);
        let mut up = sequence(i64::MIN, i64::MAX, None);
        assert_eq!(up.draw(2), Some((-1, i64::MAX - 1)));
    }

    #[test]
    fn max_is_the_last_value_in_either_direction() {
        let mut up = sequence(0, 3, Some(9));
        assert_eq!(up.draw(3), Some((3, 9)));
        assert_eq!(up.draw(1), None);
        let mut short = sequence(0, 3, Some(8));
        assert_eq!((short.remaining(), short.draw(3), short.value), (2, None, 0));
        let mut down = sequence(0, -5, Some(-10));
        assert_eq!(down.draw(2), Some((-5, -10)));
        assert_eq!(down.draw(1), None);
        assert_eq!(sequence(0, 1, Some(-1)).remaining(), 0);
    }
}
