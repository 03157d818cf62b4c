//! What the log remembers of a replica's making, so that a restart needs nothing else.

use bytes::Bytes;
use kahuna_machine::{Machine, Range};
use kahuna_protocol::frame::{FrameError, access, archive_into, to_owned};
use kahuna_protocol::meta::{Placement, Replica, Settings};
use kahuna_protocol::{GroupId, Incarnation, RangeMap, ReplicaId};
use rkyv::{Archive, Archived, Deserialize, Serialize};

/// The content of a group's first log record.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Creation {
    /// Group that the replica belongs to.
    pub group: GroupId,
    /// This node's replica of it.
    pub replica: ReplicaId,
    /// The voters that the group begins with, this one included.
    pub members: Vec<Replica>,
    /// What its machine begins with.
    pub settings: Settings,
    /// Where the machine's range starts (an encoded position).
    pub start: Vec<u8>,
    /// Where it ends; at the end of all positions if absent.
    pub end: Option<Vec<u8>>,
    /// Epoch of the range in the cluster's map.
    pub epoch: u64,
}

impl Creation {
    /// The meta group's: it owns no positions.
    pub fn meta(members: Vec<Replica>, settings: Settings, incarnation: Incarnation) -> Option<Self> {
        let replica = members.iter().find(|member| member.incarnation == incarnation)?.replica;
        Some(Self {
            group: GroupId::META,
            replica,
            members,
            settings,
            start: Vec::new(),
            end: Some(Vec::new()),
            epoch: 0,
        })
    }

    /// A data group's, if `placement` has a replica on `incarnation`; its range is that at the place `at` of `map`.
    pub fn data(
        map: &RangeMap,
        at: usize,
        placement: &Placement,
        settings: Settings,
        incarnation: Incarnation,
    ) -> Option<Self> {
        let replica = placement.replicas.iter().find(|member| member.incarnation == incarnation)?.replica;
        Some(Self {
            group: placement.group,
            replica,
            members: placement.replicas.clone(),
            settings,
            start: map.ranges[at].start.clone(),
            end: map.ranges.get(at + 1).map(|next| next.start.clone()),
            epoch: map.ranges[at].epoch,
        })
    }

    /// The members in openraft's terms.
    pub fn voters(&self) -> Vec<(ReplicaId, Incarnation)> {
        self.members.iter().map(|member| (member.replica, member.incarnation)).collect()
    }

    /// The state before the first entry.
    pub fn machine(&self) -> Machine {
        let end = self.end.as_ref().map(|end| Bytes::copy_from_slice(end));
        let range = Range { start: Bytes::copy_from_slice(&self.start), end, epoch: self.epoch };
        Machine::new(self.settings, range)
    }

    /// Bytes of the log record.
    pub fn encode(&self) -> Bytes {
        let mut bytes = Vec::new();
        archive_into(self, &mut bytes);
        bytes.into()
    }

    /// The record from its bytes.
    ///
    /// # Errors
    /// `FrameError::Body` when they are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        access::<Archived<Self>>(0, bytes).map(to_owned)
    }
}
