//! Which connection a request goes to, which connections to open, and the sending itself.

use std::collections::VecDeque;
use std::time::Duration;

use kahuna_protocol::frame::encode_frame;
use kahuna_protocol::handshake::ANY_SHARD;
use kahuna_protocol::limits::MAX_VALID_FOR_MS;
use kahuna_protocol::meta::MapGet;
use kahuna_protocol::{ErrorCode, Header, NodeId, Request, RequestPrelude, SessionId, ShardId};

use super::endpoints::Endpoint;
use super::link::Link;
use super::output::{ConnectionId, Output, RequestToken};
use super::request::{Stage, Tracked};
use super::state::Core;
use crate::{CallOptions, ClientError, Now};

/// How long one connection may be under way before another endpoint is tried beside it.
const STAGGER: Duration = Duration::from_millis(150);
/// Least time between two requests for the map.
const MAP_INTERVAL: Duration = Duration::from_millis(250);

impl Core {
    /// Sends all requests that can be sent now, and opens connections for the rest.
    pub(super) fn dispatch(&mut self, now: Now) {
        self.refresh_map(now);
        self.refill_all(now);
        self.look_again = None;
        let mut stranded = VecDeque::new();
        while let Some(token) = self.ready.pop_front() {
            let Some(tracked) = self.requests.get(&token) else { continue };
            let pinned = tracked.pin.is_some();
            match self.choose(token, now) {
                Some(connection) => self.send_or_queue(token, connection, now),
                None => stranded.push_back(token),
            }
            if self.places.is_empty() && !pinned {
                // Without any connection the other requests would find none either.
                stranded.append(&mut self.ready);
            }
        }
        self.ready = stranded;
        self.refuse_hopeless();
    }

    /// Ends every request that only nodes could serve which have refused this client.
    fn refuse_hopeless(&mut self) {
        let nobody = if self.links.is_empty() { self.endpoints.refusal_of_all() } else { None };
        let hopeless = |tracked: &Tracked| match tracked.pin {
            Some(pin) if self.links.values().all(|link| link.endpoint != pin) => self.endpoints.refusal(pin),
            Some(_) => None,
            None => nobody.clone(),
        };
        let ended: Vec<_> =
            self.requests.iter().filter_map(|(token, tracked)| Some((*token, hopeless(tracked)?))).collect();
        for (token, refusal) in ended {
            self.refuse(token, refusal.code(), refusal.text);
        }
    }

    /// Sends the requests that waited for room on `connection`.
    pub(super) fn refill(&mut self, connection: ConnectionId, now: Now) {
        loop {
            let Some(link) = self.links.get_mut(&connection) else { return };
            let Some(&token) = link.backlog.front() else { return };
            if let Some(tracked) = self.requests.get(&token) {
                if !link.has_room(frame_bytes(tracked)) {
                    return;
                }
                link.backlog.pop_front();
                self.send(token, connection, now);
            } else {
                link.backlog.pop_front();
            }
        }
    }

    fn refill_all(&mut self, now: Now) {
        let waiting: Vec<_> =
            self.links.iter().filter(|(_, link)| !link.backlog.is_empty()).map(|(&connection, _)| connection).collect();
        for connection in waiting {
            self.refill(connection, now);
        }
    }

    /// The connection for a request, and connections opened for it or for the next ones like it.
    fn choose(&mut self, token: RequestToken, now: Now) -> Option<ConnectionId> {
        let tracked = &self.requests[&token];
        let avoid = tracked.avoid;
        if let Some(pin) = tracked.pin {
            return self.pinned(pin, now);
        }
        let target = tracked.position.as_ref().and_then(|position| self.routes.target(position));
        if let Some((node, shard)) = target.filter(|&(node, _)| Some(node) != avoid) {
            if let Some(&connection) = self.places.get(&(node, shard)) {
                return Some(connection);
            }
            if self.options.follow_leaders {
                self.open_place(node, shard, now);
            }
            let mut of_node = self.places.range((node, ShardId(0))..=(node, ANY_SHARD));
            if let Some((_, &connection)) = of_node.next() {
                return Some(connection);
            }
        }
        self.any(avoid, now)
    }

    /// Some connection: the one that served last as long as it is not to be avoided.
    fn any(&mut self, avoid: Option<NodeId>, now: Now) -> Option<ConnectionId> {
        let good = |link: &Link| link.is_ready() && (avoid.is_none() || link.node() != avoid);
        if self.links.get(&self.last_any).is_some_and(good) {
            return Some(self.last_any);
        }
        if let Some((&connection, _)) = self.links.iter().find(|(_, link)| good(link)) {
            self.last_any = connection;
            return Some(connection);
        }
        self.open_any(avoid, now);
        // Rather than ask the avoided node again, wait a moment for a connection that is under way.
        let newest = self.newest_opening();
        if let Some(newest) = newest.filter(|&newest| newest + STAGGER > now.elapsed) {
            self.look_again_at(newest + STAGGER);
            return None;
        }
        self.places.first_key_value().map(|(_, &connection)| connection)
    }

    fn pinned(&mut self, pin: usize, now: Now) -> Option<ConnectionId> {
        let mut here = self.links.iter().filter(|(_, link)| link.endpoint == pin);
        if let Some((&connection, _)) = here.clone().find(|(_, link)| link.is_ready()) {
            return Some(connection);
        }
        if here.next().is_none() {
            let down_until = self.endpoints.get(pin).down_until;
            if down_until <= now.elapsed {
                self.open(pin, ANY_SHARD, now);
            } else {
                self.look_again_at(down_until);
            }
        }
        None
    }

    fn open_place(&mut self, node: NodeId, shard: ShardId, now: Now) {
        let Some(endpoint) = self.endpoints.of_node(node, now.elapsed) else { return };
        let under_way =
            self.links.values().any(|link| link.wish == shard && self.endpoints.get(link.endpoint).node == Some(node));
        if !under_way {
            self.open(endpoint, shard, now);
        }
    }

    /// Opens a connection to any node but `avoid`, or to that one when there is no other, unless one was begun just now.
    fn open_any(&mut self, avoid: Option<NodeId>, now: Now) {
        if self.newest_opening().is_some_and(|newest| newest + STAGGER > now.elapsed) {
            return;
        }
        let links = &self.links;
        let is_used = |index| links.values().any(|link| link.endpoint == index);
        let avoided = |endpoint: &Endpoint| avoid.is_some() && endpoint.node == avoid;
        let other = self.endpoints.next(now.elapsed, |index, endpoint| avoided(endpoint) || is_used(index));
        let next = match other {
            None if links.is_empty() => self.endpoints.next(now.elapsed, |_, _| false),
            other => other,
        };
        match next {
            Some(endpoint) => self.open(endpoint, ANY_SHARD, now),
            None => {
                if let Some(up) = self.endpoints.next_up(now.elapsed) {
                    self.look_again_at(up);
                }
            }
        }
    }

    fn open(&mut self, endpoint: usize, wish: ShardId, now: Now) {
        let connection = ConnectionId(self.take_id());
        self.links.insert(connection, Link::new(endpoint, wish, now.elapsed));
        let endpoint = self.endpoints.get(endpoint).address.clone();
        self.outputs.push_back(Output::Open { connection, endpoint });
    }

    fn newest_opening(&self) -> Option<Duration> {
        self.links.values().filter(|link| !link.is_ready()).map(|link| link.opened_at).max()
    }

    fn look_again_at(&mut self, at: Duration) {
        self.look_again = Some(self.look_again.map_or(at, |before| before.min(at)));
    }

    fn send_or_queue(&mut self, token: RequestToken, connection: ConnectionId, now: Now) {
        let frame_bytes = frame_bytes(&self.requests[&token]);
        let link = self.links.get_mut(&connection).expect("a chosen connection is there");
        if link.backlog.is_empty() && link.has_room(frame_bytes) {
            self.send(token, connection, now);
        } else {
            link.backlog.push_back(token);
        }
    }

    fn send(&mut self, token: RequestToken, connection: ConnectionId, now: Now) {
        let request_id = self.take_id();
        let tracked = self.requests.get_mut(&token).expect("a live request is sent");
        let link = self.links.get_mut(&connection).expect("a chosen connection is there");
        let payload_bytes = RequestPrelude::BYTES + tracked.body.len();
        if payload_bytes > link.limits.max_frame_bytes as usize {
            let limit = link.limits.max_frame_bytes;
            let text = format!("a request of {payload_bytes} bytes is over the limit of {limit} (max_frame_bytes)");
            self.refuse(token, ErrorCode::TooLarge, text);
            return;
        }
        if tracked.first_sent.is_none() {
            let partition = tracked.position.as_ref().and_then(|position| self.routes.partition(position));
            // The time of the partition that refused the request counts, whatever the map contains.
            let refused_at = tracked.refused_at.map(|time| time.at(now.elapsed));
            let server_ms = refused_at.unwrap_or_else(|| self.time.unix_ms(partition, now));
            let valid_for = tracked.timeout.saturating_mul(2).as_millis().min(u128::from(MAX_VALID_FOR_MS));
            tracked.valid_until_ms = server_ms.saturating_add(u64::try_from(valid_for).expect("at most ten minutes"));
            tracked.first_sent = Some(now);
        }
        let attempt_time = self.options.attempt_timeout.saturating_add(tracked.wait);
        let server_time = attempt_time.min(tracked.deadline.saturating_sub(now.elapsed));
        let prelude = RequestPrelude {
            session: if tracked.write { self.session.id } else { SessionId(0) },
            number: tracked.number,
            acknowledged: if tracked.write { self.session.acknowledged() } else { 0 },
            valid_until_ms: if tracked.write { tracked.valid_until_ms } else { 0 },
            timeout_ms: u32::try_from(server_time.as_millis()).unwrap_or(u32::MAX).max(1),
            read: tracked.options.read,
            durability: tracked.options.durability,
        };
        encode_frame(&mut link.out, tracked.kind, 0, request_id, self.time.highest(), |out| {
            out.extend_from_slice(&prelude.encode());
            out.extend_from_slice(&tracked.body);
        });
        link.add(request_id, token, Header::BYTES + payload_bytes);
        self.unsent.insert(connection);
        tracked.attempts += 1;
        tracked.stage = Stage::Sent { connection, request_id, at: now.elapsed };
        self.rearm(token, Some(now.elapsed + attempt_time + self.options.attempt_timeout / 2));
    }

    fn refuse(&mut self, token: RequestToken, code: ErrorCode, text: String) {
        let Some(tracked) = self.remove(token) else { return };
        if tracked.internal {
            return;
        }
        let error = if tracked.unknown { ClientError::Unknown { text } } else { ClientError::refused(code, text) };
        self.outputs.push_back(Output::Done { token, result: Err(error) });
    }

    fn refresh_map(&mut self, now: Now) {
        let due = self.map_asked_at.is_none_or(|at| at + MAP_INTERVAL <= now.elapsed);
        if !self.map_wanted || !due || self.places.is_empty() {
            return;
        }
        (self.map_wanted, self.map_asked_at) = (false, Some(now.elapsed));
        let request = Request::from(MapGet {});
        let tracked = Tracked::new(&request, CallOptions::default(), self.options.timeout, now.elapsed);
        let mut tracked = tracked.expect("the map may be asked for");
        tracked.internal = true;
        let token = RequestToken(self.take_id());
        self.timers.insert((tracked.wake_at, token));
        self.requests.insert(token, tracked);
        self.ready.push_back(token);
    }
}

fn frame_bytes(tracked: &Tracked) -> usize {
    Header::BYTES + RequestPrelude::BYTES + tracked.body.len()
}
