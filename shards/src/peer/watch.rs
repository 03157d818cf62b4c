//! Which nodes live. On shard 0 only: one pulse per node and heartbeat interval, whatever the number of groups.
//!
//! ```text
//!   Down ── a pulse is answered ──> Up ── refused, or silent for `silent_after` ──> Down
//!                                    └─── answered under another boot ──> Down, Up
//! ```
//! A process that dies resets its connections: the watcher is woken, dials, is refused, and reports `Down` within a round
//! trip. A process or machine that hangs is detected by its silence. The node's own pulses are watched as well, because a
//! leader's messages arrive over its links, not over ours: `Heard`, and `Unheard`. A shard that hangs while shard 0 answers
//! is detected by its counter in the answers: `Stalled`, and `Resumed`.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::Incarnation;
use kahuna_protocol::peer::PeerPrelude;

use super::counters::Counters;
use super::pulse::{KIND_PULSE, KIND_PULSE_REPLY, Pulse};
use super::remote::Remote;
use super::skew::{Offset, Skew};
use super::{CallError, NodeEvent, PeerReply, Peers};
use crate::clock::{minus_boot, wall_minus_boot};
use crate::env::{Env, UnixNanos, until_mark};

/// Between two judgements of the clocks.
const CLOCKS_EVERY: Duration = Duration::from_secs(1);
/// How long a node that starts waits for a third one, if its clock and that of the only one heard differ.
const IN_DOUBT: Duration = Duration::from_secs(3);
/// How long the first answer of a node may take while no clock was heard: on the slowest wires, too, a node comes to know
/// the time.
const FIRST_ANSWER: Duration = Duration::from_secs(1);

/// Watches all nodes that `peers` has addresses of, until it is closed, and says to `tell` what happens to them. Also
/// keeps the wall clock true, judges which clock the node goes by, and raises an alarm when the nodes' clocks are too far
/// apart: `judged` hears of the first judgement, and of every alarm and its end. A node that `is_alone`, the only member of
/// its cluster, has no other clocks to hear, whoever else is listed.
pub async fn watch_nodes<E: Env>(
    peers: Rc<Peers<E>>,
    is_alone: bool,
    tell: impl Fn(NodeEvent) + 'static,
    judged: impl Fn(Option<String>) + 'static,
) {
    let tell: Rc<dyn Fn(NodeEvent)> = Rc::new(tell);
    let mut watched = Vec::new();
    let mut skew = Skew::new(peers.local().node, peers.limits.max_clock_skew_ms);
    let mut first_heard = None;
    let mut clocks_at = Duration::ZERO;
    while !peers.closed.get() {
        for node in peers.nodes() {
            if !watched.contains(&node)
                && let Some(remote) = peers.remote(node)
            {
                watched.push(node);
                E::spawn(Watcher::new(peers.clone(), remote, tell.clone()).run());
            }
        }
        let now = E::boot_clock();
        let due = match skew.agreed() {
            Some(_) => Some(clocks_at),
            None if is_alone => Some(now),
            None => first_judgement(&peers, &skew, &mut first_heard, now),
        };
        let pause = due.map_or(CLOCKS_EVERY, |due| due.saturating_sub(now));
        if E::timeout(pause, peers.to_watch.wait()).await.is_some() || due.is_none() {
            continue;
        }
        let now = E::boot_clock();
        clocks_at = now + CLOCKS_EVERY;
        // In this order: a jump of the host's clock is judged before anything goes by it.
        E::resync_wall_clock();
        let own = wall_minus_boot::<E>();
        let first = skew.agreed().is_none();
        if first && !is_alone && first_judgement(&peers, &skew, &mut first_heard, now).is_none_or(|due| due > now) {
            // It jumped since it was last looked at: now there are two clocks that differ.
            continue;
        }
        let alarm = if is_alone {
            skew.alone(own);
            None
        } else {
            skew.judge(own, &peers.take_offsets(), peers.nodes().len(), E::boot_clock())
        };
        if let Some(agreed) = skew.agreed() {
            peers.clock.judge(agreed);
        }
        if let Some(alarm) = &alarm {
            crate::say!("{alarm}");
        }
        if first || alarm.is_some() {
            judged(alarm.and_then(|alarm| alarm.note()));
        }
    }
}

/// When the clocks are judged for the first time: once all were heard, or a little after the first one. Who judged by that
/// alone might take a wrong clock for half of the truth; if the two differ, a third one is waited for longer.
fn first_judgement<E: Env>(
    peers: &Peers<E>,
    skew: &Skew,
    first_heard: &mut Option<Duration>,
    now: Duration,
) -> Option<Duration> {
    let (heard, others) = (peers.offsets(), peers.nodes().len());
    if heard.len() == others {
        return Some(now);
    }
    if !heard.is_empty() {
        first_heard.get_or_insert(now);
    }
    let patience = match heard.as_slice() {
        [other] if skew.is_in_doubt(wall_minus_boot::<E>(), other) => IN_DOUBT,
        _ => peers.timing.election_max,
    };
    first_heard.map(|heard_at| heard_at + patience)
}

/// One node under watch.
struct Watcher<E: Env> {
    peers: Rc<Peers<E>>,
    remote: Rc<Remote>,
    tell: Rc<dyn Fn(NodeEvent)>,
    silent_after: Duration,
    /// Data directory and boot id that were reported up.
    up: Option<(Incarnation, u64)>,
    /// Silence before this instant is ignored: this shard did not run.
    excused_until: Duration,
    /// What the node's shards count.
    counters: Counters,
    /// Boot id of the pulses that were reported as arriving.
    heard: Option<u64>,
    /// When the node was last reported down: earlier pulses do not count.
    down_at: Duration,
}

impl<E: Env> Watcher<E> {
    fn new(peers: Rc<Peers<E>>, remote: Rc<Remote>, tell: Rc<dyn Fn(NodeEvent)>) -> Self {
        let silent_after = peers.timing.silent_after();
        Self {
            peers,
            remote,
            tell,
            silent_after,
            up: None,
            excused_until: Duration::ZERO,
            counters: Counters::default(),
            heard: None,
            down_at: Duration::ZERO,
        }
    }

    async fn run(mut self) {
        let heartbeat = self.peers.timing.heartbeat;
        while !self.peers.closed.get() {
            let asked_at = E::boot_clock();
            let mut limit = self.silent_after.saturating_sub(self.silence(asked_at)).max(heartbeat);
            if self.up.is_none() && !self.peers.clock.is_judged() {
                limit = limit.max(FIRST_ANSWER);
            }
            let pulse = self.peers.pulse();
            let prelude = PeerPrelude::default();
            let answer =
                self.peers.call_remote(&self.remote, prelude, KIND_PULSE, 0, limit, |out| pulse.encode(out)).await;
            let now = E::boot_clock();
            if now > asked_at + limit + self.silent_after / 2 {
                // The answer may lie unread in the socket.
                self.excused_until = now;
                self.counters.forget(now);
            }
            let again = matches!(answer, Err(CallError::Lost(_)));
            self.on_answer(answer, asked_at, now);
            self.judge_pulses(now);
            if !again {
                // All nodes are asked at once, while they answer in time.
                let pause = until_mark(E::boot_clock(), heartbeat).min((asked_at + heartbeat).saturating_sub(now));
                E::timeout(pause, self.remote.disturbed.wait()).await;
            }
        }
    }

    fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.remote.last_heard().max(self.excused_until))
    }

    fn on_answer(&mut self, answer: Result<PeerReply, CallError>, asked_at: Duration, now: Duration) {
        match answer {
            Ok(reply) => match self.decode(&reply) {
                Some(pulse) => {
                    self.heard_clock(&pulse, asked_at, now);
                    self.answered(pulse.boot_id);
                    self.judge_shards(&pulse.progress, now);
                }
                None => self.down(),
            },
            // Refused or not reachable, unless it was the node itself that made us dial anew.
            Err(CallError::NotSent(_)) if self.remote.last_heard() < asked_at => self.down(),
            Err(CallError::Refused(error, _)) => {
                self.peers.complain(&self.remote, &format!("node {}: {}", self.remote.node, error.text));
                self.down();
            }
            Err(_) if self.silence(now) >= self.silent_after => self.down(),
            Err(_) => {}
        }
    }

    /// Both of its clocks, if they were read in the middle of the round trip.
    fn heard_clock(&self, pulse: &Pulse, asked_at: Duration, now: Duration) {
        let round_trip = now - asked_at;
        let read_at = asked_at + round_trip / 2;
        // A node that does not belong to the cluster yet gave nobody a lease.
        let is_member = pulse.cluster == self.peers.local().cluster;
        self.remote.set_offset(Offset {
            node: self.remote.node,
            minus_boot: minus_boot(UnixNanos(pulse.wall_ns), read_at),
            agreed: Some(pulse.agreed_ns)
                .filter(|ns| is_member && *ns != 0)
                .map(|ns| minus_boot(UnixNanos(ns), read_at)),
            round_trip,
        });
        if !self.peers.clock.is_judged() {
            self.peers.to_watch.notify();
        }
    }

    fn decode(&self, reply: &PeerReply) -> Option<Pulse> {
        let pulse = Pulse::decode(reply.kind, &reply.body).ok().filter(|_| reply.kind == KIND_PULSE_REPLY)?;
        self.peers.on_pulse(&self.remote, &pulse).then_some(pulse)
    }

    /// Reports whether the node's own pulses arrive.
    fn judge_pulses(&mut self, now: Duration) {
        let Some(incarnation) = self.remote.incarnation() else { return };
        let node = self.remote.node;
        let is_new = |at: Duration| at > self.down_at && now < at.max(self.excused_until) + self.silent_after;
        let heard = self.remote.pulse().filter(|(_, at)| is_new(*at)).map(|(boot_id, _)| boot_id);
        if heard == self.heard {
            return;
        }
        self.heard = heard;
        (self.tell)(match heard {
            Some(boot_id) => NodeEvent::Heard { node, incarnation, boot_id },
            None => NodeEvent::Unheard { node, incarnation },
        });
    }

    fn judge_shards(&mut self, progress: &[u64], now: Duration) {
        let Some((incarnation, _)) = self.up else { return };
        let node = self.remote.node;
        for (shard, stalled) in self.counters.look(progress, now) {
            (self.tell)(match stalled {
                true => NodeEvent::Stalled { node, incarnation, shard },
                false => NodeEvent::Resumed { node, shard },
            });
        }
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
        self.counters = Counters::default();
        if let Some((incarnation, _)) = self.up.take() {
            (self.heard, self.down_at) = (None, E::boot_clock());
            (self.tell)(NodeEvent::Down { node: self.remote.node, incarnation });
        }
    }
}
