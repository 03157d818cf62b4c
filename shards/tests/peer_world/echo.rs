//! Questions, and a node that answers with what it was asked.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::Bytes;
use kahuna_protocol::{GroupId, Header, Incarnation, ReplicaId, peer::PeerPrelude};
use kahuna_shards::{
    linux::Linux,
    peer::{Calling, PeerHandler, PeerIdentity, PeerReplier, Peers},
};

use super::running::LIMIT;

/// A kind that the links do not handle themselves.
pub const KIND_ECHO: u16 = 0x1101;

/// Answers with what it was asked; remembers the questions.
#[derive(Default)]
pub struct Echo {
    pub seen: RefCell<Vec<(PeerIdentity, PeerPrelude, Bytes)>>,
    /// Answers are kept here instead of sent while this is set.
    pub hold: Cell<bool>,
    pub held: RefCell<Vec<(Bytes, PeerReplier)>>,
}

impl PeerHandler for Echo {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        self.seen.borrow_mut().push((from, prelude, body.clone()));
        if self.hold.get() {
            self.held.borrow_mut().push((body, reply));
        } else {
            reply.send(header.kind | 0x8000, |out| out.extend_from_slice(&body));
        }
    }
}

pub fn group(group: u32) -> PeerPrelude {
    PeerPrelude { group: GroupId(group), from: ReplicaId(11), to: ReplicaId(22) }
}

pub fn ask(peers: &Rc<Peers<Linux>>, to: u64, body: &[u8]) -> Calling<Linux> {
    ask_group(peers, to, 5, body)
}

pub fn ask_group(peers: &Rc<Peers<Linux>>, to: u64, id: u32, body: &[u8]) -> Calling<Linux> {
    peers.call(Incarnation(to), group(id), KIND_ECHO, 0, LIMIT, |out| out.extend_from_slice(body))
}
