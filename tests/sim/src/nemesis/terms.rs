//! Faults around a change of leaders: each brings about a moment that chance rarely meets.

use std::{collections::VecDeque, time::Duration};

use kahuna_protocol::GroupId;
use kahuna_shards::env::Env;

use super::{Nemesis, SimFault, hosts::MOST_SHARDS, wires::both_ways};
use crate::{NodeId, Sim};

/// How long an election is waited for, and how often is looked for its end.
const ELECTION_LIMIT: Duration = Duration::from_millis(1_500);
const ELECTION_LOOK: Duration = Duration::from_micros(100);
/// How long a new leader leads before it is cut off, in microseconds: less than a flush, or a few messages.
const LEADING_MICROS: u64 = 4_000;
/// Leaders that follow each other.
const LEADERS: (u64, u64) = (3, 10);
/// How long a candidate gets no message of the leader, in milliseconds: it campaigns, and its voters refuse.
const UNHEARD_MS: (u64, u64) = (350, 650);
/// Longer than a leader's lease, and how often a candidate stands for election meanwhile.
const LEASE: Duration = Duration::from_millis(400);
const CAMPAIGN_EVERY: Duration = Duration::from_millis(15);
/// How long messages may take to where they have not been cut off from.
const MOMENT_MS: (u64, u64) = (1, 30);
/// Time for one election more, in milliseconds.
pub(super) const ELECTION_MS: (u64, u64) = (400, 1_600);

/// Who leads what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Led {
    group: GroupId,
    node: NodeId,
    term: u64,
}

impl Nemesis<'_> {
    pub(super) async fn strike_terms(&self, fault: SimFault) -> bool {
        let Some(nodes) = self.take_all() else { return false };
        let led = self.draw_led();
        match (led, fault) {
            (None, _) => {}
            (Some(led), SimFault::VotersLosePower) => self.voters_lose_power(led).await,
            (Some(led), SimFault::RestartInLease) => self.restart_in_lease(led).await,
            (Some(led), SimFault::OlderTermOnMajority) => self.older_term_on_majority(led).await,
            (Some(led), _) => self.leader_after_leader(led).await,
        }
        for node in nodes {
            if !self.cluster.is_up(node) {
                self.cluster.start(node);
            }
            self.give_back(node);
        }
        led.is_some()
    }

    /// A leader is cut off. As soon as there is another leader it is cut off as well, and its voters lose power; the
    /// remaining nodes may elect a third.
    async fn voters_lose_power(&self, led: Led) {
        self.cut_off(led.node);
        let next = self.next_leader(led, &[led.node]).await;
        self.join(led.node);
        let Some(next) = next else { return };
        self.cut_off(next.node);
        // The first one may still take itself for the leader.
        let spared = self.rng.below(2) == 0;
        for node in self.others(next.node).filter(|node| !spared || *node != led.node) {
            self.cluster.cut_power(node);
            // Its vote is durable, and must be so in logs that are cut anew as well.
            match self.rng.below(2) {
                0 => self.cluster.start(node),
                _ => self.cluster.start_with_shards(node, self.rng.between(1, MOST_SHARDS) as u16),
            }
        }
        self.pause(ELECTION_MS).await;
        self.join(next.node);
    }

    /// A node that hears nothing of the leader would take over, and everybody else refuses on account of the leader's lease;
    /// then they are killed, start again, and hear nothing of it either. The candidate asks them again and again: whoever
    /// votes for it while the lease lasts gives the group two leaders that answer reads.
    async fn restart_in_lease(&self, led: Led) {
        let others: Vec<NodeId> = self.others(led.node).collect();
        let candidate = others[self.rng.below(others.len() as u64) as usize];
        let net = self.cluster.world().net();
        both_ways(&[led.node], &[candidate]).into_iter().for_each(|(from, to)| net.cut(from, to));
        self.pause(UNHEARD_MS).await;
        self.cut_off(led.node);
        for node in others.into_iter().filter(|node| *node != candidate) {
            self.cluster.kill(node);
            self.cluster.start(node);
        }
        Sim::timeout(LEASE, async {
            while let Some(probe) = self.cluster.probe(candidate).filter(|probe| probe.leads_in(led.group).is_none()) {
                probe.campaign(led.group);
                Sim::sleep(CAMPAIGN_EVERY).await;
            }
        })
        .await;
        self.pause(ELECTION_MS).await;
        self.join(led.node);
    }

    /// One leader after the other is cut off soon after its election, with what it has appended and not replicated, and
    /// comes back when a majority is needed.
    async fn leader_after_leader(&self, mut led: Led) {
        let most = usize::try_from((self.cluster.shape().nodes - 1) / 2).expect("a cluster is small");
        let mut away = VecDeque::new();
        for _ in 0..self.rng.between(LEADERS.0, LEADERS.1) {
            if self.rng.below(3) > 0 {
                Sim::sleep(Duration::from_micros(self.rng.between(0, LEADING_MICROS))).await;
            }
            away.push_back(led.node);
            self.cut_off(led.node);
            if away.len() > most {
                away.pop_front().into_iter().for_each(|node| self.join(node));
                away.iter().for_each(|node| self.cut_off(*node));
            }
            let Some(next) = self.next_leader(led, away.make_contiguous()).await else { break };
            led = next;
        }
        away.into_iter().for_each(|node| self.join(node));
    }

    /// The fewest steps to Figure 8 of the Raft paper. A leader is cut off with entries that nobody else has. The next one is
    /// cut off at once, with its first entry. The former is elected again, and nobody hears of it any more as soon as a
    /// majority has the first of its old entries; that is no commit, for the latter comes back, and is elected by that
    /// majority's other nodes.
    async fn older_term_on_majority(&self, first: Led) {
        let minority = usize::try_from((self.cluster.shape().nodes - 1) / 2).expect("a cluster is small");
        let before = self.last_index(first.group, first.node);
        self.cut_off(first.node);
        let second = self.next_leader(first, &[first.node]).await;
        if let Some(second) = second {
            self.cut_off(second.node);
            let mut rest: Vec<NodeId> = self.others(first.node).filter(|node| *node != second.node).collect();
            self.rotate(&mut rest);
            let (voters, mut away) = (rest.split_off(minority - 1), rest);
            away.push(second.node);
            away.iter().for_each(|node| self.cut_off(*node));
            self.join_with(first.node, &voters);
            let again = self.next_leader(second, &away).await;
            Sim::timeout(ELECTION_LIMIT, async {
                while voters.iter().any(|node| self.last_index(first.group, *node) <= before) {
                    Sim::sleep(ELECTION_LOOK).await;
                }
            })
            .await;
            let net = self.cluster.world().net();
            self.others(first.node).for_each(|node| net.cut(first.node, node));
            self.pause(MOMENT_MS).await;
            self.cut_off(first.node);
            away.iter().for_each(|node| self.join_with(*node, &voters));
            if let Some(again) = again {
                self.next_leader(again, &[first.node]).await;
                self.pause(MOMENT_MS).await;
            }
        }
        for node in self.cluster.shape().numbers() {
            self.join(node);
        }
    }

    /// The last entry in a node's log of a group; 0 while it does not run.
    fn last_index(&self, group: GroupId, node: NodeId) -> u64 {
        let groups = self.cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default();
        groups.iter().find(|view| view.group == group).map_or(0, |view| view.last_index)
    }

    /// Some node that leads, and what.
    fn draw_led(&self) -> Option<Led> {
        let mut all = Vec::new();
        for node in self.cluster.shape().numbers() {
            let groups = self.cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default();
            let leading = groups.into_iter().filter(|view| view.leading);
            all.extend(leading.map(|view| Led { group: view.group, node, term: view.term }));
        }
        all.sort_unstable();
        all.get(self.rng.below(all.len().max(1) as u64) as usize).copied()
    }

    /// Waits for a leader of a higher term that is none of `away`.
    async fn next_leader(&self, led: Led, away: &[NodeId]) -> Option<Led> {
        let next = || {
            let here = self.cluster.shape().numbers().filter(|node| !away.contains(node));
            let leads = |node| self.cluster.probe(node).and_then(|probe| probe.leads_in(led.group));
            let mut leaders = here.filter_map(|node| leads(node).map(|term| Led { node, term, ..led }));
            leaders.find(|leader| leader.term > led.term)
        };
        Sim::timeout(ELECTION_LIMIT, async {
            loop {
                if let Some(next) = next() {
                    return next;
                }
                Sim::sleep(ELECTION_LOOK).await;
            }
        })
        .await
    }

    fn others(&self, node: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        self.cluster.shape().numbers().filter(move |other| *other != node)
    }

    /// Cuts a node off from all other nodes, not from clients.
    fn cut_off(&self, node: NodeId) {
        let others: Vec<NodeId> = self.others(node).collect();
        let net = self.cluster.world().net();
        both_ways(&[node], &others).into_iter().for_each(|(from, to)| net.cut(from, to));
    }

    fn join(&self, node: NodeId) {
        let others: Vec<NodeId> = self.others(node).collect();
        self.join_with(node, &others);
    }

    fn join_with(&self, node: NodeId, others: &[NodeId]) {
        let net = self.cluster.world().net();
        both_ways(&[node], others).into_iter().for_each(|(from, to)| net.heal(from, to));
    }
}
