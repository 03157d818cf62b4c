//! Questions that the node answers itself: the map, its status.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::meta::Status;
use kahuna_protocol::{Outcome, RequestRef, ShardId};

use crate::env::Env;
use crate::lanes::{Control, ShardStatus};
use crate::request::{Reply, busy};
use crate::shard::Shard;

impl<E: Env> Shard<E> {
    pub(super) fn answer_for_node(self: &Rc<Self>, request: &RequestRef<'_>, reply: Reply) {
        if reply.is_full() {
            return reply.refuse_full();
        }
        match request {
            RequestRef::MapGet(_) => reply.send(Outcome::Map(self.view().current_map()).into()),
            _ => {
                let Some(charge) = self.questions().admit(0) else {
                    let text =
                        format!("{} questions about the node's state are in flight", self.questions().requests());
                    return reply.send(busy(text).into());
                };
                let shard = self.clone();
                E::spawn(async move {
                    reply.send(Outcome::Status(shard.status().await).into());
                    drop(charge);
                });
            }
        }
    }

    /// The node's status, gathered from all of its shards.
    pub async fn status(&self) -> Status {
        let (asker, answers) = flume::bounded(usize::from(self.shards()));
        (0..self.shards()).for_each(|to| self.lanes().control(ShardId(to), Control::Status(asker.clone())));
        drop(asker);
        let mut all = ShardStatus::default();
        while let Ok(part) = E::across_threads(answers.recv_async()).await {
            all.replicas.extend(part.replicas);
            all.log_flushes += part.log_flushes;
            all.log_bytes += part.log_bytes;
            all.disk = all.disk.max(part.disk);
            all.connections += part.connections;
            all.peers_alive.extend(part.peers_alive);
            if all.waiting.is_empty() {
                all.waiting = part.waiting;
            }
            if all.note.is_empty() {
                all.note = part.note;
            }
        }
        if all.waiting.is_empty() && !all.note.is_empty() {
            all.waiting = format!("{}{}", Status::SERVES, all.note);
        }
        all.replicas.sort_by_key(|replica| replica.group);
        all.peers_alive.sort_unstable();
        all.peers_alive.dedup();
        Status {
            node: self.config().node,
            cluster: self.view().id(),
            incarnation: self.incarnation(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: millis(E::boot_clock().saturating_sub(self.started())),
            shards: self.shards(),
            log_flushes: all.log_flushes,
            log_bytes: all.log_bytes,
            disk: all.disk,
            connections: all.connections,
            peers_alive: all.peers_alive,
            waiting: all.waiting,
            replicas: all.replicas,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
