//! Faults between processes.

use std::time::Duration;

use kahuna_shards::env::Env;

use super::{Nemesis, SimFault};
use crate::{NodeId, Sim, cluster::Cluster};

/// What bytes take on a network as it should be, in nanoseconds.
const NORMAL_NANOS: (u64, u64) = (50_000, 500_000);
/// On a slow one: longer than a heartbeat interval, at times.
const SLOW_NANOS: (u64, u64) = (500_000, 80_000_000);
/// By how much the rest of a broken connection is late, in milliseconds.
const LAG_MS: (u64, u64) = (1, 700);
/// How quickly a cut comes and goes, in milliseconds.
const FLAP_MS: (u64, u64) = (5, 250);

impl Nemesis<'_> {
    pub(super) async fn strike_wires(&self, fault: SimFault) -> bool {
        let net = self.cluster.world().net();
        match fault {
            SimFault::Isolate => {
                let node = self.any();
                let others: Vec<NodeId> = self.everybody().filter(|other| *other != node).collect();
                self.hold(&both_ways(&[node], &others)).await;
            }
            SimFault::Split => {
                let (left, right): (Vec<NodeId>, Vec<NodeId>) = self.everybody().partition(|_| self.rng.below(2) == 0);
                self.hold(&both_ways(&left, &right)).await;
            }
            SimFault::OneWayCut => {
                let from = self.any();
                let others: Vec<NodeId> = self.everybody().filter(|other| *other != from).collect();
                let some = others.iter().filter(|_| self.rng.below(2) == 0);
                // Either nobody hears it, or it hears nobody.
                let cuts: Vec<_> = match self.rng.below(2) {
                    0 => some.map(|to| (from, *to)).collect(),
                    _ => some.map(|to| (*to, from)).collect(),
                };
                self.hold(&cuts).await;
            }
            SimFault::Flap => {
                let (one, two) = (self.any(), self.any());
                for _ in 0..self.rng.between(2, 8) {
                    let cuts = both_ways(&[one], &[two]);
                    cuts.iter().for_each(|(from, to)| net.cut(*from, *to));
                    self.pause(FLAP_MS).await;
                    cuts.iter().for_each(|(from, to)| net.heal(*from, *to));
                    self.pause(FLAP_MS).await;
                }
            }
            SimFault::Reset => {
                let node = self.any();
                self.everybody().for_each(|other| net.reset(node, other));
            }
            SimFault::ClientReset => {
                let client = Cluster::client_node(self.rng.below(self.clients.count));
                self.cluster.shape().numbers().for_each(|node| net.reset(client, node));
            }
            SimFault::SlowLink => {
                let one = self.any();
                let others: Vec<NodeId> = self.everybody().filter(|_| self.rng.below(2) == 0).collect();
                for link in both_ways(&[one], &others) {
                    let least = self.rng.below(SLOW_NANOS.1);
                    net.set_link_delay_nanos(link, Some((least, least + self.rng.below(SLOW_NANOS.1))));
                }
                self.last().await;
                both_ways(&[one], &others).into_iter().for_each(|link| net.set_link_delay_nanos(link, None));
            }
            SimFault::LateReset => {
                let one = self.any();
                let lag = Duration::from_millis(self.rng.between(LAG_MS.0, LAG_MS.1));
                let broken: Vec<_> = self.everybody().flat_map(|two| net.reset_late(one, two, lag)).collect();
                Sim::sleep(lag).await;
                self.pause(LAG_MS).await;
                drop(broken);
            }
            SimFault::ClientRestart => (self.clients.restart)(self.rng.below(self.clients.count)),
            _ => {
                net.set_delay_nanos(SLOW_NANOS.0, SLOW_NANOS.1);
                self.last().await;
                self.normal_network();
            }
        }
        true
    }

    pub(super) fn normal_network(&self) {
        self.cluster.world().net().set_delay_nanos(NORMAL_NANOS.0, NORMAL_NANOS.1);
    }

    /// All nodes and all clients.
    fn everybody(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.cluster.shape().numbers().chain((0..self.clients.count).map(Cluster::client_node))
    }

    async fn hold(&self, cuts: &[(NodeId, NodeId)]) {
        let net = self.cluster.world().net();
        cuts.iter().for_each(|(from, to)| net.cut(*from, *to));
        self.last().await;
        cuts.iter().for_each(|(from, to)| net.heal(*from, *to));
    }
}

pub(super) fn both_ways(left: &[NodeId], right: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    left.iter().flat_map(|one| right.iter().flat_map(|two| [(*one, *two), (*two, *one)])).collect()
}
