//! The requests that other nodes forward to this one.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, FrameError};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Header, RequestPrelude, RequestRef};

use super::connection::frame_error;
use super::system_requests;
use crate::env::Env;
use crate::peer::{PeerHandler, PeerIdentity, PeerReplier};
use crate::request::{Call, Work, busy, timeout_of};
use crate::shard::Shard;

impl<E: Env> PeerHandler for Shard<E> {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        if header.flags & FLAG_FORWARDED == 0 {
            return reply.refuse(&frame_error(FrameError::UnknownKind(header.kind)));
        }
        match self.forwarded_call(from, &prelude, &header, &body) {
            Err(error) => reply.refuse(&error),
            Ok(call) => match self.load().admit(header.frame_bytes()) {
                None => reply.refuse(&busy(self.overload_text())),
                Some(charge) => self.dispatch(Work { call, reply: reply.into_reply(charge) }),
            },
        }
    }
}

impl<E: Env> Shard<E> {
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
            Class::Read | Class::Write => request.check(&self.config().limits)?,
            Class::System => {
                let meta = self.group(GroupId::META);
                let machine = meta.as_ref().map(|group| group.replica().machine().borrow());
                let meta = machine.as_ref().map(|machine| machine.meta());
                system_requests::check(from, peer.group, &prelude, &request, meta)?;
            }
            Class::Node => return Err(ErrorReply::new(ErrorCode::BadRequest, "each node answers this itself")),
        }
        Ok(Call {
            group: peer.group,
            kind: header.kind,
            class,
            grows: request.grows(),
            prelude,
            deadline: E::boot_clock() + timeout_of(&prelude),
            body,
            forwarded: true,
            repeated: false,
            attempts: 0,
        })
    }
}
