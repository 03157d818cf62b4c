//! From a client's frame, or a command of the system, to the place that serves it.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::frame::FrameError;
use kahuna_protocol::request::Class;
use kahuna_protocol::{
    Durability, ErrorCode, ErrorReply, GroupId, Header, Incarnation, Outcome, ReplicaId, Request, RequestPrelude,
    RequestRef,
};

use super::outbox::Outbox;
use crate::env::Env;
use crate::group::{Again, Forward};
use crate::request::{Call, Reply, Token, Work, busy, retry, timeout_of};
use crate::shard::Shard;

/// When to repeat at a node that is not part of a running cluster yet, in milliseconds.
const READY_RETRY_MS: u32 = 200;

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
        self.clock().observe(header.hlc);
        let (prelude, _) = RequestPrelude::split(&payload)?;
        let body = payload.slice(RequestPrelude::BYTES..);
        let request = RequestRef::access(header.kind, &body)?;
        let request_id = header.request_id;
        let Some(connection) = out.load().admit(header.frame_bytes()) else {
            let limits = &self.config().limits;
            let text = format!(
                "this connection has its limit of {} requests or {} bytes in flight (connection_in_flight, \
                 connection_in_flight_bytes)",
                limits.connection_in_flight, limits.connection_in_flight_bytes
            );
            out.push(request_id, busy(text).into());
            return Ok(());
        };
        let Some(shard) = self.load().admit(header.frame_bytes()) else {
            out.push(request_id, busy(self.overload_text()).into());
            return Ok(());
        };
        let reply = Reply::new(out.clone(), Token::numbered(request_id), [Some(connection), Some(shard)]);
        match self.check(&prelude, &request) {
            Err(error) => reply.send(error.into()),
            Ok(None) => self.answer_for_node(&request, reply),
            Ok(Some(group)) => {
                let call = Call {
                    group,
                    kind: header.kind,
                    class: request.class(),
                    grows: request.grows(),
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

    /// Proposes a command of the system in `group`, wherever in the cluster it is led.
    ///
    /// The outcome is the machine's, or `Error` as for any request. Such commands are in no session: after `Unknown` the
    /// caller looks at the state before it repeats.
    pub fn system(
        self: &Rc<Self>,
        group: GroupId,
        request: &Request,
        timeout: Duration,
    ) -> impl Future<Output = Outcome> + 'static {
        let (work, answer) = Work::of_system(group, request, E::boot_clock() + timeout);
        self.dispatch(work);
        async move { answer.await.into_outcome() }
    }

    pub(super) fn overload_text(&self) -> String {
        let (requests, bytes) = (self.load().requests(), self.load().bytes());
        format!("shard {} has {requests} requests with {bytes} bytes in flight, its limit", self.id())
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
        if self.is_draining() {
            return Err(ErrorReply::new(ErrorCode::Draining, "the node drains; ask another one"));
        }
        if prelude.durability == Durability::Ephemeral {
            let text = "ephemeral durability is not served yet; ask for persistent";
            return Err(ErrorReply::new(ErrorCode::Unsupported, text));
        }
        request.check(&self.config().limits)?;
        let position = request.route().expect("reads and writes of names have a position");
        self.view().group_at(&position).map(Some).ok_or_else(|| self.not_ready())
    }

    fn not_ready(&self) -> ErrorReply {
        let waiting = self.waiting();
        let why = if waiting.is_empty() { "it has not read the range map yet" } else { &waiting };
        let error = ErrorReply::new(ErrorCode::NotReady, format!("the node does not serve yet: {why}"));
        ErrorReply { retry_after_ms: READY_RETRY_MS, ..error }
    }

    /// Sends a request to the shard that owns its group.
    pub(super) fn dispatch(self: &Rc<Self>, work: Work) {
        let owner = work.call.group.shard(self.shards());
        if owner == self.id() {
            return self.serve_here(work);
        }
        if let Err(work) = self.lanes().request(owner, work) {
            work.answer(busy(format!("the lane from shard {} to shard {owner} is full", self.id())));
        }
    }

    /// Serves a request of a group that belongs to this shard.
    pub(crate) fn serve_here(self: &Rc<Self>, work: Work) {
        match self.group(work.call.group) {
            Some(group) => group.serve(work),
            None => self.serve_absent(work),
        }
    }

    /// A request of a group that has no replica here: to its leader, as far as one is known, or to any other node.
    fn serve_absent(self: &Rc<Self>, work: Work) {
        if work.call.remaining(E::boot_clock()).is_none() {
            return work.time_out();
        }
        if work.call.forwarded {
            return work.answer(self.not_ready());
        }
        // A leader that was heard of once may be gone: every other attempt asks around.
        let attempts = work.call.attempts as usize;
        let known = self.view().leader_of(work.call.group).filter(|&node| node != self.config().node);
        let leader = known.filter(|_| attempts.is_multiple_of(2)).and_then(|node| self.incarnation_of(node));
        let target = leader.or_else(|| {
            let others: Vec<_> =
                self.peers().nodes().into_iter().filter_map(|node| self.incarnation_of(node)).collect();
            let turn = attempts / 2 % others.len().max(1);
            others.get(turn).copied()
        });
        match target {
            Some(incarnation) => self.forward(work, incarnation),
            None => work.answer(self.not_ready()),
        }
    }

    /// Sends a request of a group that has no replica here to the node `to`.
    fn forward(self: &Rc<Self>, work: Work, to: Incarnation) {
        let Some(forward) = Forward::send(self.peers(), work, ReplicaId(0), to, ReplicaId(0)) else { return };
        let shard = self.clone();
        E::spawn(async move {
            let Some(Again { work, leader, .. }) = forward.answer().await else { return };
            let group = work.call.group;
            if let Some(leader) = leader.filter(|_| shard.group(group).is_none()) {
                shard.view().set_leader(group, leader);
            }
            E::sleep(retry::pause(work.call.attempts)).await;
            shard.serve_here(work);
        });
    }
}
