//! Where a name stands in the one order of all names (a format: it decides ownership).

use std::fmt;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// What a record is. The number is part of its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A key with its value.
    Key = 1,
    /// Lock, by its name.
    Lock = 2,
    /// Sequence, by its name.
    Sequence = 3,
    /// A record of the system itself.
    Internal = 4,
}

impl Kind {
    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Key),
            2 => Some(Self::Lock),
            3 => Some(Self::Sequence),
            4 => Some(Self::Internal),
            _ => None,
        }
    }
}

/// The key space (bucket) of a name: what stands before its last `/`, or the whole name.
pub fn key_space(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => &name[..slash],
        None => name,
    }
}

/// A position, in an encoding whose byte order is the order of `(xxh3_64(key space), key space, name, kind, sub)`.
///
/// ```text
/// hash, u64 big endian | key space | 00 | rest of the name after the key space | 00 | kind, u8 | sub, u64 big endian
/// ```
/// The hash is XXH3, 64 bits, seed 0. A `sub` of 0 is left out. Names hold no NUL, so the order of the bytes is the
/// order of the tuple. A prefix of a position is a bound: it stands before everything that starts with it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Bytes);

impl Position {
    /// The position of the record `kind` called `name`, with `sub` 0.
    pub fn new(name: &[u8], kind: Kind) -> Self {
        let mut bytes = Self::space_prefix(name, key_space(name), 2);
        bytes.push(kind as u8);
        Self(bytes.into())
    }

    /// The bound before every record of `name`, whatever its kind.
    pub fn of_name(name: &[u8]) -> Self {
        Self(Self::space_prefix(name, key_space(name), 0).into())
    }

    /// The bound right behind every record of `name`, and before the next name of its key space.
    pub fn after_name(name: &[u8]) -> Self {
        let mut bytes = Self::space_prefix(name, key_space(name), 0);
        *bytes.last_mut().expect("a name bound is never empty") = 1;
        Self(bytes.into())
    }

    /// The bound before everything in the key space `space`.
    pub fn of_space(space: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(9 + space.len());
        bytes.extend_from_slice(&xxh3_64(space).to_be_bytes());
        bytes.extend_from_slice(space);
        bytes.push(0);
        Self(bytes.into())
    }

    /// The bound behind everything in the key space `space`.
    pub fn after_space(space: &[u8]) -> Self {
        let mut bytes = Self::of_space(space).0.to_vec();
        *bytes.last_mut().expect("a space bound is never empty") = 1;
        Self(bytes.into())
    }

    /// The bound before everything whose key space hashes to `hash` or higher.
    pub fn of_hash(hash: u64) -> Self {
        Self(Bytes::copy_from_slice(&hash.to_be_bytes()))
    }

    /// A position or bound from its encoding.
    pub fn from_encoded(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Bytes whose order is the order of positions.
    pub fn encoded(&self) -> &Bytes {
        &self.0
    }

    /// The record's name and kind, if this is a record's position and not a bound.
    pub fn name_and_kind(&self) -> Option<(Vec<u8>, Kind)> {
        let rest = self.0.get(8..)?;
        let space_end = rest.iter().position(|&byte| byte == 0)?;
        let tail = &rest[space_end + 1..];
        let name_end = tail.iter().position(|&byte| byte == 0)?;
        let kind = Kind::from_number(*tail.get(name_end + 1)?)?;
        Some(([&rest[..space_end], &tail[..name_end]].concat(), kind))
    }

    fn space_prefix(name: &[u8], space: &[u8], spare: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + name.len() + 2 + spare);
        bytes.extend_from_slice(&xxh3_64(space).to_be_bytes());
        bytes.extend_from_slice(space);
        bytes.push(0);
        bytes.extend_from_slice(&name[space.len()..]);
        bytes.push(0);
        bytes
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name_and_kind() {
            Some((name, kind)) => write!(f, "{kind:?}({})", String::from_utf8_lossy(&name)),
            None => write!(f, "bound({:02x?})", &self.0[..]),
        }
    }
}
