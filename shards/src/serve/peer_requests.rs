//! What other nodes send over their links: Raft messages, and the requests they forward.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, FrameError};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Header, ReplicaId, RequestPrelude, RequestRef};

use super::call::{Call, Work};
use super::connection::frame_error;
use super::dispatch::{busy, timeout_of};
use super::reply::{Reply, Target};
use super::system_requests;
use crate::env::Env;
use crate::peer::{PeerHandler, PeerIdentity, PeerReplier};
use crate::raft::Sender;
use crate::shard::Shard;

/// The kinds of Raft's messages.
const RAFT_KINDS: std::ops::RangeInclusive<u16> = 0x1100..=0x11ff;

impl<E: Env> PeerHandler for Shard<E> {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        if RAFT_KINDS.contains(&header.kind) {
            return self.raft_message(from, prelude, &header, body, reply);
        }
        if header.flags & FLAG_FORWARDED == 0 {
            return reply.refuse(&frame_error(FrameError::UnknownKind(header.kind)));
        }
        match self.forwarded_call(from, &prelude, &header, &body) {
            Err(error) => reply.refuse(&error),
            Ok(call) => match self.load.admit(header.frame_bytes()) {
                None => reply.refuse(&busy(self.overload_text())),
                Some(charge) => {
                    let reply = Reply::new(Target::Peer { replier: reply, charge });
                    self.dispatch(Work { call, reply });
                }
            },
        }
    }
}

impl<E: Env> Shard<E> {
    fn raft_message(
        self: &Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: &Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        let group = self.group(GroupId(prelude.group));
        let Some(group) = group.filter(|group| group.replica().id() == ReplicaId(prelude.to)) else {
            let text = format!(
                "group {} has no replica {} on node {}, which node {} asks for",
                prelude.group, prelude.to, self.config.node, from.node
            );
            return reply.refuse(&ErrorReply::new(ErrorCode::NotReady, text));
        };
        // Begun here, not in the task: executors need not run tasks in the order in which they were spawned.
        let sender = Sender { replica: ReplicaId(prelude.from), incarnation: from.incarnation };
        let answer = group.replica().on_message(sender, header.kind, body);
        E::spawn(async move {
            match answer.await {
                Ok((kind, payload)) => reply.send(kind, |out| out.extend_from_slice(&payload)),
                Err(error) => reply.refuse(&error),
            }
        });
    }

    /// A request that another node forwards: its body is validated here too, nothing is taken on trust.
    fn forwarded_call(
        &self,
        from: PeerIdentity,
        peer: &PeerPrelude,
        header: &Header,
        payload: &Bytes,
    ) -> Result<Call, ErrorReply> {
        let (prelude, _) = RequestPrelude::split(payload).map_err(frame_error)?;
        let body = payload.slice(RequestPrelude::BYTES..);
        let request = RequestRef::access(header.kind, &body).map_err(frame_error)?;
        let class = request.class();
        match class {
            Class::Read | Class::Write => request.check(&self.config.limits)?,
            Class::System => {
                let meta = self.group(GroupId::META);
                let machine = meta.as_ref().map(|group| group.replica().machine().borrow());
                let meta = machine.as_ref().map(|machine| machine.meta());
                system_requests::check(from, GroupId(peer.group), &prelude, &request, meta)?;
            }
            Class::Node => return Err(ErrorReply::new(ErrorCode::BadRequest, "each node answers this itself")),
        }
        Ok(Call {
            group: GroupId(peer.group),
            kind: header.kind,
            class,
            needs_room: request.grows(),
            prelude,
            deadline: E::boot_clock() + timeout_of(&prelude),
            body,
            forwarded: true,
            repeated: false,
            attempts: 0,
        })
    }
}
