//! Where names stand, and who owns them.

use kahuna_protocol::position::key_space;
use kahuna_protocol::{Kind, Position, RangeMap};
use serde_json::json;

use crate::golden::check_vectors;
use crate::shape::hex;

const NAMES: &[&str] = &[
    "a",
    "a/b",
    "a/c",
    "a/b/c",
    "/",
    "/a",
    "a/",
    "a//b",
    "jobs/nightly",
    "jobs/hourly",
    "köln",
    "köln/dom",
    "user:1",
    "user:2",
    "user:3",
    "user:4",
    "orders/2024/01/31/4711",
    "x",
    "y",
    "z",
];

#[test]
fn positions_and_owners_are_as_in_the_vectors() {
    let map = RangeMap::even(16);
    let mut vectors = Vec::new();
    for name in NAMES {
        let bytes = name.as_bytes();
        let key = Position::new(bytes, Kind::Key);
        assert_eq!(key.name_and_kind(), Some((bytes.to_vec(), Kind::Key)));
        let owner = map.owner(bytes).expect("a full map");
        for kind in [Kind::Key, Kind::Lock, Kind::Sequence] {
            let range = map.find(&Position::new(bytes, kind)).expect("a full map");
            assert_eq!(range.partition, owner, "{name}: its key, lock and sequence stay together");
        }
        vectors.push(json!({
            "name": name,
            "key_space": String::from_utf8_lossy(key_space(bytes)),
            "hash": hex(&key.encoded()[..8]),
            "key": hex(key.encoded()),
            "lock": hex(Position::new(bytes, Kind::Lock).encoded()),
            "sequence": hex(Position::new(bytes, Kind::Sequence).encoded()),
            "before_name": hex(Position::of_name(bytes).encoded()),
            "after_name": hex(Position::after_name(bytes).encoded()),
            "owner_of_16": owner.0,
        }));
    }
    let about = "Names, the encoded positions of their records and bounds, and the partition that owns them when the \
                 hash space is cut into 16 even ranges.";
    check_vectors("positions", about, vectors);
}

#[test]
fn the_even_map_is_cut_as_in_the_vectors() {
    let ranges = RangeMap::even(16).ranges;
    let vectors = ranges.iter().map(|range| json!({ "partition": range.partition.0, "start": hex(&range.start) }));
    check_vectors("ranges", "The ranges of a fresh cluster with 16 partitions.", vectors.collect());
}

/// The tuple whose order the encoding keeps.
fn tuple(name: &str, kind: Kind) -> (Vec<u8>, Vec<u8>, Vec<u8>, u8) {
    let hash = Position::new(name.as_bytes(), kind).encoded()[..8].to_vec();
    (hash, key_space(name.as_bytes()).to_vec(), name.as_bytes().to_vec(), kind as u8)
}

#[test]
fn the_order_of_the_bytes_is_the_order_of_the_tuples() {
    let records: Vec<_> =
        NAMES.iter().flat_map(|name| [Kind::Key, Kind::Lock, Kind::Sequence].map(|kind| (*name, kind))).collect();
    for &(one, one_kind) in &records {
        for &(other, other_kind) in &records {
            let bytes = Position::new(one.as_bytes(), one_kind).cmp(&Position::new(other.as_bytes(), other_kind));
            assert_eq!(bytes, tuple(one, one_kind).cmp(&tuple(other, other_kind)), "{one} {other}");
        }
    }
}

#[test]
fn bounds_enclose_their_name_and_their_space() {
    for name in NAMES {
        let bytes = name.as_bytes();
        let space = key_space(bytes);
        let inside = Position::new(bytes, Kind::Lock);
        assert!(Position::of_name(bytes) < inside && inside < Position::after_name(bytes), "{name}");
        assert!(Position::of_space(space) <= Position::of_name(bytes), "{name}");
        assert!(Position::after_name(bytes) < Position::after_space(space), "{name}");
        for other in NAMES.iter().filter(|other| key_space(other.as_bytes()) != space) {
            let outside = Position::new(other.as_bytes(), Kind::Key);
            assert!(outside < Position::of_space(space) || outside > Position::after_space(space), "{name} {other}");
        }
    }
}
