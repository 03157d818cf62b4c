//! A shard's part of the node's status.

use kahuna_protocol::meta::DiskSpace;
use kahuna_wal::Space;

use super::shard::Shard;
use crate::env::Env;
use crate::lanes::ShardStatus;

impl<E: Env> Shard<E> {
    /// This shard's part of the node's status.
    pub fn shard_status(&self) -> ShardStatus {
        let log = self.log();
        let stats = log.as_ref().map(|log| log.stats());
        ShardStatus {
            replicas: self.groups().all().iter().map(|group| group.status()).collect(),
            log_flushes: stats.as_ref().map_or(0, |stats| stats.flushes),
            log_bytes: stats.as_ref().map_or(0, |stats| stats.segments * self.config().segment_bytes),
            disk: self.space().map_or(DiskSpace::Plenty, disk_space),
            connections: self.connections(),
            peers_alive: self.view().alive(),
            waiting: self.waits_for(),
            note: self.to_mend(),
        }
    }

    /// What is to be mended although the shard serves, for a person; empty when nothing is.
    fn to_mend(&self) -> String {
        let unreached = self.peers().unreached().first().map(|node| self.peers().not_reached_by(*node));
        unreached.unwrap_or_else(|| self.clocks())
    }
}

fn disk_space(space: Space) -> DiskSpace {
    match space {
        Space::Plenty => DiskSpace::Plenty,
        Space::Reserve => DiskSpace::Reserve,
        Space::Exhausted => DiskSpace::Exhausted,
    }
}
