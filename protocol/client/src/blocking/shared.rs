//! What the threads of one client share: the core behind a lock, and the hands that do what it asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::connection::{Connection, Event};
use super::pending::Slot;
use crate::core::{ConnectionId, Core, Output, RequestToken};
use crate::{CallOptions, Clock, Now};
use kahuna_protocol::Request;

/// The parts of a client that outlive a call.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) connect_timeout: Duration,
    state: Mutex<State>,
    /// Signalled when the timer must wake earlier than it meant to, or end.
    timer: Condvar,
}

#[derive(Debug)]
struct State {
    core: Core,
    slots: HashMap<RequestToken, Arc<Slot>>,
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    /// When the timer thread will wake; `None` if it sleeps until it is notified.
    armed: Option<Duration>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(core: Core, clock: Clock, connect_timeout: Duration) -> Self {
        let (slots, connections) = (HashMap::new(), BTreeMap::new());
        let state = State { core, slots, connections, armed: None, closed: false };
        Self { clock, connect_timeout, state: Mutex::new(state), timer: Condvar::new() }
    }

    /// Hands a request to the core and sends what can be sent, in this thread.
    pub(super) fn submit(self: &Arc<Self>, request: &Request, options: CallOptions) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        let mut state = self.lock();
        let token = state.core.submit(request, options, self.clock.now());
        state.slots.insert(token, slot.clone());
        self.carry_out(state);
        slot
    }

    /// Gives the core one input and does what it asks for.
    pub(super) fn with_core(self: &Arc<Self>, input: impl FnOnce(&mut Core, Now)) {
        let mut state = self.lock();
        if !state.closed {
            input(&mut state.core, self.clock.now());
            self.carry_out(state);
        }
    }

    /// Closes every connection and ends every thread.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for connection in std::mem::take(&mut state.connections).into_values() {
            connection.close();
        }
        self.timer.notify_all();
    }

    /// The timer thread: ticks the core at its `next_wakeup`.
    pub(super) fn run_timer(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            loop {
                if state.closed {
                    return;
                }
                state.armed = state.core.next_wakeup();
                let now = self.clock.now().elapsed;
                state = match state.armed {
                    Some(at) if at <= now => break,
                    Some(at) => self.timer.wait_timeout(state, at - now).expect("no panic under the core's lock").0,
                    None => self.timer.wait(state).expect("no panic under the core's lock"),
                };
            }
            state.core.tick(self.clock.now());
            self.carry_out(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the core's lock")
    }

    /// Does everything the core asks for. Sockets are written to after the lock was given back.
    fn carry_out(self: &Arc<Self>, mut guard: MutexGuard<'_, State>) {
        let state = &mut *guard;
        let mut to_flush = Vec::new();
        while let Some(output) = state.core.poll() {
            match output {
                Output::Open { connection, endpoint } => {
                    let link = Arc::new(Connection::default());
                    state.connections.insert(connection, link.clone());
                    if let Err(error) = self.spawn_reader(connection, link, endpoint) {
                        state.connections.remove(&connection);
                        state.core.disconnected(connection, &error.to_string(), self.clock.now());
                    }
                }
                Output::Send { connection, bytes } => {
                    if let Some(link) = state.connections.get(&connection) {
                        link.queue(bytes);
                        to_flush.push(link.clone());
                    }
                }
                Output::Close { connection } => {
                    if let Some(link) = state.connections.remove(&connection) {
                        link.close();
                    }
                }
                Output::Done { token, result } => {
                    if let Some(slot) = state.slots.remove(&token) {
                        slot.fill(result);
                    }
                }
            }
        }
        let next = state.core.next_wakeup();
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            self.timer.notify_all();
        }
        drop(guard);
        for link in to_flush {
            link.flush();
        }
    }

    /// Starts the thread of one connection, which reads it until it ends.
    fn spawn_reader(
        self: &Arc<Self>,
        id: ConnectionId,
        link: Arc<Connection>,
        endpoint: String,
    ) -> std::io::Result<()> {
        let shared = self.clone();
        let reader = move || {
            let reason = link.run(&endpoint, shared.connect_timeout, |event| {
                shared.with_core(|core, now| match event {
                    Event::Opened => core.opened(id, now),
                    Event::Received(bytes) => core.received(id, bytes, now),
                });
            });
            shared.with_core(|core, now| core.disconnected(id, &reason, now));
            shared.lock().connections.remove(&id);
        };
        std::thread::Builder::new().name(String::from("kahuna-read")).spawn(reader).map(drop)
    }
}
