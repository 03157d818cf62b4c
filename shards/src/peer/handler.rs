//! What other nodes ask this one, and the way back to them.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_REPLY, archive_into};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, Header, Hlc, Incarnation, NodeId};

use super::outgoing::Outgoing;
use super::pulse::KIND_ERROR;
use crate::request::{Answer, AnswerTo, Charge, Reply, Token};

/// Sender of a frame, proven by the handshake of the frame's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIdentity {
    /// Number that the operator gave the node.
    pub node: NodeId,
    /// Data directory that the node proved to run on.
    pub incarnation: Incarnation,
    /// Random per process.
    pub boot_id: u64,
}

/// Takes what the links do not handle themselves: raft messages, forwarded requests, questions of the bootstrap.
pub trait PeerHandler {
    /// One whole frame, checksum verified; `body` is what stands behind the prelude, not validated. Frames of one link come
    /// in the order of its calls. Must not block: longer work goes into a task, with `reply`.
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    );
}

/// The right, and the duty, to answer one frame. Dropping it answers [`ErrorCode::Unknown`], so that no caller waits in
/// vain. An answer for a link that has closed goes nowhere: its caller knows already that it is lost.
pub struct PeerReplier {
    link: Option<Rc<Outgoing>>,
    prelude: PeerPrelude,
    request_id: u64,
}

impl PeerReplier {
    /// The answer to the frame `request_id`, which came with `asked`.
    pub(super) fn new(link: Rc<Outgoing>, asked: PeerPrelude, request_id: u64) -> Self {
        let prelude = PeerPrelude { group: asked.group, from: asked.to, to: asked.from };
        Self { link: Some(link), prelude, request_id }
    }

    /// Answers; `payload` writes the body.
    pub fn send(mut self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        self.push(kind, payload);
    }

    /// The same right as that to answer a request, which counts as `charge` until then.
    pub(crate) fn into_reply(mut self, charge: Charge) -> Reply {
        let link = self.link.take().expect("only an answer takes the link");
        Reply::new(link, Token { number: self.request_id, replicas: self.prelude }, [Some(charge), None])
    }

    /// Answers with an error.
    pub fn refuse(self, error: &ErrorReply) {
        self.send(KIND_ERROR, |out| archive_into(error, out));
    }

    fn push(&mut self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        if let Some(link) = self.link.take() {
            link.push_reply(Hlc::ZERO, kind, FLAG_REPLY, self.request_id, self.prelude, 0, payload);
        }
    }
}

impl Drop for PeerReplier {
    fn drop(&mut self) {
        if self.link.is_some() {
            let error = ErrorReply::new(ErrorCode::Unknown, "the node gave the request up");
            self.push(KIND_ERROR, |out| archive_into(&error, out));
        }
    }
}

/// Requests that another node forwarded.
impl AnswerTo for Outgoing {
    fn would_hold(&self, bytes: usize) -> bool {
        self.takes(Header::BYTES + PeerPrelude::BYTES + bytes)
    }

    fn answer(self: Rc<Self>, token: Token, stamp: Hlc, answer: Answer) {
        let Token { number, replicas } = token;
        let (kind, bytes) = (answer.kind(), answer.bytes());
        self.push_reply(stamp, kind, FLAG_REPLY, number, replicas, bytes, |out| answer.encode_body(out));
    }
}

impl fmt::Debug for PeerReplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerReplier").field("prelude", &self.prelude).field("request_id", &self.request_id).finish()
    }
}
