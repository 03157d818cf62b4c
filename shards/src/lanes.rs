//! What the shards of one node tell each other. Nothing is shared between them; everything crosses here.
//!
//! ```text
//!             who repairs a loss      bounded by
//!   request   the asker: `Busy`       the asker's reply slots: LANE_REQUESTS and LANE_BYTES per pair of shards
//!   reply     nobody, never lost      its slot was taken before the request left
//!   control   nobody, never lost      rare: connections on the move, the map, leaders, questions of the node
//! ```
//! Messages to a shard gather while other tasks run and cross as one `Vec`: a wake-up of another core costs more than a
//! hundred messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use flume::{Receiver, Sender};
use kahuna_machine::Meta;
use kahuna_protocol::handshake::Hello;
use kahuna_protocol::meta::ReplicaStatus;
use kahuna_protocol::{GroupId, NodeId, ShardId};

use crate::env::{Env, Net};
use crate::node::manifest::Manifest;
use crate::peer::NodeEvent;
use crate::serve::{Answer, Call, Reply, Work};

/// Most unanswered requests of one shard at one other shard.
const LANE_REQUESTS: u32 = 16_384;
/// Most bytes of such requests.
const LANE_BYTES: usize = 64 << 20;

/// A connection on its way to another shard.
pub type Detached<E> = <<E as Env>::Net as Net>::Detached;

/// A request for a group of another shard.
#[derive(Debug)]
pub struct LaneRequest {
    /// The asking shard.
    from: ShardId,
    /// Where it keeps the place for the answer.
    slot: u32,
    call: Call,
}

/// An answer to a [`LaneRequest`].
#[derive(Debug)]
pub struct LaneReply {
    slot: u32,
    answer: Answer,
}

/// One shard's part of a node's status.
#[derive(Clone, Debug, Default)]
pub struct ShardStatus {
    /// Its replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// Durable writes to its log.
    pub log_flushes: u64,
    /// Bytes in its log's segments.
    pub log_bytes: u64,
    /// Its client connections.
    pub connections: u32,
    /// Peers whose heartbeat is current, as far as this shard watches them.
    pub peers_alive: Vec<NodeId>,
    /// What the shard waits for, for a person; empty when it serves.
    pub waiting: String,
}

/// What one shard tells another apart from requests.
pub enum Control<E: Env> {
    /// A client wished to be served by this shard.
    HandOver {
        /// The connection.
        connection: Detached<E>,
        /// Its first frame.
        hello: Hello,
        /// That frame's number.
        request_id: u64,
        /// What was read beyond it.
        unread: Bytes,
    },
    /// A peer's connection that belongs to this shard.
    PeerHandOver {
        /// The connection.
        connection: Detached<E>,
        /// Everything that was read from it, its first frame included.
        unread: Bytes,
    },
    /// A group's leader changed, as a replica of this node sees it; node 0 for none known.
    LeaderChanged {
        /// The group.
        group: GroupId,
        /// Who leads it.
        leader: NodeId,
    },
    /// A node went or came.
    NodeEvent(NodeEvent),
    /// The cluster was founded, or joined: the shard may open its log.
    Founded(Arc<Manifest>),
    /// What the meta group says was changed, or read for the first time.
    Meta(Arc<Meta>),
    /// A question for the shard's part of the status.
    Status(Sender<ShardStatus>),
    /// Stop serving.
    Stop,
}

/// The ends that lead to one shard.
struct Inlet<E: Env> {
    requests: Sender<Vec<LaneRequest>>,
    replies: Sender<Vec<LaneReply>>,
    control: Sender<Control<E>>,
}

impl<E: Env> Clone for Inlet<E> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), replies: self.replies.clone(), control: self.control.clone() }
    }
}

/// One shard's ends of the lanes, on the way to its thread.
pub struct LaneEnds<E: Env> {
    id: ShardId,
    inlets: Vec<Inlet<E>>,
    outlet: Outlet<E>,
}

/// What arrives at one shard. [`Shard::run_lanes`](crate::shard::Shard::run_lanes) empties it.
pub struct Outlet<E: Env> {
    pub(crate) requests: Receiver<Vec<LaneRequest>>,
    pub(crate) replies: Receiver<Vec<LaneReply>>,
    pub(crate) control: Receiver<Control<E>>,
}

/// The lanes between `shards` shards: one value for each, in order.
pub fn lanes<E: Env>(shards: u16) -> Vec<LaneEnds<E>> {
    let (inlets, outlets): (Vec<_>, Vec<_>) = (0..shards)
        .map(|_| {
            let (request_in, requests) = flume::unbounded();
            let (reply_in, replies) = flume::unbounded();
            let (control_in, control) = flume::unbounded();
            let inlet = Inlet { requests: request_in, replies: reply_in, control: control_in };
            (inlet, Outlet { requests, replies, control })
        })
        .unzip();
    (0..shards).zip(outlets).map(|(id, outlet)| LaneEnds { id: ShardId(id), inlets: inlets.clone(), outlet }).collect()
}

/// What gathers for one shard.
struct Outgoing {
    requests: Vec<LaneRequest>,
    replies: Vec<LaneReply>,
    /// Taken slots at this shard for answers of that one, and the bytes of their requests.
    taken: u32,
    taken_bytes: usize,
}

/// A place for an answer, or the next free place.
enum Slot<E: Env> {
    Taken { reply: Reply<E>, at: ShardId, bytes: usize },
    Free { next: Option<u32> },
}

/// The places for answers; a free one is found in constant time.
struct Slots<E: Env> {
    slots: Vec<Slot<E>>,
    free: Option<u32>,
}

/// One shard's side of all lanes.
pub struct Lanes<E: Env> {
    id: ShardId,
    inlets: Vec<Inlet<E>>,
    outgoing: RefCell<Vec<Outgoing>>,
    slots: RefCell<Slots<E>>,
    /// A flush is about to run.
    flushing: Cell<bool>,
}

impl<E: Env> Lanes<E> {
    /// Takes the ends over on their shard's thread.
    pub fn open(ends: LaneEnds<E>) -> (Rc<Self>, Outlet<E>) {
        let outgoing = ends
            .inlets
            .iter()
            .map(|_| Outgoing { requests: Vec::new(), replies: Vec::new(), taken: 0, taken_bytes: 0 })
            .collect();
        let lanes = Self {
            id: ends.id,
            inlets: ends.inlets,
            outgoing: RefCell::new(outgoing),
            slots: RefCell::new(Slots { slots: Vec::new(), free: None }),
            flushing: Cell::new(false),
        };
        (Rc::new(lanes), ends.outlet)
    }

    /// The shards of this node.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.inlets.len()).expect("made from a u16")
    }

    /// Sends a request to the shard `to`; gives it back when that shard's lane is full.
    #[expect(clippy::result_large_err, reason = "the refused request itself goes back to be answered")]
    pub fn request(self: &Rc<Self>, to: ShardId, work: Work<E>) -> Result<(), Work<E>> {
        debug_assert_ne!(to, self.id, "a shard serves its own groups itself");
        let bytes = work.call.body.len();
        {
            let mut outgoing = self.outgoing.borrow_mut();
            let out = &mut outgoing[usize::from(to.0)];
            if out.taken >= LANE_REQUESTS || (out.taken > 0 && out.taken_bytes + bytes > LANE_BYTES) {
                return Err(work);
            }
            out.taken += 1;
            out.taken_bytes += bytes;
            let Work { call, reply } = work;
            let slot = self.slots.borrow_mut().take(Slot::Taken { reply, at: to, bytes });
            out.requests.push(LaneRequest { from: self.id, slot, call });
        }
        self.flush_soon();
        Ok(())
    }

    /// Answers the request in `slot` of the shard `to`.
    pub(crate) fn reply(self: &Rc<Self>, to: ShardId, slot: u32, answer: Answer) {
        self.outgoing.borrow_mut()[usize::from(to.0)].replies.push(LaneReply { slot, answer });
        self.flush_soon();
    }

    /// Tells the shard `to` something. A shard that has stopped does not hear it.
    pub fn control(&self, to: ShardId, control: Control<E>) {
        // The receiving end is gone only when the node stops.
        let _ = self.inlets[usize::from(to.0)].control.send(control);
    }

    /// Tells every shard, this one included.
    pub fn broadcast(&self, control: impl Fn() -> Control<E>) {
        (0..self.shards()).for_each(|to| self.control(ShardId(to), control()));
    }

    /// The request that came over a lane, with its way back.
    pub(crate) fn receive(self: &Rc<Self>, request: LaneRequest) -> Work<E> {
        let LaneRequest { from, slot, call } = request;
        Work { call, reply: Reply::over_lane(self.clone(), from, slot) }
    }

    /// Delivers an answer that came over a lane.
    pub(crate) fn deliver(&self, reply: LaneReply) {
        let (waiting, at, bytes) = self.slots.borrow_mut().free(reply.slot);
        {
            let mut outgoing = self.outgoing.borrow_mut();
            let out = &mut outgoing[usize::from(at.0)];
            out.taken -= 1;
            out.taken_bytes -= bytes;
        }
        waiting.send(reply.answer);
    }

    /// Lets the tasks that are ready now add to what is sent.
    fn flush_soon(self: &Rc<Self>) {
        if !self.flushing.replace(true) {
            let lanes = self.clone();
            E::spawn(async move { lanes.flush() });
        }
    }

    fn flush(&self) {
        self.flushing.set(false);
        let mut outgoing = self.outgoing.borrow_mut();
        for (out, inlet) in outgoing.iter_mut().zip(&self.inlets) {
            // A send fails only when the other shard has stopped, and then the whole node stops.
            if !out.requests.is_empty() {
                let _ = inlet.requests.send(std::mem::take(&mut out.requests));
            }
            if !out.replies.is_empty() {
                let _ = inlet.replies.send(std::mem::take(&mut out.replies));
            }
        }
    }
}

impl<E: Env> Slots<E> {
    fn take(&mut self, taken: Slot<E>) -> u32 {
        match self.free {
            Some(index) => {
                let Slot::Free { next } = std::mem::replace(&mut self.slots[index as usize], taken) else {
                    unreachable!("the free list holds free slots");
                };
                self.free = next;
                index
            }
            None => {
                self.slots.push(taken);
                u32::try_from(self.slots.len() - 1).expect("far fewer slots than 2^32")
            }
        }
    }

    fn free(&mut self, index: u32) -> (Reply<E>, ShardId, usize) {
        let freed = Slot::Free { next: self.free };
        let Slot::Taken { reply, at, bytes } = std::mem::replace(&mut self.slots[index as usize], freed) else {
            unreachable!("a slot is answered once");
        };
        self.free = Some(index);
        (reply, at, bytes)
    }
}
