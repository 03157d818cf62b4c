//! What a change of leaders does to the requests that wait.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::NodeId;

use super::group::Group;
use crate::env::Env;
use crate::lanes::{ClusterNews, Control};
use crate::raft::Leader;
use crate::request::{Work, retry};

/// The longest pause before a refused request is tried again without news of a leader, and before the node of a leader is
/// looked up again if it was not known.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

impl<E: Env> Group<E> {
    /// Follows the replica's leader until the group stops.
    pub(super) async fn watch_leadership(self: Rc<Self>) {
        let mut seen = self.replica.leader();
        let mut told = self.announce(&seen);
        while !self.stopped.get() {
            let changed = self.replica.leader_changed(&seen);
            if told {
                changed.await;
            } else if E::timeout(LONGEST_PAUSE, changed).await.is_none() {
                told = self.announce(&seen);
                continue;
            }
            let now = self.replica.leader();
            if now == seen {
                // The replica was shut down.
                return;
            }
            // A leader's message may arrive before the membership entry that names its data directory.
            if (Leader { term: now.term, ..seen }) != now {
                told = self.announce(&now);
            }
            self.pass_on(&seen, &now);
            seen = now;
        }
    }

    /// Sends the leader to all shards, for the map they give to clients. False if the node of the leader's data directory
    /// is not known yet; then the leader is announced later.
    fn announce(&self, leader: &Leader) -> bool {
        let node = self.node_of_leader(leader);
        let (group, named) = (self.id, node.unwrap_or(NodeId(0)));
        self.cx.lanes.broadcast(|| Control::Cluster(ClusterNews::Leader { group, leader: named }));
        node.is_some() || leader.incarnation.is_none()
    }

    /// Repeats the proposals of a leadership that ended, and sends the waiting requests to the present leader.
    fn pass_on(self: &Rc<Self>, seen: &Leader, now: &Leader) {
        if seen.leading && (!now.leading || now.term != seen.term) {
            self.repeat_proposed(self.proposals.take_proposed());
        }
        if !now.leading {
            let reads = self.rounds.take_pending();
            self.proposals.take_pending().into_iter().chain(reads).for_each(|work| self.serve(work));
        }
        if now.leading || now.replica.is_some() {
            self.parked.take().into_iter().for_each(|work| self.serve(work));
        }
    }

    /// Another attempt for requests that were not taken: at once where another node leads; here, once this replica has
    /// shown that it still leads. A leader that is new, or was silent for long, refuses writes until a quorum answered
    /// it once more, which a read round brings about.
    pub(super) fn again(self: &Rc<Self>, works: Vec<Work>) {
        if works.is_empty() {
            return;
        }
        let group = self.clone();
        E::spawn(async move {
            let attempts = works.iter().map(|work| work.call.attempts).max().unwrap_or(0);
            let leader = group.replica.leader();
            if leader.leading {
                let confirmed = E::timeout(LONGEST_PAUSE, group.replica.read_index()).await;
                if !matches!(confirmed, Some(Ok(()))) || attempts > 0 {
                    E::timeout(retry::pause(attempts), group.replica.leader_changed(&leader)).await;
                }
            }
            works.into_iter().map(Work::next_attempt).for_each(|work| group.serve(work));
        });
    }
}
