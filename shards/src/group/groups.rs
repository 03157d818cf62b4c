//! The groups of a shard, and the way of Raft's messages to their replicas.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
pub use kahuna_protocol::kinds::RAFT_KINDS;
use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Header, NodeId};

use super::group::Group;
use crate::env::Env;
use crate::peer::{PeerHandler, PeerIdentity, PeerReplier};
use crate::raft::{Replica, Sender};

/// The groups of a shard whose replicas are open.
pub struct Groups<E: Env> {
    node: NodeId,
    open: RefCell<BTreeMap<GroupId, Rc<Group<E>>>>,
}

impl<E: Env> Groups<E> {
    /// No group yet, on a shard of `node`.
    pub fn new(node: NodeId) -> Rc<Self> {
        Rc::new(Self { node, open: RefCell::default() })
    }

    /// Adds a group; requests for it are served from now on.
    pub fn insert(&self, group: Rc<Group<E>>) {
        let before = self.open.borrow_mut().insert(group.id(), group);
        drop(before);
    }

    /// The group, if its replica is open.
    pub fn get(&self, id: GroupId) -> Option<Rc<Group<E>>> {
        self.open.borrow().get(&id).cloned()
    }

    /// All of them, ascending.
    pub fn all(&self) -> Vec<Rc<Group<E>>> {
        self.open.borrow().values().cloned().collect()
    }

    /// The replicas of all of them, ascending by group.
    pub fn replicas(&self) -> Vec<Rc<Replica<E>>> {
        self.open.borrow().values().map(|group| group.replica().clone()).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }
}

/// Takes the messages of [`RAFT_KINDS`].
impl<E: Env> PeerHandler for Groups<E> {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        let group = self.get(prelude.group);
        let Some(group) = group.filter(|group| group.replica().id() == prelude.to) else {
            let text = format!(
                "group {} has no replica {} on node {}, which node {} asks for",
                prelude.group, prelude.to, self.node, from.node
            );
            return reply.refuse(&ErrorReply::new(ErrorCode::NotReady, text));
        };
        // Begun here, not in the task: executors need not run tasks in the order in which they were spawned.
        let sender = Sender { replica: prelude.from, incarnation: from.incarnation, boot: from.boot_id };
        let answer = group.replica().on_message(sender, header.kind, body);
        E::spawn(async move {
            match answer.await {
                Ok((kind, payload)) => reply.send(kind, |out| out.extend_from_slice(&payload)),
                Err(error) => reply.refuse(&error),
            }
        });
    }
}
