//! Which nodes live. On shard 0 only: one pulse per node and heartbeat interval, whatever the number of groups.
//!
//! ```text
//!   Down ── a pulse is answered ──> Up ── refused, or silent for `silent_after` ──> Down
//!                                    └─── answered under another boot ──> Down, Up
//! ```
//! A process that dies resets its connections: the watcher is woken, dials, is refused, and says `Down` within a round
//! trip. One that hangs, or whose machine does, is found out by its silence.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::Incarnation;
use kahuna_protocol::peer::PeerPrelude;

use super::pulse::{KIND_PULSE, KIND_PULSE_REPLY, Pulse};
use super::remote::Remote;
use super::skew::Skew;
use super::{CallError, NodeEvent, PeerReply, Peers};
use crate::env::{Env, UnixNanos};

/// Between two judgements of the clocks.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);

/// Watches all nodes that `peers` has addresses of, until it is closed, and says to `tell` what happens to them. Also
/// keeps the wall clock true and raises an alarm when the nodes' clocks are too far apart.
pub async fn watch_nodes<E: Env>(peers: Rc<Peers<E>>, tell: impl Fn(NodeEvent) + 'static) {
    let tell: Rc<dyn Fn(NodeEvent)> = Rc::new(tell);
    let mut watched = Vec::new();
    let mut skew = Skew::new(peers.local().node, peers.limits.max_clock_skew_ms);
    let mut clocks_at = E::boot_clock() + CLOCKS_EVERY;
    while !peers.closed.get() {
        for node in peers.nodes() {
            if !watched.contains(&node)
                && let Some(remote) = peers.remote(node)
            {
                watched.push(node);
                E::spawn(Watcher::new(peers.clone(), remote, tell.clone()).run());
            }
        }
        let pause = clocks_at.saturating_sub(E::boot_clock());
        if E::timeout(pause, peers.nodes_changed.wait()).await.is_some() {
            continue;
        }
        clocks_at = E::boot_clock() + CLOCKS_EVERY;
        let offsets = peers.take_offsets();
        if let Some(alarm) = skew.judge(&offsets, E::boot_clock()) {
            crate::say!("{alarm}");
        }
        E::resync_wall_clock();
    }
}

/// One node under watch.
struct Watcher<E: Env> {
    peers: Rc<Peers<E>>,
    remote: Rc<Remote>,
    tell: Rc<dyn Fn(NodeEvent)>,
    silent_after: Duration,
    /// Data directory and boot of the node that was said to be up.
    up: Option<(Incarnation, u64)>,
    /// Silence before this instant says nothing: this shard did not run.
    excused_until: Duration,
}

impl<E: Env> Watcher<E> {
    fn new(peers: Rc<Peers<E>>, remote: Rc<Remote>, tell: Rc<dyn Fn(NodeEvent)>) -> Self {
        let silent_after = peers.timing.election_min.max(3 * peers.timing.heartbeat);
        Self { peers, remote, tell, silent_after, up: None, excused_until: Duration::ZERO }
    }

    async fn run(mut self) {
        let heartbeat = self.peers.timing.heartbeat;
        while !self.peers.closed.get() {
            let asked_at = E::boot_clock();
            let limit = self.silent_after.saturating_sub(self.silence(asked_at)).max(heartbeat);
            let wall = E::wall_clock();
            let pulse = self.peers.pulse();
            let prelude = PeerPrelude::default();
            let answer =
                self.peers.call_remote(&self.remote, prelude, KIND_PULSE, 0, limit, |out| pulse.encode(out)).await;
            let now = E::boot_clock();
            if now > asked_at + limit + self.silent_after / 2 {
                // The answer may lie unread in the socket.
                self.excused_until = now;
            }
            let again = matches!(answer, Err(CallError::Lost(_)));
            self.on_answer(answer, asked_at, now, wall);
            if !again {
                let pause = (asked_at + heartbeat).saturating_sub(E::boot_clock());
                E::timeout(pause, self.remote.disturbed.wait()).await;
            }
        }
    }

    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.remote.last_heard().max(self.excused_until))
    }

    fn on_answer(&mut self, answer: Result<PeerReply, CallError>, asked_at: Duration, now: Duration, wall: UnixNanos) {
        match answer {
            Ok(reply) => match self.decode(&reply) {
                Some(pulse) => {
                    self.remote.set_offset(offset(wall, UnixNanos(pulse.wall_ns), now - asked_at), now - asked_at);
                    self.answered(pulse.boot_id);
                }
                None => self.down(),
            },
            // Refused or not reachable, unless it was the node itself that made us dial anew.
            Err(CallError::NotSent(_)) if self.remote.last_heard() < asked_at => self.down(),
            Err(CallError::Refused(error)) => {
                self.peers.complain(&self.remote, &format!("node {}: {}", self.remote.node, error.text));
                self.down();
            }
            Err(_) if self.silence(now) >= self.silent_after => self.down(),
            Err(_) => {}
        }
    }

    fn decode(&self, reply: &PeerReply) -> Option<Pulse> {
        let pulse = Pulse::decode(reply.kind, &reply.body).ok().filter(|_| reply.kind == KIND_PULSE_REPLY)?;
        self.peers.on_pulse(&self.remote, &pulse).then_some(pulse)
    }

    fn answered(&mut self, boot_id: u64) {
        let Some(incarnation) = self.remote.incarnation() else { return };
        if self.up == Some((incarnation, boot_id)) {
            return;
        }
        self.down();
        self.up = Some((incarnation, boot_id));
        (self.tell)(NodeEvent::Up { node: self.remote.node, incarnation, boot_id });
    }

    fn down(&mut self) {
        if let Some((incarnation, _)) = self.up.take() {
            (self.tell)(NodeEvent::Down { node: self.remote.node, incarnation });
        }
    }
}

/// How far the other clock is ahead of ours, in nanoseconds, if it was read in the middle of the round trip.
fn offset(asked: UnixNanos, theirs: UnixNanos, round_trip: Duration) -> i64 {
    theirs.ahead_of(asked + round_trip / 2)
}
