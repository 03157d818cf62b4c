//! What the adapter calls: requests, bytes and time go in, outputs are taken out.

use std::time::Duration;

use kahuna_protocol::{ErrorCode, Hlc, Request, SessionId};

use super::output::{ConnectionId, Output, RequestToken};
use super::request::{Stage, Tracked};
use super::state::Core;
use crate::{CallOptions, ClientError, Now};

impl Core {
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

    /// The caller no longer waits for this request. If it was sent, it may still be applied.
    pub fn forget(&mut self, token: RequestToken) {
        self.remove(token);
    }

    /// The adapter connected what an `Open` asked for; the core answers with a hello.
    pub fn opened(&mut self, connection: ConnectionId, now: Now) {
        self.greet(connection, now);
    }

    /// Takes received bytes, in the order of the stream.
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
}
