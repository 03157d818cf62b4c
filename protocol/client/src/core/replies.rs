//! What comes back: the handshake, outcomes, refusals, and the loss of a connection.

use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, access, archive_into, encode_frame, to_owned};
use kahuna_protocol::handshake::{ArchivedWelcome, KIND_HELLO, KIND_WELCOME, Welcome};
use kahuna_protocol::meta::Map;
use kahuna_protocol::{ErrorCode, ErrorReply, Header, Hlc, Limits, NodeId, Outcome};

use super::link::{Link, LinkState};
use super::output::{ConnectionId, Output, Reply, RequestToken};
use super::request::{Stage, Tracked, Verdict};
use super::state::Core;
use super::time::Reading;
use crate::Now;
use crate::wire::hello;

impl Core {
    /// The adapter connected: queues the hello.
    pub(super) fn greet(&mut self, connection: ConnectionId, now: Now) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        debug_assert_eq!(link.state, LinkState::Opening);
        link.state = LinkState::Greeting;
        link.last_heard = now.elapsed;
        let hello = hello(link.wish, self.cluster, &self.options.name);
        encode_frame(&mut link.out, KIND_HELLO, 0, 0, self.time.highest(), |out| archive_into(&hello, out));
        self.unsent.insert(connection);
    }

    /// Takes bytes in and handles every whole frame.
    pub(super) fn read(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        let Some(link) = self.links.get_mut(&connection) else { return };
        link.last_heard = now.elapsed;
        link.reader.extend(bytes);
        while let Some(link) = self.links.get_mut(&connection) {
            match link.reader.next() {
                Ok(Some((header, payload))) => self.frame(connection, &header, &payload, now),
                Ok(None) => return,
                Err(error) => self.close(connection, &error.to_string(), now),
            }
        }
    }

    fn frame(&mut self, connection: ConnectionId, header: &Header, payload: &Bytes, now: Now) {
        let ready = self.links[&connection].is_ready();
        if !ready && header.kind == KIND_WELCOME {
            match access::<ArchivedWelcome>(header.kind, payload) {
                Ok(welcome) => self.welcome(connection, header.hlc, &to_owned::<Welcome, _>(welcome), now),
                Err(error) => self.close(connection, &error.to_string(), now),
            }
            return;
        }
        match Outcome::decode(header.kind, payload) {
            Ok(Outcome::Error(refusal)) if !ready => self.turned_away(connection, refusal, now),
            Ok(Outcome::Error(refusal)) if header.request_id == 0 => {
                self.close(connection, &format!("{}: {}", refusal.code(), refusal.text), now);
            }
            Ok(outcome) if ready => self.answer(connection, header, outcome, now),
            Ok(_) => self.close(connection, "an outcome before the welcome", now),
            Err(error) => self.close(connection, &error.to_string(), now),
        }
    }

    fn welcome(&mut self, connection: ConnectionId, stamp: Hlc, welcome: &Welcome, now: Now) {
        let cluster = welcome.cluster;
        if !self.cluster.is_none() && cluster != self.cluster {
            let text = format!("it belongs to cluster {cluster}, not to {}", self.cluster);
            self.close(connection, &text, now);
            return;
        }
        self.cluster = cluster;
        self.time.greeted(stamp, welcome.limits.max_clock_skew_ms, now);
        let link = self.links.get_mut(&connection).expect("frames come on a live connection");
        link.state = LinkState::Ready { node: welcome.node, shard: welcome.shard };
        link.limits = welcome.limits.clone();
        // A page or a status may be larger than what this node takes in.
        link.reader.set_max_payload(welcome.limits.max_frame_bytes.max(Limits::default().max_frame_bytes));
        let endpoint = link.endpoint;
        self.rebuild_places();
        self.endpoints.works(endpoint);
        self.endpoints.set_node(endpoint, welcome.node);
        self.adopt_map(&welcome.map);
        (self.map_wanted, self.map_asked_at) = (false, Some(now.elapsed));
    }

    /// The node answered the hello with an error. One of these codes is about the client itself, or about its address: what
    /// was damaged on the way, or stands in a queue, is repeated.
    fn turned_away(&mut self, connection: ConnectionId, refusal: ErrorReply, now: Now) {
        let endpoint = self.links[&connection].endpoint;
        let code = refusal.code();
        self.close(connection, &format!("{code}: {}", refusal.text), now);
        if matches!(code, ErrorCode::BadRequest | ErrorCode::BadVersion | ErrorCode::WrongCluster) {
            self.endpoints.set_refusal(endpoint, refusal);
        }
    }

    /// Ready connections, under the shard that serves and the one asked for: a node that does not hand over is not
    /// asked again and again.
    fn rebuild_places(&mut self) {
        self.places.clear();
        for (&connection, link) in &self.links {
            if let LinkState::Ready { node, shard } = link.state {
                self.places.insert((node, link.wish), connection);
                self.places.insert((node, shard), connection);
            }
        }
    }

    fn adopt_map(&mut self, map: &Map) {
        let is_latest = self.routes.adopt(map);
        self.time.keep(|partition| self.routes.has(partition));
        let named = || map.nodes.iter().filter(|node| !node.client_address.is_empty());
        for node in named() {
            let index = self.endpoints.index(&node.client_address);
            self.endpoints.set_node(index, node.node);
        }
        if is_latest && named().next().is_some() {
            let (links, requests) = (&self.links, &self.requests);
            let is_named = |address: &str| named().any(|node| node.client_address == address);
            let is_used = |index| {
                links.values().any(|link| link.endpoint == index)
                    || requests.values().any(|tracked| tracked.pin == Some(index))
            };
            self.endpoints.forget(is_named, is_used);
        }
    }

    fn answer(&mut self, connection: ConnectionId, header: &Header, outcome: Outcome, now: Now) {
        let link = self.links.get_mut(&connection).expect("frames come on a live connection");
        let node = link.node();
        let Some(token) = link.remove(header.request_id) else {
            return; // of a request that nobody waits for any more
        };
        self.refill(connection, now);
        let tracked = self.requests.get_mut(&token).expect("an attempt belongs to a live request");
        if header.flags & FLAG_FORWARDED != 0 {
            let target = tracked.position.as_ref().and_then(|position| self.routes.target(position));
            // Where the leader is known and only its connection is missing, the map is not to blame.
            let blame = target.is_none_or(|(leader, _)| {
                Some(leader) == node || self.endpoints.of_node(leader, now.elapsed).is_none()
            });
            self.map_wanted |= blame;
        }
        match tracked.position.as_ref().map(|position| self.routes.partition(position)) {
            // The stamp of a map is a node's time, not a partition's.
            Some(Some(partition)) => self.map_wanted |= self.time.answered(header.hlc, partition, now),
            Some(None) => {}
            None => self.time.told(header.hlc, now),
        }
        match outcome {
            Outcome::Error(refusal) if tracked.may_renew(&refusal, header.hlc) => self.renew(token, header.hlc, now),
            Outcome::Error(refusal) => self.refused(token, refusal, node, now),
            outcome => self.done(token, outcome, header.hlc),
        }
    }

    fn done(&mut self, token: RequestToken, outcome: Outcome, stamp: Hlc) {
        let tracked = self.remove(token).expect("an answered request is live");
        if let Outcome::Map(map) = &outcome {
            self.adopt_map(map);
        }
        if tracked.internal {
            return;
        }
        let first_sent = tracked.first_sent.expect("an answered request was sent");
        let safe_until = safe_until(&tracked, &outcome, first_sent.elapsed, stamp);
        self.outputs.push_back(Output::Done { token, result: Ok(Reply { outcome, stamp, first_sent, safe_until }) });
    }

    fn refused(&mut self, token: RequestToken, refusal: ErrorReply, node: Option<NodeId>, now: Now) {
        let code = refusal.code();
        if matches!(code, ErrorCode::NotLeader | ErrorCode::Moved | ErrorCode::NoLeader | ErrorCode::Draining) {
            self.map_wanted = true;
        }
        let (leader, retry_after) = (refusal.leader, Duration::from_millis(refusal.retry_after_ms.into()));
        let tracked = self.requests.get_mut(&token).expect("a refused request is live");
        if tracked.internal {
            self.remove(token);
            return;
        }
        let elsewhere = match tracked.judge_refusal(refusal) {
            Verdict::Final(error) => {
                self.remove(token);
                self.outputs.push_back(Output::Done { token, result: Err(error) });
                return;
            }
            Verdict::Again { elsewhere } => elsewhere,
        };
        let tracked = self.requests.get_mut(&token).expect("it is asked again");
        tracked.avoid = if elsewhere { node } else { None };
        if let Some(position) = tracked.position.as_ref().filter(|_| leader != NodeId(0) && elsewhere) {
            self.routes.set_leader(position, leader);
        }
        // The first hint is followed at once; two nodes that name each other are not asked in a tight loop.
        let hinted = leader != NodeId(0) && Some(leader) != node && tracked.attempts == 1;
        let pause = if hinted && retry_after.is_zero() {
            Duration::ZERO
        } else {
            self.backoff.pause(tracked.attempts).max(retry_after)
        };
        self.pause(token, pause, now);
    }

    /// Sends a write that was too late or too early for its partition's time again, under a new number.
    fn renew(&mut self, token: RequestToken, stamp: Hlc, now: Now) {
        let tracked = self.requests.get_mut(&token).expect("a refused request is live");
        let number = self.session.take();
        self.session.close(tracked.renew(number, Reading::of(stamp, now)));
        self.pause(token, Duration::ZERO, now);
    }

    /// The attempt of a request will not be answered any more.
    pub(super) fn attempt_lost(&mut self, token: RequestToken, node: Option<NodeId>, now: Now) {
        let tracked = self.requests.get_mut(&token).expect("an attempt belongs to a live request");
        if tracked.internal {
            self.remove(token);
            return;
        }
        tracked.attempt_lost();
        tracked.avoid = node;
        let pause = if tracked.attempts == 1 { Duration::ZERO } else { self.backoff.pause(tracked.attempts - 1) };
        self.pause(token, pause, now);
    }

    fn pause(&mut self, token: RequestToken, pause: Duration, now: Now) {
        let tracked = self.requests.get_mut(&token).expect("a live request");
        if pause.is_zero() {
            tracked.stage = Stage::Waiting;
            self.rearm(token, None);
            self.ready.push_back(token);
        } else {
            tracked.stage = Stage::Pausing;
            self.rearm(token, Some(now.elapsed + pause));
        }
    }

    /// Ends a connection from this side.
    pub(super) fn close(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        if self.links.contains_key(&connection) {
            self.outputs.push_back(Output::Close { connection });
            self.lost(connection, reason, now);
        }
    }

    /// Forgets a connection; what was out on it is unknown, what waited for it goes elsewhere.
    pub(super) fn lost(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        let Some(mut link) = self.links.remove(&connection) else { return };
        let node = link.node();
        self.unsent.remove(&connection);
        self.rebuild_places();
        self.endpoints.failed(link.endpoint, reason, now.elapsed, &mut self.backoff);
        self.ready.append(&mut link.backlog);
        for (token, _) in std::mem::take(&mut link.attempts).into_values() {
            self.attempt_lost(token, node, now);
        }
        self.map_wanted |= node.is_some();
    }

    /// Gives up connections whose opening or handshake takes too long.
    pub(super) fn expire_links(&mut self, now: Now) {
        let late = |link: &Link| !link.is_ready() && link.opened_at + self.options.connect_timeout <= now.elapsed;
        let late: Vec<_> =
            self.links.iter().filter(|(_, link)| late(link)).map(|(&connection, _)| connection).collect();
        for connection in late {
            self.close(connection, "connecting took too long", now);
        }
    }
}

/// Of a lease, one part in so many is not relied on: the clocks that it ends by may run that much faster than this one.
const RATE_MARGIN: u32 = 1_000;

/// Until when the holder of a lease may rely on it. The lease began at the earliest when the first attempt was sent;
/// an older grant that was only confirmed ends earlier, as its deadline shows. The node's stamp was taken after
/// the sending, so what remained then is no more than what remains from it to the deadline.
fn safe_until(tracked: &Tracked, outcome: &Outcome, first_sent: Duration, stamp: Hlc) -> Option<Duration> {
    let deadline_ms = match outcome {
        Outcome::Acquired(grant) => grant.deadline_ms,
        Outcome::LockExtended(grant) => grant.deadline_ms,
        _ => return None,
    };
    let remaining = Duration::from_millis(deadline_ms.saturating_sub(stamp.millis()));
    let remaining = remaining.min(tracked.ttl.unwrap_or_default());
    Some(first_sent.saturating_add(remaining - remaining / RATE_MARGIN))
}
