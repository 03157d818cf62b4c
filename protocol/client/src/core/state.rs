//! The core itself: its state, its inputs, and the queue of its outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kahuna_protocol::{ClusterId, ErrorCode, Hlc, NodeId, Request, SessionId, ShardId};

use super::backoff::Backoff;
use super::endpoints::Endpoints;
use super::link::Link;
use super::output::{ConnectionId, Output, RequestToken};
use super::request::{Stage, Tracked};
use super::routes::Routes;
use super::session::Session;
use super::time::ServerTime;
use crate::{CallOptions, ClientError, Now, Options};

/// The client without I/O. One owner; every input takes the time, every output waits in a queue for [`Core::poll`].
#[derive(Debug)]
pub struct Core {
    pub(super) options: Options,
    pub(super) cluster: ClusterId,
    pub(super) session: Session,
    pub(super) endpoints: Endpoints,
    pub(super) routes: Routes,
    pub(super) backoff: Backoff,
    pub(super) requests: BTreeMap<RequestToken, Tracked>,
    /// `wake_at` of every request.
    pub(super) timers: BTreeSet<(Duration, RequestToken)>,
    /// Requests that no connection was found for yet.
    pub(super) ready: VecDeque<RequestToken>,
    pub(super) links: BTreeMap<ConnectionId, Link>,
    /// Ready connections by (node, shard), the shard that serves and the one that was asked for.
    pub(super) places: BTreeMap<(NodeId, ShardId), ConnectionId>,
    /// The connection that served the last request without a known leader.
    pub(super) last_any: ConnectionId,
    /// When to look for connections again.
    pub(super) look_again: Option<Duration>,
    pub(super) next_id: u64,
    pub(super) outputs: VecDeque<Output>,
    /// Connections whose `out` waits for a `Send`.
    pub(super) unsent: BTreeSet<ConnectionId>,
    pub(super) time: ServerTime,
    pub(super) map_wanted: bool,
    pub(super) map_asked_at: Option<Duration>,
}

impl Core {
    /// A client with this session, which must be drawn at random and not 0. Nothing is opened before it is needed.
    pub fn new(options: Options, session: SessionId) -> Self {
        let options = options.bounded();
        let mut endpoints = Endpoints::default();
        for endpoint in &options.endpoints {
            endpoints.give(endpoint);
        }
        Self {
            cluster: options.cluster,
            session: Session::new(session),
            endpoints,
            routes: Routes::default(),
            backoff: Backoff::new(options.backoff_min, options.backoff_max, session.0),
            requests: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            links: BTreeMap::new(),
            places: BTreeMap::new(),
            last_any: ConnectionId(0),
            look_again: None,
            next_id: 1,
            outputs: VecDeque::new(),
            unsent: BTreeSet::new(),
            time: ServerTime::default(),
            map_wanted: false,
            map_asked_at: None,
            options,
        }
    }

    /// Takes a request. Exactly one `Done` with this token follows, at the latest when its time is up, unless
    /// [`Core::forget`] comes first.
    pub fn submit(&mut self, request: &Request, options: CallOptions, now: Now) -> RequestToken {
        let token = RequestToken(self.take_id());
        match self.admit(request, options, now) {
            Ok(tracked) => {
                self.timers.insert((tracked.wake_at, token));
                self.requests.insert(token, tracked);
                self.ready.push_back(token);
                self.dispatch(now);
            }
            Err(refused) => self.outputs.push_back(Output::Done { token, result: Err(refused) }),
        }
        token
    }

    /// Nobody waits for this request any more. What was sent of it may still be applied.
    pub fn forget(&mut self, token: RequestToken) {
        self.remove(token);
    }

    /// The adapter connected.
    pub fn opened(&mut self, connection: ConnectionId, now: Now) {
        self.greet(connection, now);
    }

    /// Bytes came, in the order of the stream.
    pub fn received(&mut self, connection: ConnectionId, bytes: &[u8], now: Now) {
        self.read(connection, bytes, now);
        self.dispatch(now);
    }

    /// The connection is gone, or could not be made; `reason` is for people. Not called after a `Close`, but harmless.
    pub fn disconnected(&mut self, connection: ConnectionId, reason: &str, now: Now) {
        self.lost(connection, reason, now);
        self.dispatch(now);
    }

    /// Time went on. To be called at [`Core::next_wakeup`]; earlier or later is harmless.
    pub fn tick(&mut self, now: Now) {
        self.expire_links(now);
        while let Some(&(wake_at, token)) = self.timers.first() {
            if wake_at > now.elapsed {
                break;
            }
            self.wake(token, now);
        }
        self.dispatch(now);
    }

    /// When [`Core::tick`] must be called, by [`Now::elapsed`]; `None` while nothing waits for time to pass.
    pub fn next_wakeup(&self) -> Option<Duration> {
        let requests = self.timers.first().map(|&(at, _)| at);
        let opening = self.links.values().filter(|link| !link.is_ready());
        let opening = opening.map(|link| link.opened_at + self.options.connect_timeout).min();
        [requests, opening, self.look_again].into_iter().flatten().min()
    }

    /// The next thing to do; `None` when all is done for now.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let connection = self.unsent.pop_first()?;
        let link = self.links.get_mut(&connection).expect("a lost connection has nothing unsent");
        Some(Output::Send { connection, bytes: std::mem::take(&mut link.out) })
    }

    /// How many requests have no answer yet.
    pub fn pending(&self) -> usize {
        self.requests.len()
    }

    /// The session that all writes carry.
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// The highest stamp of the nodes' clocks; a partition's own time may be ahead of it.
    pub fn hlc(&self) -> Hlc {
        self.time.highest()
    }

    fn admit(&mut self, request: &Request, options: CallOptions, now: Now) -> Result<Tracked, ClientError> {
        if self.requests.len() >= self.options.max_pending {
            let text = format!("{} requests wait for an answer (max_pending)", self.requests.len());
            return Err(ClientError::refused(ErrorCode::Busy, text));
        }
        let mut tracked = Tracked::new(request, options, self.options.timeout, now.elapsed)?;
        if tracked.write {
            tracked.number = self.session.take();
        }
        tracked.pin = tracked.options.endpoint.as_deref().map(|endpoint| self.endpoints.index(endpoint));
        Ok(tracked)
    }

    /// A request's timer fired: its pause is over, its attempt stays without an answer, or its time is up.
    fn wake(&mut self, token: RequestToken, now: Now) {
        let tracked = self.requests.get_mut(&token).expect("a timer belongs to a request");
        if tracked.deadline <= now.elapsed {
            self.give_up(token);
            return;
        }
        match tracked.stage {
            Stage::Waiting => self.rearm(token, None),
            Stage::Pausing => {
                tracked.stage = Stage::Waiting;
                self.rearm(token, None);
                self.ready.push_back(token);
            }
            Stage::Sent { connection, request_id, at } => {
                let link = self.links.get_mut(&connection).expect("an attempt is out on a live connection");
                if link.last_heard <= at {
                    self.close(connection, "no answer", now);
                } else {
                    let node = link.node();
                    link.remove(request_id);
                    self.attempt_lost(token, node, now);
                }
            }
        }
    }

    /// Sets a request's timer: at its deadline, or before.
    pub(super) fn rearm(&mut self, token: RequestToken, at: Option<Duration>) {
        let tracked = self.requests.get_mut(&token).expect("a live request");
        let wake_at = at.map_or(tracked.deadline, |at| at.min(tracked.deadline));
        if wake_at != tracked.wake_at {
            self.timers.remove(&(tracked.wake_at, token));
            self.timers.insert((wake_at, token));
            tracked.wake_at = wake_at;
        }
    }

    /// Takes a request out, wherever it is. Queues may still name its token; they skip what is gone.
    pub(super) fn remove(&mut self, token: RequestToken) -> Option<Tracked> {
        let tracked = self.requests.remove(&token)?;
        self.timers.remove(&(tracked.wake_at, token));
        if tracked.number != 0 {
            self.session.close(tracked.number);
        }
        if let Stage::Sent { connection, request_id, .. } = tracked.stage
            && let Some(link) = self.links.get_mut(&connection)
        {
            link.remove(request_id);
        }
        Some(tracked)
    }

    /// Time is up for a request.
    pub(super) fn give_up(&mut self, token: RequestToken) {
        let Some(tracked) = self.remove(token) else { return };
        if tracked.internal {
            return;
        }
        let error = tracked.out_of_time(&self.endpoints.troubles());
        self.outputs.push_back(Output::Done { token, result: Err(error) });
    }

    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}
