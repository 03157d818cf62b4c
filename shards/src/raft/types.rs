//! What openraft's type parameters are here.

use std::fmt;
use std::marker::PhantomData;

use kahuna_protocol::batch::Batch;
use kahuna_protocol::{Incarnation, Outcome};
use openraft::alias::WatchReceiverOf;
use openraft::impls::{InlineBatch, OneshotResponder};
use openraft::metrics::RaftServerMetrics;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftTypeConfig};

use crate::env::Env;

/// The type configuration of every group. `leader_id_std`: at most one leader per term, so a log id is (term, index).
pub struct Types<E>(PhantomData<fn() -> E>);

/// Who leads, within a term.
pub type Leadership = LeaderId<u64, u64>;
/// A vote, or the claim of a leader.
pub type Vote = openraft::Vote<Leadership>;
/// (term, index).
pub type LogId = openraft::LogId<CommittedLeaderId<u64>>;
/// Blank, a batch of commands, or a membership.
pub type Payload = EntryPayload<Proposal, u64, Member>;
/// One entry of the log.
pub type Entry = openraft::Entry<CommittedLeaderId<u64>, Payload>;
/// The voters and learners of a group.
pub type Membership = openraft::Membership<u64, Member>;
/// A membership and where it stands in the log.
pub type StoredMembership = openraft::StoredMembership<CommittedLeaderId<u64>, u64, Member>;
/// Watches vote, state, leader and membership of a replica, as openraft reports them.
pub type ServerMetrics<E> = WatchReceiverOf<Types<E>, RaftServerMetrics<Types<E>>>;
/// Up to where a snapshot reaches.
pub type SnapshotMeta = openraft::SnapshotMeta<CommittedLeaderId<u64>, u64, Member>;

/// The log id of `index` in `term`.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

/// openraft's `Node`: what a replica id stands for. Addresses are known elsewhere and change; this never does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The data directory that the replica lives in.
    pub incarnation: Incarnation,
}

/// openraft's `D`: the commands of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal(pub Batch);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.bytes().len())
    }
}

/// openraft's `R`: one outcome per command, in order; none for an entry without commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes(pub Vec<Outcome>);

impl<E: Env> RaftTypeConfig for Types<E> {
    type D = Proposal;
    type R = Outcomes;
    type NodeId = u64;
    type Node = Member;
    type Term = u64;
    type LeaderId = Leadership;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = E::Runtime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = AnyError;
}

// By hand, because derived ones would ask the same of `E`.
impl<E> fmt::Debug for Types<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}

impl<E> Clone for Types<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Types<E> {}

impl<E> Default for Types<E> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E> PartialEq for Types<E> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<E> Eq for Types<E> {}

impl<E> PartialOrd for Types<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Types<E> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
