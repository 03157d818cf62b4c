//! How listed nodes become one cluster, once.
//!
//! ```text
//!   every node   formats itself as pending: incarnation and peer set, no cluster
//!   lowest id    once all listed peers answered, are pending and list the same set: mints the founding, stores it
//!   the others   see a peer with a cluster, fetch its founding, find themselves in it, store it
//! ```
//! Each step is one durable write, so a crash anywhere resumes. A node whose incarnation the founding does not name was
//! formatted anew after the cluster was made: it must not vote under its old number, and stops here.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::frame::{access, to_owned};
use kahuna_protocol::kinds::KIND_FOUNDING;
use kahuna_protocol::meta::{Replica, Settings};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ClusterId, Incarnation, NodeId, ReplicaId, ShardId};
use kahuna_wal::LogOptions;
use rkyv::Archived;

use crate::config::DEFAULT_PARTITIONS;
use crate::env::{Env, ExitCode};
use crate::manifest::founding::Founding;
use crate::node::manifest::Manifest;
use crate::node::open::{OPENING, make_log};
use crate::peer::{PeerView, Peers};
use crate::shard::Shard;

const POLL: Duration = Duration::from_millis(20);
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a pending node needs to found or join its cluster.
pub struct Bootstrap<E: Env> {
    /// Links to the listed peers, which are dialled already.
    pub peers: Rc<Peers<E>>,
    /// Where the manifest is.
    pub disk: E::Disk,
    /// Directory that the founded manifest is written to.
    pub data_dir: PathBuf,
    /// Manifest without a founding, as it was formatted.
    pub manifest: Manifest,
    /// What this node would found the cluster with.
    pub partitions: Option<u32>,
    /// What every replica agrees on.
    pub settings: Settings,
    /// The cluster id to mint, random.
    pub mint: ClusterId,
    /// Sizes of the logs that are made with the founding.
    pub log_options: LogOptions,
    /// Its status shows what the node waits for.
    pub shard: Rc<Shard<E>>,
}

/// The next step, decided from the peers' answers.
enum Next {
    Wait(String),
    Adopt(Incarnation),
    Found(Vec<Replica>),
}

impl<E: Env> Bootstrap<E> {
    /// Returns once the node belongs to a cluster and its manifest records that durably.
    pub async fn run(mut self) -> Manifest {
        let mut reported = String::new();
        let mut reported_at = Duration::ZERO;
        loop {
            let founding = match self.next() {
                Next::Found(members) => Ok(Some(self.founding_of(members))),
                Next::Adopt(peer) => self.adopt(peer).await,
                Next::Wait(why) => Err(why),
            };
            match founding {
                Ok(Some(founding)) => {
                    self.manifest.founding = Some(founding);
                    self.store().await;
                    self.shard.set_waiting(OPENING);
                    return self.manifest;
                }
                Ok(None) => {}
                Err(why) => {
                    let now = E::boot_clock();
                    if why != reported || now > reported_at + REPORT_EVERY {
                        crate::say!("node {}: {why}", self.manifest.node);
                        reported.clone_from(&why);
                        reported_at = now;
                    }
                    self.shard.set_waiting(why);
                }
            }
            E::sleep(POLL).await;
        }
    }

    /// Makes the logs, then the manifest that names them: a log that is missing later was lost, and an empty one in its
    /// place would forget votes.
    async fn store(&self) {
        for shard in (0..self.manifest.shards).map(ShardId) {
            let options = self.log_options.clone();
            let made = make_log::<E>(&self.disk, &self.data_dir, &self.manifest, shard, options).await;
            made.unwrap_or_else(|(code, text)| E::abort(code, &text));
        }
        if let Err(error) = self.manifest.write(&self.disk, &self.data_dir).await {
            E::abort(ExitCode::DiskFailed, &format!("cannot store the cluster's founding: {error}"));
        }
    }

    fn next(&self) -> Next {
        let me = self.manifest.node;
        let others = || self.manifest.peers.iter().filter(|(node, _)| *node != me);
        let views: Vec<(NodeId, Option<PeerView>)> =
            others().map(|(node, _)| (*node, self.peers.peer(*node))).collect();
        let founded = views.iter().filter_map(|(_, view)| view.as_ref()).find(|view| !view.cluster.is_none());
        if let Some(view) = founded {
            return Next::Adopt(view.incarnation);
        }
        let missing: Vec<String> = others()
            .zip(&views)
            .filter(|(_, (_, view))| view.is_none())
            .map(|((node, address), _)| match self.peers.unresolved(*node) {
                Some(why) => why,
                None => format!("node {node} at {address}"),
            })
            .collect();
        if !missing.is_empty() {
            return Next::Wait(format!("waiting to form the cluster; no answer yet from {}", missing.join(", ")));
        }
        let known: Vec<(NodeId, &PeerView)> =
            views.iter().filter_map(|(node, view)| Some((*node, view.as_ref()?))).collect();
        if let Some((node, view)) = known.iter().find(|(_, view)| view.peer_set != self.manifest.peers) {
            return Next::Wait(format!(
                "node {node} was started with --peers {}, and this node with {}; make them the same on every node",
                list(&view.peer_set),
                list(&self.manifest.peers)
            ));
        }
        let lowest = self.manifest.peers.iter().map(|(node, _)| *node).min();
        if lowest != Some(me) {
            return Next::Wait(format!("waiting for node {} to form the cluster", lowest.unwrap_or(me)));
        }
        let incarnation_of = |node: NodeId| match known.iter().find(|(other, _)| *other == node) {
            Some((_, view)) => view.incarnation,
            None => self.manifest.incarnation,
        };
        let members = self.manifest.peers.iter().zip((1..).map(ReplicaId));
        Next::Found(
            members
                .map(|((node, _), replica)| Replica { replica, node: *node, incarnation: incarnation_of(*node) })
                .collect(),
        )
    }

    fn founding_of(&self, members: Vec<Replica>) -> Founding {
        let partitions = self.partitions.unwrap_or(DEFAULT_PARTITIONS);
        Founding { cluster: self.mint, members, partitions, settings: self.settings }
    }

    /// Fetches the founding from a peer that has one; `Ok(None)` when it did not answer.
    async fn adopt(&self, peer: Incarnation) -> Result<Option<Founding>, String> {
        let call = self.peers.call(peer, PeerPrelude::default(), KIND_FOUNDING, 0, CALL_TIMEOUT, |_| {});
        let Ok(reply) = call.await else { return Ok(None) };
        let Ok(archived) = access::<Archived<Founding>>(reply.kind, &reply.body) else {
            return Err("a peer's founding record does not validate; are all nodes of the same version?".into());
        };
        let founding: Founding = to_owned(archived);
        if let Err(why) = founding.check() {
            return Err(format!("a peer's founding record cannot be followed: {why}; see that node's manifest"));
        }
        let named = founding.members.iter().any(|member| member.incarnation == self.manifest.incarnation);
        if !named {
            return Err(format!(
                "cluster {} exists already and does not know this data directory ({}): it was formatted after the \
                 cluster was made. Start the node with its old data directory",
                founding.cluster,
                self.data_dir.display()
            ));
        }
        founding.fits(self.partitions, &self.settings).map_err(|misfit| misfit.to_string())?;
        Ok(Some(founding))
    }
}

fn list(peers: &[(NodeId, String)]) -> String {
    peers.iter().map(|(node, address)| format!("{node}={address}")).collect::<Vec<_>>().join(",")
}
