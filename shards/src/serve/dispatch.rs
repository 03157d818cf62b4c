//! From a frame to the place that serves it.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::FrameError;
use kahuna_protocol::request::Class;
use kahuna_protocol::{Durability, ErrorCode, ErrorReply, GroupId, Header, RequestPrelude, RequestRef};

use super::call::{Call, Work};
use super::outbox::Outbox;
use super::reply::{Reply, Target};
use crate::env::Env;
use crate::shard::Shard;

/// The wait of a request that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// When to repeat what was refused as `Busy`, in milliseconds.
const BUSY_RETRY_MS: u32 = 5;
/// When to repeat at a node that is not part of a running cluster yet, in milliseconds.
const READY_RETRY_MS: u32 = 200;

/// How long a request's sender waits.
pub(super) fn timeout_of(prelude: &RequestPrelude) -> Duration {
    match prelude.timeout_ms {
        0 => DEFAULT_TIMEOUT,
        ms => Duration::from_millis(u64::from(ms)).min(MAX_TIMEOUT),
    }
}

/// `Busy`: which limit, its value and its setting.
pub(super) fn busy(text: String) -> ErrorReply {
    ErrorReply { retry_after_ms: BUSY_RETRY_MS, ..ErrorReply::new(ErrorCode::Busy, text) }
}

impl<E: Env> Shard<E> {
    /// Takes one frame of a client: it is answered through `out`.
    ///
    /// # Errors
    /// The frame is malformed: the connection ends.
    pub(super) fn take_client_frame(
        self: &Rc<Self>,
        header: &Header,
        payload: Bytes,
        out: &Rc<Outbox<E>>,
    ) -> Result<(), FrameError> {
        self.clock.observe(header.hlc);
        let (prelude, _) = RequestPrelude::split(&payload)?;
        let body = payload.slice(RequestPrelude::BYTES..);
        let request = RequestRef::access(header.kind, &body)?;
        let request_id = header.request_id;
        let Some(connection) = out.load().admit(header.frame_bytes()) else {
            let limits = &self.config.limits;
            let text = format!(
                "this connection has its limit of {} requests or {} bytes in flight (connection_in_flight, \
                 connection_in_flight_bytes)",
                limits.connection_in_flight, limits.connection_in_flight_bytes
            );
            out.push(request_id, busy(text).into());
            return Ok(());
        };
        let Some(shard) = self.load.admit(header.frame_bytes()) else {
            out.push(request_id, busy(self.overload_text()).into());
            return Ok(());
        };
        let target = Target::Client { out: out.clone(), request_id, charges: (connection, shard) };
        let reply = Reply::new(target);
        match self.check(&prelude, &request) {
            Err(error) => reply.send(error.into()),
            Ok(None) => self.answer_for_node(&request, reply),
            Ok(Some(group)) => {
                let call = Call {
                    group,
                    kind: header.kind,
                    class: request.class(),
                    needs_room: request.grows(),
                    prelude,
                    deadline: E::boot_clock() + timeout_of(&prelude),
                    body,
                    forwarded: false,
                    repeated: false,
                    attempts: 0,
                };
                self.dispatch(Work { call, reply });
            }
        }
        Ok(())
    }

    pub(super) fn overload_text(&self) -> String {
        let (requests, bytes) = (self.load.requests(), self.load.bytes());
        format!("shard {} has {requests} requests with {bytes} bytes in flight, its limit", self.id)
    }

    /// The group that a client's request goes to; none for a question about the node itself.
    fn check(&self, prelude: &RequestPrelude, request: &RequestRef<'_>) -> Result<Option<GroupId>, ErrorReply> {
        match request.class() {
            Class::System => {
                let text = "this request is of the system itself and not for clients";
                return Err(ErrorReply::new(ErrorCode::BadRequest, text));
            }
            Class::Node => return Ok(None),
            Class::Read | Class::Write => {}
        }
        if self.draining.get() {
            return Err(ErrorReply::new(ErrorCode::Draining, "the node drains; ask another one"));
        }
        if prelude.durability == Durability::Ephemeral {
            let text = "ephemeral durability is not served yet; ask for persistent";
            return Err(ErrorReply::new(ErrorCode::Unsupported, text));
        }
        request.check(&self.config.limits)?;
        let position = request.route().expect("reads and writes of names have a position");
        match self.map.borrow().ranges.find(&position) {
            Some(range) => Ok(Some(GroupId(range.partition))),
            None => Err(self.not_ready()),
        }
    }

    fn not_ready(&self) -> ErrorReply {
        let waiting = self.waiting.borrow();
        let why = if waiting.is_empty() { "it has not read the range map yet" } else { &waiting };
        let error = ErrorReply::new(ErrorCode::NotReady, format!("the node does not serve yet: {why}"));
        ErrorReply { retry_after_ms: READY_RETRY_MS, ..error }
    }

    /// Sends a request to the shard that owns its group.
    pub(super) fn dispatch(self: &Rc<Self>, work: Work<E>) {
        let owner = work.call.group.shard(self.shards);
        if owner == self.id {
            return self.serve_here(work);
        }
        if let Err(work) = self.lanes.request(owner, work) {
            work.answer(busy(format!("the lane from shard {} to shard {owner} is full", self.id)));
        }
    }

    /// Serves a request of a group that belongs to this shard.
    pub(crate) fn serve_here(self: &Rc<Self>, work: Work<E>) {
        match self.group(work.call.group) {
            Some(group) => group.serve(work),
            None => self.serve_absent(work),
        }
    }

    /// A request of a group that has no replica here: to its leader, as far as one is known, or to any other node.
    fn serve_absent(self: &Rc<Self>, work: Work<E>) {
        if work.call.remaining(E::boot_clock()).is_none() {
            return work.time_out();
        }
        if work.call.forwarded {
            return work.answer(self.not_ready());
        }
        // A leader that was heard of once may be gone: every other attempt asks around.
        let attempts = work.call.attempts as usize;
        let known = self.leader_of(work.call.group).filter(|&node| node != self.config.node);
        let leader = known.filter(|_| attempts.is_multiple_of(2)).and_then(|node| self.incarnation_of(node));
        let target = leader.or_else(|| {
            let others: Vec<_> = self.peers.nodes().into_iter().filter_map(|node| self.incarnation_of(node)).collect();
            let turn = attempts / 2 % others.len().max(1);
            others.get(turn).copied()
        });
        match target {
            Some(incarnation) => self.forward(work, incarnation, kahuna_protocol::ReplicaId(0), None),
            None => work.answer(self.not_ready()),
        }
    }
}
