//! The core itself: its state, its requests' timers, and the queue of its outputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use kahuna_protocol::{ClusterId, NodeId, SessionId, ShardId};

use super::backoff::Backoff;
use super::endpoints::Endpoints;
use super::link::Link;
use super::output::{ConnectionId, Output, RequestToken};
use super::request::{Stage, Tracked};
use super::routes::Routes;
use super::session::Session;
use super::time::ServerTime;
use crate::Options;

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
