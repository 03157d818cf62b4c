//! What leaders repeat: one timer for all groups of a shard, which runs while one of them has something to repeat.
//!
//! A group has *settled* when every entry of its leader's log is applied here, and every member whose node is up has
//! acknowledged the end of the log and that all of it is committed, has room on its disk, and is waited for by no read.
//! Until then it is *restless*: once such a member has acknowledged nothing for two heartbeat intervals, all are sent a
//! heartbeat. So what was lost on the way is repeated, and entries that flow need no heartbeats beside them.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use openraft::rt::WatchReceiver as _;

use super::replica::Replica;
use crate::env::Env;

/// Groups that are looked at before the shard's other tasks run.
const AT_ONCE: usize = 32;

/// The restless groups of a shard.
pub struct Heartbeats<E: Env> {
    every: Duration,
    /// A group that was closed meanwhile leaves by itself.
    restless: RefCell<Vec<Weak<Restless<E>>>>,
    runs: Cell<bool>,
}

impl<E: Env> Heartbeats<E> {
    /// No restless group yet; looks at them `every` heartbeat interval.
    pub fn new(every: Duration) -> Rc<Self> {
        Rc::new(Self { every, restless: RefCell::default(), runs: Cell::new(false) })
    }

    fn add(self: &Rc<Self>, group: Weak<Restless<E>>) {
        self.restless.borrow_mut().push(group);
        if !self.runs.replace(true) {
            E::spawn(self.clone().run());
        }
    }

    async fn run(self: Rc<Self>) {
        loop {
            E::sleep(self.every).await;
            for (at, group) in self.restless.take().into_iter().enumerate() {
                if at % AT_ONCE == AT_ONCE - 1 {
                    E::yield_now().await;
                }
                let Some(open) = group.upgrade() else { continue };
                if open.is_restless(self.every) {
                    self.restless.borrow_mut().push(group);
                } else {
                    open.listed.set(false);
                }
            }
            if self.restless.borrow().is_empty() {
                self.runs.set(false);
                return;
            }
        }
    }
}

/// Whether one group is on the list.
pub struct Restless<E: Env> {
    heartbeats: Rc<Heartbeats<E>>,
    /// None before the replica is open.
    replica: OnceCell<Weak<Replica<E>>>,
    listed: Cell<bool>,
}

impl<E: Env> Restless<E> {
    /// A group that is not on the list of `heartbeats`.
    pub fn new(heartbeats: Rc<Heartbeats<E>>) -> Rc<Self> {
        Rc::new(Self { heartbeats, replica: OnceCell::new(), listed: Cell::new(false) })
    }

    /// The replica is open.
    pub fn set_replica(&self, replica: &Rc<Replica<E>>) {
        let first = self.replica.set(Rc::downgrade(replica));
        debug_assert!(first.is_ok(), "a replica is opened once");
    }

    /// Puts the group on the list: something was sent, or has to be.
    pub fn note(self: &Rc<Self>) {
        if !self.listed.replace(true) {
            self.heartbeats.add(Rc::downgrade(self));
        }
    }

    /// Sends a heartbeat if one is due; false once the group has settled.
    fn is_restless(&self, every: Duration) -> bool {
        match self.replica.get().map(Weak::upgrade) {
            Some(Some(replica)) => is_restless(&replica, every),
            // It is being opened.
            None => true,
            Some(None) => false,
        }
    }
}

/// Whether the group of `replica` is restless; sends heartbeats if a member that should has acknowledged nothing for two
/// intervals: a commit waits for entries to go with for up to one.
fn is_restless<E: Env>(replica: &Replica<E>, every: Duration) -> bool {
    if !replica.leader().leading {
        return false;
    }
    let (server, now) = (replica.server.borrow_watched(), E::boot_clock());
    let end = replica.log.with_entries(|entries| entries.last());
    let mut has_settled = replica.applied.last() == end;
    let mut is_due = false;
    for (&id, member) in server.membership_config.nodes() {
        if id == replica.id.0 || !replica.links.peers.is_reachable(member.incarnation) {
            continue;
        }
        let progress = replica.links.acknowledged.progress(id, server.vote);
        let has_all = progress.is_some_and(|progress| progress.knows(end)) && !replica.full_disks.contains(id);
        // A read round asks all of them.
        let waits = !has_all || replica.links.reads.wait();
        has_settled &= !waits;
        is_due |= waits && progress.is_none_or(|progress| progress.at + 2 * every <= now);
    }
    drop(server);
    if is_due {
        let raft = replica.raft.clone();
        // A replica that was shut down repeats nothing.
        E::spawn(async move { drop(raft.trigger().heartbeat().await) });
    }
    !has_settled
}
