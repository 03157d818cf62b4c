//! What is looked at from inside while a cluster runs.
//!
//! - One leader per term: two replicas that lead a group in one term.
//! - One lease at a time: a leader that would answer reads by its lease while another one leads in a later term.
//! - What Raft promises of logs: see `raft/`.
//! - One state per index: two replicas (or one, before and after a restart) that have applied the same entries and are not
//!   the same.
//! - An unexpected end: a node that ended itself, though its disk did not fail.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kahuna_protocol::{GroupId, ReplicaId};
use kahuna_shards::env::Env;

use super::{inside::Inside, raft::Logs};
use crate::{
    Exit, NodeId, Sim,
    cluster::Cluster,
    finding::{Finding, Judge},
};

/// Between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a leader that trusts its lease may take to answer.
const LEASE_LIMIT: Duration = Duration::from_millis(2);
/// Of so many looks one is at the states as well.
const STATES_ONE_IN: u64 = 20;

#[derive(Debug, Default)]
struct Seen {
    inside: Inside,
    logs: Logs,
    /// The newest snapshot of each replica, and the last entry that it was seen to have applied.
    snapshots: BTreeMap<ReplicaId, (u64, u64)>,
    snapshot_count: u64,
    installs: u64,
}

/// The watch over one cluster.
#[derive(Debug)]
pub struct Watch<'a> {
    cluster: &'a Cluster,
    seen: RefCell<Seen>,
}

impl<'a> Watch<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, seen: RefCell::default() }
    }

    /// Looks until it is dropped.
    pub async fn run(&self) {
        for look in 0_u64.. {
            self.look();
            self.look_at_leases().await;
            if look.is_multiple_of(STATES_ONE_IN) {
                self.look_at_states();
            }
            Sim::sleep(LOOK_EVERY).await;
        }
    }

    fn look(&self) {
        let mut seen = self.seen.borrow_mut();
        let seen = &mut *seen;
        for node in self.cluster.shape().numbers() {
            let Some(probe) = self.cluster.probe(node) else { continue };
            for view in probe.groups() {
                if view.leading {
                    seen.inside.leads(view.group, view.term, view.replica);
                }
                if self.cluster.is_given_up(view.group, view.replica) {
                    seen.inside.runs_again(view.group, view.replica);
                }
                seen.logs.look(&view, |from| probe.log(view.group, from));
                let (snapshot, applied) = seen.snapshots.entry(view.replica).or_default();
                if view.snapshot_index > *snapshot {
                    seen.snapshot_count += 1;
                    seen.installs += u64::from(view.first_index > *applied + 1);
                    *snapshot = view.snapshot_index;
                }
                *applied = view.applied_index;
            }
        }
    }

    /// Asks leaders for their leases where several lead a group, each in a term of its own.
    async fn look_at_leases(&self) {
        let nodes = self.cluster.shape().numbers().filter_map(|node| self.cluster.probe(node));
        let leading = nodes.flat_map(|probe| {
            let groups = probe.groups().into_iter().filter(|view| view.leading);
            groups.map(|view| (view.group, view.term, view.replica, probe.clone())).collect::<Vec<_>>()
        });
        let leading: Vec<_> = leading.collect();
        for (group, term, replica, probe) in &leading {
            let terms = leading.iter().filter(|(other, ..)| other == group).map(|(_, term, ..)| *term);
            let latest = terms.max().unwrap_or(*term);
            if *term < latest && Sim::timeout(LEASE_LIMIT, probe.trusts_its_lease(*group)).await == Some(true) {
                self.seen.borrow_mut().inside.trusts_its_lease(*group, *replica, *term, latest);
            }
        }
    }

    /// Compares the states of all replicas, and returns whether those of each group are equal.
    pub fn look_at_states(&self) -> bool {
        let mut seen = self.seen.borrow_mut();
        let seen = &mut *seen;
        let mut reached: BTreeMap<GroupId, BTreeSet<(u64, u64)>> = BTreeMap::new();
        let mut replicas: BTreeMap<GroupId, usize> = BTreeMap::new();
        for node in self.cluster.shape().numbers() {
            let Some(probe) = self.cluster.probe(node) else { continue };
            for view in probe.groups() {
                let Some((index, hash)) = probe.hash(view.group) else { continue };
                seen.inside.applied(view.group, index, view.replica, hash);
                reached.entry(view.group).or_default().insert((index, view.last_index));
                *replicas.entry(view.group).or_default() += 1;
            }
        }
        let groups = self.cluster.shape().partitions as usize + 1;
        let all = usize::try_from(self.cluster.shape().nodes).expect("few nodes");
        replicas.len() == groups
            && replicas.values().all(|count| *count == all)
            && reached.values().all(|ends| ends.len() == 1 && ends.iter().all(|(applied, last)| applied == last))
    }

    /// Whether every shard of every node names the right leaders to clients.
    pub fn leaders_are_told(&self) -> bool {
        let nodes = || self.cluster.shape().numbers();
        let probe = |node| self.cluster.probe(node).unwrap_or_default();
        let leads =
            |node| probe(node).groups().into_iter().filter(|view| view.leading).map(move |view| (view.group, node));
        let leading: BTreeMap<GroupId, NodeId> = nodes().flat_map(leads).collect();
        nodes().flat_map(|node| probe(node).told_leaders()).all(|(group, told)| leading.get(&group) == Some(&told))
    }

    /// What the clocks that the nodes go by differ by at most; nothing unless all nodes go by one.
    pub fn clocks_apart(&self) -> Option<Duration> {
        let clock = |node| self.cluster.probe(node).unwrap_or_default().agreed_clock();
        let clocks: Vec<u64> = self.cluster.shape().numbers().map(clock).collect::<Option<_>>()?;
        Some(Duration::from_nanos(clocks.iter().max()? - clocks.iter().min()?))
    }

    /// Which groups' replicas differ now, for a person.
    pub fn describe(&self) -> String {
        let nodes = self.cluster.shape().numbers();
        let views = nodes.map(|node| (node, self.cluster.probe(node).map(|probe| probe.groups()).unwrap_or_default()));
        views.map(|(node, groups)| format!("node {node}: {groups:?}")).collect::<Vec<_>>().join("; ")
    }

    /// The leaders that each node names to clients, as text.
    pub fn describe_told(&self) -> String {
        let told = |node| self.cluster.probe(node).unwrap_or_default().told_leaders();
        let nodes = self.cluster.shape().numbers().map(|node| format!("node {node}: {:?}", told(node)));
        nodes.collect::<Vec<_>>().join("; ") + "; " + &self.describe()
    }

    /// The nodes that ended themselves and that `excused` does not excuse.
    pub fn ends(&self, excused: impl Fn(NodeId, u64) -> bool) -> Vec<Finding> {
        judge_ends(&self.cluster.world().exits(), excused)
    }

    pub fn problems(&self) -> Vec<Finding> {
        let seen = self.seen.borrow();
        seen.inside.findings().into_iter().chain(seen.logs.findings()).collect()
    }

    pub fn terms(&self) -> u64 {
        self.seen.borrow().inside.terms()
    }

    pub fn snapshots(&self) -> u64 {
        self.seen.borrow().snapshot_count
    }

    pub fn installs(&self) -> u64 {
        self.seen.borrow().installs
    }

    /// How many states were seen on more than one replica.
    pub fn equal_states(&self) -> u64 {
        self.seen.borrow().inside.equal_states()
    }
}

/// Findings on `exits`, without those that `excused` excuses by node and time.
pub(super) fn judge_ends(exits: &[Exit], excused: impl Fn(NodeId, u64) -> bool) -> Vec<Finding> {
    let wrong = exits.iter().filter(|exit| !excused(exit.node, exit.at_nanos));
    let text = wrong.map(|exit| format!("node {} ended itself with {:?}: {}", exit.node, exit.code, exit.message));
    text.map(|text| Finding::new(Judge::Ends, text)).collect()
}
