//! The positions a partition owns.

use bytes::Bytes;
use kahuna_protocol::{GroupId, Position, RangeMap};

/// A contiguous piece of the order of all positions, and how often it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The encoded bound at which it starts, included.
    pub start: Bytes,
    /// The encoded bound at which it ends, excluded; none for the end of all positions.
    pub end: Option<Bytes>,
    /// Rises whenever the bounds change.
    pub epoch: u64,
}

impl Range {
    /// Every position.
    pub fn all(epoch: u64) -> Self {
        Self { start: Bytes::new(), end: None, epoch }
    }

    /// No position at all: the meta group's.
    pub fn none() -> Self {
        Self { start: Bytes::new(), end: Some(Bytes::new()), epoch: 0 }
    }

    /// The range of `partition` in `map`; `None` if it has none.
    pub fn of(map: &RangeMap, partition: GroupId) -> Option<Self> {
        let at = map.ranges.iter().position(|entry| entry.partition == partition)?;
        Some(Self {
            start: Bytes::copy_from_slice(&map.ranges[at].start),
            end: map.ranges.get(at + 1).map(|next| Bytes::copy_from_slice(&next.start)),
            epoch: map.ranges[at].epoch,
        })
    }

    /// Whether `position` lies inside.
    pub fn contains(&self, position: &Position) -> bool {
        let bytes = position.encoded();
        self.start <= *bytes && self.end.as_ref().is_none_or(|end| bytes < end)
    }

    /// Whether the range ends before the key space `space` does, having started in or before it.
    pub fn ends_inside(&self, space: &[u8]) -> bool {
        let prefix = Position::of_space(space);
        self.end.as_ref().is_some_and(|end| end.starts_with(prefix.encoded()) && end != prefix.encoded())
    }

    /// The name of the key space `space` right behind which the range ends; `None` where the bound is not of that form.
    pub fn last_name_of(&self, space: &[u8]) -> Option<Vec<u8>> {
        let tail = self.end.as_ref()?.strip_prefix(&Position::of_space(space).encoded()[..])?;
        let (_, rest) = tail.split_last()?;
        let name = [space, rest].concat();
        (Some(Position::after_name(&name).encoded()) == self.end.as_ref()).then_some(name)
    }

    /// Whether a scan can go on behind its end: that is in no key space, or right behind a name, which the next page then
    /// starts after.
    pub fn can_be_crossed(&self) -> bool {
        let rest = self.end.as_ref().and_then(|end| end.get(8..)).unwrap_or(&[]);
        let Some(space_end) = rest.iter().position(|&byte| byte == 0) else { return true };
        let space = &rest[..space_end];
        !self.ends_inside(space) || self.last_name_of(space).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_a_map_cover_each_position_once() {
        let map = RangeMap::even(5);
        let ranges: Vec<Range> = (1..=5).map(|id| Range::of(&map, GroupId(id)).expect("in the map")).collect();
        for name in 0..200u32 {
            let position = Position::of_name(format!("bucket-{name}/key").as_bytes());
            let owners = ranges.iter().filter(|range| range.contains(&position)).count();
            assert_eq!(owners, 1, "{position:?}");
        }
        assert_eq!(Range::of(&map, GroupId(6)), None);
        assert!(!Range::none().contains(&Position::of_name(b"x")));
        assert!(Range::all(1).contains(&Position::of_name(b"x")));
    }

    #[test]
    fn a_cut_behind_a_name_is_known_by_that_name() {
        let cut = |end: Position| Range { end: Some(end.encoded().clone()), ..Range::all(1) };
        let behind = cut(Position::after_name(b"a/m"));
        assert!(behind.ends_inside(b"a"));
        assert_eq!(behind.last_name_of(b"a"), Some(b"a/m".to_vec()));
        assert!(!behind.ends_inside(b"b"));
        assert_eq!(behind.last_name_of(b"b"), None);
        assert_eq!(cut(Position::of_name(b"a/m")).last_name_of(b"a"), None);
        assert!(!cut(Position::after_space(b"a")).ends_inside(b"a"));
        assert!(!cut(Position::of_space(b"a")).ends_inside(b"a"));
    }

    #[test]
    fn a_scan_crosses_every_cut_but_those_within_a_key_space_that_no_name_tells() {
        let crossed = |end: &[u8]| Range { end: Some(Bytes::copy_from_slice(end)), ..Range::all(1) }.can_be_crossed();
        let name = Position::of_name(b"a/m");
        assert!(Range::all(1).can_be_crossed() && Range::none().can_be_crossed());
        assert!(crossed(Position::of_hash(7).encoded()));
        assert!(crossed(Position::of_space(b"a").encoded()) && crossed(Position::after_space(b"a").encoded()));
        assert!(crossed(Position::after_name(b"a/m").encoded()));
        assert!(!crossed(name.encoded()), "the next page starts after a name, and there is none right before this one");
        assert!(!crossed(&name.encoded()[..name.encoded().len() - 1]), "nor before half a name");
    }
}
