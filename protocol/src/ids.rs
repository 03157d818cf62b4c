//! Who is who: clusters, nodes, shards, groups, replicas, sessions. An archived id has the bytes of what it wraps.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

macro_rules! id {
    ($(#[$meta:meta])* $Name:ident($Inner:ty)) => {
        $(#[$meta])*
        #[derive(
            Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
        )]
        #[rkyv(derive(Debug))]
        pub struct $Name(pub $Inner);

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::LowerHex for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A node of the cluster, as the operator numbers it (`--node-id`). The data on its disk has a number of its own, the
    /// [`Incarnation`].
    NodeId(u32)
);
id!(
    /// Minted when a data directory is formatted; another directory is another incarnation.
    Incarnation(u64)
);
id!(
    /// One shard (one core's executor) of a node, from 0.
    ShardId(u16)
);
id!(
    /// One Raft group, which is one partition. 0 is the meta group.
    GroupId(u32)
);
id!(
    /// One placement of one group on one node: openraft's node id. Minted by the meta group, never used twice.
    ReplicaId(u64)
);
id!(
    /// A client's session, drawn at random by the client; 0 means "none" (reads, and commands of the system itself).
    SessionId(u64)
);

impl GroupId {
    /// The group that holds the range map, the nodes and the placements.
    pub const META: Self = Self(0);

    /// The shard that owns this group on a node with `shards` shards.
    pub fn shard(self, shards: u16) -> ShardId {
        assert!(shards > 0, "a node has at least one shard");
        let index = self.0 % u32::from(shards);
        ShardId(u16::try_from(index).expect("an index below a u16 count is a u16"))
    }
}

/// A cluster, minted once at bootstrap. All zero means "not yet known".
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[rkyv(derive(Debug))]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// The id of no cluster: a pending node's.
    pub const NONE: Self = Self([0; 16]);

    /// Whether this is no cluster's id.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
