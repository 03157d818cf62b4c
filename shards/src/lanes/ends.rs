//! The ends of the lanes: made before the shards' threads start, and handed to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flume::{Receiver, Sender};
use kahuna_protocol::{Hlc, ShardId};

use super::control::Control;
use crate::env::Env;
use crate::request::{Answer, Call};

/// A request for a group of another shard.
#[derive(Debug)]
pub struct LaneRequest {
    /// Shard that gets the answer.
    pub(super) from: ShardId,
    /// Where it keeps the place for the answer.
    pub(super) slot: u32,
    pub(super) call: Call,
}

/// An answer to a [`LaneRequest`].
#[derive(Debug)]
pub struct LaneReply {
    pub(super) slot: u32,
    /// The machine time that it was decided at.
    pub(super) stamp: Hlc,
    pub(super) answer: Answer,
    /// Until the asker has it.
    pub(super) crossing: Crossing,
}

/// Bytes of answers that one shard has sent over its lanes and that the askers have not taken yet. The one number that two
/// shards write to: the answering one adds, the asking ones take off.
#[derive(Clone, Debug, Default)]
pub(super) struct Crossings(Arc<AtomicUsize>);

impl Crossings {
    /// All that crosses.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts `bytes` more until what is returned is dropped, on whatever thread.
    pub(super) fn begin(&self, bytes: usize) -> Crossing {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Crossing { all: self.clone(), bytes }
    }
}

/// One answer's part of [`Crossings`].
#[derive(Debug)]
pub(super) struct Crossing {
    all: Crossings,
    bytes: usize,
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The ends that lead to one shard.
pub(super) struct Inlet<E: Env> {
    pub(super) requests: Sender<Vec<LaneRequest>>,
    pub(super) replies: Sender<Vec<LaneReply>>,
    pub(super) control: Sender<Control<E>>,
}

impl<E: Env> Clone for Inlet<E> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone(), replies: self.replies.clone(), control: self.control.clone() }
    }
}

/// One shard's ends of the lanes, on the way to its thread.
pub struct LaneEnds<E: Env> {
    pub(super) id: ShardId,
    pub(super) inlets: Vec<Inlet<E>>,
    pub(super) outlet: Outlet<E>,
}

/// What arrives at one shard. The task that serves the shard empties it.
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
