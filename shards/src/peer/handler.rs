//! What other nodes ask this one, and the way back to them.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_REPLY, archive_into};
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, Header, Hlc, Incarnation, NodeId};

use super::outgoing::Outgoing;
use super::pulse::KIND_ERROR;

/// Who sent a frame: proven by the handshake of the link it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIdentity {
    /// The operator's number.
    pub node: NodeId,
    /// The data directory.
    pub incarnation: Incarnation,
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
    pub fn send(self, kind: u16, payload: impl FnOnce(&mut Vec<u8>)) {
        self.send_sized(Hlc::ZERO, kind, 0, payload);
    }

    /// Answers with a body of some `bytes`, which was decided at the machine time `stamp`: the frame's own is no lower.
    pub fn send_sized(mut self, stamp: Hlc, kind: u16, bytes: usize, payload: impl FnOnce(&mut Vec<u8>)) {
        self.push(stamp, kind, bytes, payload);
    }

    /// Whether an answer of `bytes` would be held until the link has taken it. Only short ones may be given that are not.
    pub fn takes(&self, bytes: usize) -> bool {
        self.link.as_ref().is_none_or(|link| link.takes(Header::BYTES + PeerPrelude::BYTES + bytes))
    }

    /// Answers with an error.
    pub fn refuse(self, error: &ErrorReply) {
        self.send(KIND_ERROR, |out| archive_into(error, out));
    }

    fn push(&mut self, stamp: Hlc, kind: u16, bytes: usize, payload: impl FnOnce(&mut Vec<u8>)) {
        if let Some(link) = self.link.take() {
            link.push_reply(stamp, kind, FLAG_REPLY, self.request_id, self.prelude, bytes, payload);
        }
    }
}

impl Drop for PeerReplier {
    fn drop(&mut self) {
        if self.link.is_some() {
            let error = ErrorReply::new(ErrorCode::Unknown, "the node gave the request up");
            self.push(Hlc::ZERO, KIND_ERROR, 0, |out| archive_into(&error, out));
        }
    }
}

impl fmt::Debug for PeerReplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerReplier").field("prelude", &self.prelude).field("request_id", &self.request_id).finish()
    }
}
