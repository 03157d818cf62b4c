//! What was kept and what was lost, for a person or a program.

use std::path::PathBuf;

use kahuna_protocol::{ClusterId, GroupId, NodeId, ShardId};

/// All of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Number that the operator gave the node.
    pub node: NodeId,
    /// Data directory that was read, and that the node keeps.
    pub data_dir: PathBuf,
    /// The cluster it belonged to.
    pub cluster: ClusterId,
    /// How many nodes founded that cluster.
    pub members: usize,
    /// The cluster it becomes.
    pub successor: ClusterId,
    /// The restore epoch of that one.
    pub restore_epoch: u16,
    /// Every log, by shard.
    pub logs: Vec<LogReport>,
    /// Every group of the cluster, ascending.
    pub groups: Vec<GroupReport>,
}

impl Report {
    /// Whether this node lost nothing that it ever stored.
    pub fn is_whole(&self) -> bool {
        self.logs.iter().all(|log| log.given_up || log.damage.is_none())
            && self.groups.iter().all(|group| group.loss == Loss::None)
    }
}

/// One shard's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReport {
    /// Shard that the log was cut for.
    pub shard: ShardId,
    /// Directory of the log's segments.
    pub dir: PathBuf,
    /// It was given up before, in favour of an empty one that other nodes were to feed.
    pub given_up: bool,
    /// Batches kept.
    pub batches: u64,
    /// Records kept.
    pub records: u64,
    /// Where the kept part ends: the segment's file, and the offset in it.
    pub end: Option<(PathBuf, u64)>,
    /// What ended it.
    pub damage: Option<Damage>,
    /// What is seen behind the end.
    pub beyond: Beyond,
}

/// Where a log is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Segment or snapshot file.
    pub file: PathBuf,
    /// The byte in it; 0 for the whole file.
    pub offset: u64,
    /// What was found.
    pub why: String,
}

/// What stands behind the kept part of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Batches whose headers can be read.
    pub batches: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Records in those that verify.
    pub records: u64,
}

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All that this node stored of it is there.
    None,
    /// Its log is damaged; nothing of this group was seen behind the damage, but may have been in it.
    Possible,
    /// Something of it is lost.
    Some,
    /// This node has nothing of it: it starts empty.
    All,
}

impl Loss {
    /// For people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "whole",
            Self::Possible => "perhaps cut",
            Self::Some => "cut",
            Self::All => "empty",
        }
    }
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// Group of the cluster, whether this node has a replica of it or not.
    pub group: GroupId,
    /// The shard that its log was found in.
    pub shard: Option<ShardId>,
    /// What was lost.
    pub loss: Loss,
    /// The index of the last entry kept.
    pub last_index: Option<u64>,
    /// The index of the snapshot it starts from.
    pub snapshot_index: Option<u64>,
    /// The highest index that this node knew of, lost ones included.
    pub known_index: Option<u64>,
    /// Records of it that are seen behind the damage.
    pub lost_records: u64,
    /// Keys, locks and sequences that it holds.
    pub records: u64,
    /// Further remarks for the operator.
    pub notes: Vec<String>,
}
