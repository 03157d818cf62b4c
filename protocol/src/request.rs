//! Every request a client can send, by kind.

use crate::Position;
use crate::key::{KeyDelete, KeyExists, KeyExtend, KeyGet, KeyPersist, KeyScan, KeySet};
use crate::lock::{LockAcquire, LockExtend, LockInfo, LockRelease};
use crate::macros::bodies;
use crate::meta::{FinishReplacement, MapGet, PlaceGroups, ReplaceReplica, SetLed, StatusGet, Tick, UpsertNode};
use crate::sequence::{SequenceCreate, SequenceDelete, SequenceGet, SequenceNext, SequenceReserve};

bodies! {
    /// A request's body in owned form.
    owned Request;
    /// A request's body, validated, in the buffer it came in.
    borrowed RequestRef;
    /// Lock, write.
    0x0101 => LockAcquire(LockAcquire),
    /// Lock, write.
    0x0102 => LockExtend(LockExtend),
    /// Lock, write.
    0x0103 => LockRelease(LockRelease),
    /// Lock, read.
    0x0104 => LockInfo(LockInfo),
    /// Key, write.
    0x0201 => KeySet(KeySet),
    /// Key, read.
    0x0202 => KeyGet(KeyGet),
    /// Key, read.
    0x0203 => KeyExists(KeyExists),
    /// Key, write.
    0x0204 => KeyDelete(KeyDelete),
    /// Key, write.
    0x0205 => KeyExtend(KeyExtend),
    /// Key, write.
    0x0206 => KeyPersist(KeyPersist),
    /// Key, read.
    0x0207 => KeyScan(KeyScan),
    /// Sequence, write.
    0x0301 => SequenceCreate(SequenceCreate),
    /// Sequence, write.
    0x0302 => SequenceNext(SequenceNext),
    /// Sequence, write.
    0x0303 => SequenceReserve(SequenceReserve),
    /// Sequence, read.
    0x0304 => SequenceGet(SequenceGet),
    /// Sequence, write.
    0x0305 => SequenceDelete(SequenceDelete),
    /// The range map and the nodes; any node answers.
    0x0401 => MapGet(MapGet),
    /// The node's own state.
    0x0402 => StatusGet(StatusGet),
    /// Of the system itself: moves machine time.
    0x0501 => Tick(Tick),
    /// Of the system itself, meta group: the first placement of all groups.
    0x0502 => PlaceGroups(PlaceGroups),
    /// Of the system itself, meta group: a group was led.
    0x0503 => SetLed(SetLed),
    /// Of the system itself, meta group: a node's addresses.
    0x0504 => UpsertNode(UpsertNode),
    /// Of the system itself, meta group: a replica's log is gone.
    0x0505 => ReplaceReplica(ReplaceReplica),
    /// Of the system itself, meta group: a replica took the place of a lost one.
    0x0506 => FinishReplacement(FinishReplacement),
}

/// What the dispatch does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Goes through the log.
    Write,
    /// Is answered from a replica's state.
    Read,
    /// Is answered by the node itself.
    Node,
    /// Never accepted from a client.
    System,
}

impl RequestRef<'_> {
    /// How this request is served.
    pub fn class(&self) -> Class {
        match self {
            Self::LockAcquire(_)
            | Self::LockExtend(_)
            | Self::LockRelease(_)
            | Self::KeySet(_)
            | Self::KeyDelete(_)
            | Self::KeyExtend(_)
            | Self::KeyPersist(_)
            | Self::SequenceCreate(_)
            | Self::SequenceNext(_)
            | Self::SequenceReserve(_)
            | Self::SequenceDelete(_) => Class::Write,
            Self::LockInfo(_) | Self::KeyGet(_) | Self::KeyExists(_) | Self::KeyScan(_) | Self::SequenceGet(_) => {
                Class::Read
            }
            Self::MapGet(_) | Self::StatusGet(_) => Class::Node,
            Self::Tick(_)
            | Self::PlaceGroups(_)
            | Self::SetLed(_)
            | Self::UpsertNode(_)
            | Self::ReplaceReplica(_)
            | Self::FinishReplacement(_) => Class::System,
        }
    }

    /// Whether it is refused while the disk is full. What shrinks the state or only keeps what is there goes on, and so
    /// does everything of the system itself.
    pub fn needs_room(&self) -> bool {
        match self {
            Self::LockAcquire(_)
            | Self::KeySet(_)
            | Self::KeyExtend(_)
            | Self::KeyPersist(_)
            | Self::SequenceCreate(_)
            | Self::SequenceNext(_)
            | Self::SequenceReserve(_) => true,
            Self::LockExtend(_) | Self::LockRelease(_) | Self::KeyDelete(_) | Self::SequenceDelete(_) => false,
            Self::LockInfo(_) | Self::KeyGet(_) | Self::KeyExists(_) | Self::KeyScan(_) | Self::SequenceGet(_) => false,
            Self::MapGet(_) | Self::StatusGet(_) => false,
            Self::Tick(_)
            | Self::PlaceGroups(_)
            | Self::SetLed(_)
            | Self::UpsertNode(_)
            | Self::ReplaceReplica(_)
            | Self::FinishReplacement(_) => false,
        }
    }

    /// Where the request goes: the bound before its name, or for a scan the bound at which its page starts. `None` for
    /// what no data partition owns.
    pub fn route(&self) -> Option<Position> {
        match self {
            Self::LockAcquire(body) => Some(Position::of_name(&body.name)),
            Self::LockExtend(body) => Some(Position::of_name(&body.name)),
            Self::LockRelease(body) => Some(Position::of_name(&body.name)),
            Self::LockInfo(body) => Some(Position::of_name(&body.name)),
            Self::KeySet(body) => Some(Position::of_name(&body.key)),
            Self::KeyGet(body) => Some(Position::of_name(&body.key)),
            Self::KeyExists(body) => Some(Position::of_name(&body.key)),
            Self::KeyDelete(body) => Some(Position::of_name(&body.key)),
            Self::KeyExtend(body) => Some(Position::of_name(&body.key)),
            Self::KeyPersist(body) => Some(Position::of_name(&body.key)),
            Self::KeyScan(body) if body.from.is_empty() => Some(Position::of_space(&body.space)),
            Self::KeyScan(body) if body.after => Some(Position::after_name(&body.from)),
            Self::KeyScan(body) => Some(Position::of_name(&body.from)),
            Self::SequenceCreate(body) => Some(Position::of_name(&body.name)),
            Self::SequenceNext(body) => Some(Position::of_name(&body.name)),
            Self::SequenceReserve(body) => Some(Position::of_name(&body.name)),
            Self::SequenceGet(body) => Some(Position::of_name(&body.name)),
            Self::SequenceDelete(body) => Some(Position::of_name(&body.name)),
            Self::MapGet(_)
            | Self::StatusGet(_)
            | Self::Tick(_)
            | Self::PlaceGroups(_)
            | Self::SetLed(_)
            | Self::UpsertNode(_)
            | Self::ReplaceReplica(_)
            | Self::FinishReplacement(_) => None,
        }
    }
}
