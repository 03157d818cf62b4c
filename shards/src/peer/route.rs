//! From a call to the link it belongs on.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{Incarnation, ShardId};

use super::call::Answer;
use super::handshake::Introduction;
use super::link::{Connection, Link, Ready};
use super::outgoing::encode_limited;
use super::pulse::KIND_PROBE;
use super::remote::{Lobby, Remote};
use super::{CallError, Calling, Peers};
use crate::env::Env;

/// Calls of one shard that may wait for their answers at once.
const MAX_CALLS: usize = 1 << 17;

impl<E: Env> Peers<E> {
    /// Sends one frame to the shard of node `to` that owns `prelude.group`, and gives its answer.
    ///
    /// The frame is in the link's buffer when this returns: calls for one group arrive in the order in which they were made
    /// as long as the link stands. `payload` writes what follows the prelude; it must not call back into the peers. The
    /// link is dialled if there is none. `timeout` ends the wait, not the call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(
        self: &Rc<Self>,
        to: Incarnation,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        timeout: Duration,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Calling<E> {
        match self.by_incarnation(to) {
            Some(remote) => self.call_remote(&remote, prelude, kind, flags, timeout, payload),
            None => Calling::failed(CallError::NotSent(
                format!("no node is known with the data directory {to:016x}").into(),
            )),
        }
    }

    pub(super) fn call_remote(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        timeout: Duration,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Calling<E> {
        match self.queue(remote, prelude, kind, flags, payload) {
            Ok((id, answer)) => Calling::new(&self.calls, id, answer, timeout),
            Err(error) => Calling::failed(error),
        }
    }

    fn queue(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u64, Answer), CallError> {
        if self.closed.get() {
            return Err(CallError::NotSent("the node stops".into()));
        }
        if self.calls.len() >= MAX_CALLS {
            return Err(CallError::Busy);
        }
        let group = prelude.group;
        let Some(shard) = remote.shard_of(group) else {
            return self.queue_in_lobby(remote, prelude, kind, flags, payload);
        };
        let link = remote.link(shard);
        let connection = self.connection(remote, &link, shard)?;
        if !connection.out.has_room() {
            return Err(CallError::Busy);
        }
        let id = self.mint_id();
        let pushed = connection.out.push_call(kind, flags, id, prelude, payload);
        pushed.map_err(too_long)?;
        Ok((id, self.calls.begin(id, connection.serial, prelude)))
    }

    /// The connection of `link`, dialled now if there is none.
    fn connection(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        link: &Rc<Link>,
        shard: ShardId,
    ) -> Result<Connection, CallError> {
        match link.ready(E::boot_clock()) {
            Ready::Queue { connection, probe } => {
                if probe {
                    // No caller waits: any frame that arrives proves that the other end reads.
                    let id = self.mint_id();
                    let pushed = connection.out.push_call(KIND_PROBE, 0, id, PeerPrelude::default(), |_| {});
                    pushed.map_err(too_long)?;
                }
                Ok(connection)
            }
            Ready::Dial => {
                let connection = Connection { serial: self.mint_serial(), out: self.outgoing() };
                link.begin(connection.clone());
                let dial = self.clone().dial(remote.clone(), link.clone(), shard, connection.clone());
                E::spawn(dial);
                Ok(connection)
            }
            Ready::Down(reason) => Err(CallError::NotSent(reason)),
        }
    }

    /// Keeps a call until the first handshake shows how many shards the node has; every node has a shard 0.
    fn queue_in_lobby(
        self: &Rc<Self>,
        remote: &Rc<Remote>,
        prelude: PeerPrelude,
        kind: u16,
        flags: u8,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(u64, Answer), CallError> {
        let shard = ShardId(0);
        self.connection(remote, &remote.link(shard), shard)?;
        let mut lobby = remote.lobby.borrow_mut();
        let Lobby { calls, share } = &mut *lobby;
        let share = share.get_or_insert_with(|| self.unsent.share());
        let max_payload = self.limits.max_frame_bytes;
        if share.bytes() >= self.limits.queue_bytes || !share.may_grow() {
            return Err(CallError::Busy);
        }
        let mut frame = Vec::new();
        let id = self.mint_id();
        encode_limited(&mut frame, kind, flags, id, self.clock.stamp(), prelude, max_payload, payload)
            .map_err(too_long)?;
        share.set(share.bytes() + frame.capacity());
        calls.push((id, prelude.group, frame));
        Ok((id, self.calls.begin(id, remote.lobby_serial, prelude)))
    }

    /// A node introduced itself, over the connection `current` that was dialled to it or, with 0, over one of its own.
    pub(super) fn learn(self: &Rc<Self>, remote: &Rc<Remote>, from: &Introduction, current: u64) {
        remote.learn(from, current, E::boot_clock());
        // At once: the next call goes straight to its link, and must not overtake those that wait here.
        self.empty_lobby(remote);
    }

    /// The shards of `remote` are known: moves every call of its lobby to the right link.
    fn empty_lobby(self: &Rc<Self>, remote: &Rc<Remote>) {
        let lobby = std::mem::take(&mut *remote.lobby.borrow_mut());
        for (id, group, frame) in lobby.calls {
            let shard = remote.shard_of(group).expect("the node has just introduced itself");
            match self.connection(remote, &remote.link(shard), shard) {
                Ok(connection) => {
                    if self.calls.assign(id, connection.serial) {
                        connection.out.push_encoded(id, &frame);
                    }
                }
                Err(error) => self.calls.fail_one(id, error),
            }
        }
    }
}

fn too_long(length: usize) -> CallError {
    CallError::NotSent(format!("a frame of {length} bytes is longer than that node takes").into())
}
