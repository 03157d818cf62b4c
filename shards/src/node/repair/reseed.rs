//! How a node gets back the replicas that it lost: it asks the meta group for new ids, one group at a time, and the other
//! nodes feed the new replicas. Which id may be used is decided by [`may_create`](super::may_create()).

use std::rc::Rc;
use std::time::Duration;

use kahuna_machine::Meta;
use kahuna_protocol::meta::{ReplaceReplica, Replacement};
use kahuna_protocol::{GroupId, Outcome};
use kahuna_wal::Disk;

use super::progress::Progress;
use crate::env::Env;
use crate::node::context::NodeContext;
use crate::node::found::creation::Creation;
use crate::node::open::GroupOpener;
use crate::raft::snapshot::is_own_name;

/// Between two looks, and while nothing is lost.
const LOOK_EVERY: Duration = Duration::from_millis(25);
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the meta group may take for an answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one group may be fed before the next one is asked for all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two words about the same thing.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Why the meta group has given no replica.
#[derive(Debug)]
struct NotGiven {
    /// What this shard waits for.
    why: String,
    /// The answer, without waiting for it: this shard, or another one that asks here, may be what the answer waits for.
    answer: String,
}

/// The last report, and its time.
#[derive(Default)]
struct Report {
    text: String,
    at: Duration,
}

/// Replaces the lost replicas of one shard.
pub struct Reseed<E: Env> {
    cx: Rc<NodeContext<E>>,
    opener: Rc<GroupOpener<E>>,
}

impl<E: Env> Reseed<E> {
    /// Makes the new replicas by `opener`.
    pub fn new(cx: Rc<NodeContext<E>>, opener: Rc<GroupOpener<E>>) -> Self {
        Self { cx, opener }
    }

    /// Makes the meta group's new replica in the place of the one that was `founded`, or of a later one; false if the node
    /// stops before.
    pub async fn replace_meta(&self, founded: &Creation) -> bool {
        let mut report = Report::default();
        while !self.cx.is_stopping() {
            match self.ask_for(GroupId::META).await {
                Ok(replacement) => {
                    self.opener.make(Creation { replica: replacement.replica, ..founded.clone() }).await;
                    return true;
                }
                Err(NotGiven { why, answer }) => {
                    self.report(&mut report, format!("the meta group's replica is lost: {why}"), &answer);
                }
            }
            E::sleep(LOOK_EVERY).await;
        }
        false
    }

    /// Asks for new replicas in the place of lost ones, one after the other, until all of them vote; rests until another
    /// loss is counted. That may be one of another shard: a group that was placed here, and not yet made, needs another id
    /// from then on.
    pub async fn run(self) {
        let mut report = Report::default();
        let (mut seen, mut since) = (Progress::default(), E::boot_clock());
        let mut replaced = 0;
        while !self.cx.is_stopping() {
            let losses = self.cx.losses();
            if losses == replaced {
                E::sleep(IDLE_LOOK_EVERY).await;
                continue;
            }
            let Some(meta) = self.cx.meta().filter(|meta| meta.is_placed()) else {
                self.report(&mut report, "lost replicas are replaced once the meta group is read".into(), "");
                E::sleep(LOOK_EVERY).await;
                continue;
            };
            let left = Progress::of(&self.cx, &self.opener, &meta);
            if left.is_complete() {
                self.remove_lost_snapshots(&meta).await;
                if !report.text.is_empty() {
                    crate::say!("shard {}: all its lost replicas are replaced", self.cx.shard.id());
                }
                self.cx.shard.set_waiting("");
                report = Report::default();
                replaced = losses;
                continue;
            }
            if left != seen {
                since = E::boot_clock();
            }
            let (mut text, mut answered) = (left.describe(), String::new());
            let next = left.lost.first().filter(|_| left.joining.is_empty() || E::boot_clock() > since + PATIENCE);
            if let Some(&group) = next
                && let Err(NotGiven { why, answer }) = self.ask_for(group).await
            {
                text = format!("{text}; {why}");
                answered = answer;
            }
            self.report(&mut report, text, &answered);
            seen = left;
            E::sleep(LOOK_EVERY).await;
        }
    }

    /// The replica that the meta group mints, or has minted, for this node's loss of `group`.
    async fn ask_for(&self, group: GroupId) -> Result<Replacement, NotGiven> {
        let loss = self.cx.losses();
        let (node, incarnation) = (self.cx.config.node, self.cx.shard.incarnation());
        let asked = ReplaceReplica { group, node, incarnation, loss };
        match self.cx.shard.system(GroupId::META, &asked.into(), ASK_TIMEOUT).await {
            Outcome::Replacement(replacement) if replacement.loss == loss && !replacement.finished => Ok(replacement),
            Outcome::Replacement(replacement) => {
                let why = format!(
                    "this data directory counts {loss} losses, and the cluster knows replica {} of it, of loss {}: it is an old copy",
                    replacement.replica, replacement.loss
                );
                Err(NotGiven { why, answer: String::new() })
            }
            Outcome::Error(error) => {
                let why = "the meta group does not answer. If a majority of the nodes is gone for good, stop this one and \
                           see `kahuna recover --help`";
                Err(NotGiven { why: why.into(), answer: error.text })
            }
            other => Err(NotGiven { why: format!("the meta group answered {other:?}"), answer: String::new() }),
        }
    }

    /// Removes the snapshots of replicas whose place others have.
    async fn remove_lost_snapshots(&self, meta: &Meta) {
        for replacement in meta.replacements() {
            let here = replacement.incarnation == self.cx.shard.incarnation() && self.cx.is_shard_of(replacement.group);
            for &replica in replacement.lost.iter().filter(|_| here) {
                let dir = self.cx.snapshot_dir(replacement.group, replica);
                // Not there any more, or never was; what cannot be removed now is tried again by the next start.
                let Ok(files) = self.cx.disk.list(&dir).await else { continue };
                for file in files.iter().filter(|file| is_own_name(&file.name)) {
                    let _ = self.cx.disk.remove(&dir.join(&file.name)).await;
                }
            }
        }
    }

    /// Reports what the shard waits for in its status and, at intervals, on stderr, together with the last answer.
    fn report(&self, report: &mut Report, text: String, answer: &str) {
        let now = E::boot_clock();
        if text != report.text || now > report.at + REPORT_EVERY {
            let answered = if answer.is_empty() { String::new() } else { format!(" ({answer})") };
            crate::say!("shard {}: {text}{answered}", self.cx.shard.id());
            *report = Report { text: text.clone(), at: now };
        }
        self.cx.shard.set_waiting(text);
    }
}
