//! Where the answer to a request goes.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::frame::{FLAG_FORWARDED, FLAG_REPLY};
use kahuna_protocol::{ErrorCode, ErrorReply, Outcome, ShardId};

use super::load::Charge;
use super::outbox::Outbox;
use crate::env::Env;
use crate::env::local::OneshotSender;
use crate::lanes::Lanes;
use crate::peer::PeerReplier;

/// The kind of an error frame.
pub const KIND_ERROR: u16 = 0x8f01;
/// The kinds of answers that can be as long as a value or a page.
const BULKY: [u16; 2] = [0x8203, 0x8208];

/// An answer, decided here or as it came from another node.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Decided on this node.
    Outcome(Outcome),
    /// Another node's, passed on unread; never an error.
    Encoded {
        /// The outcome's kind.
        kind: u16,
        /// The archived body.
        body: Bytes,
    },
}

impl Answer {
    /// The frame kind.
    pub fn kind(&self) -> u16 {
        match self {
            Self::Outcome(outcome) => outcome.kind(),
            Self::Encoded { kind, .. } => *kind,
        }
    }

    /// The frame's flags.
    pub fn flags(&self) -> u8 {
        match self {
            Self::Outcome(_) => FLAG_REPLY,
            Self::Encoded { .. } => FLAG_REPLY | FLAG_FORWARDED,
        }
    }

    /// Appends the archived body.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Outcome(outcome) => outcome.encode_body(out),
            Self::Encoded { body, .. } => out.extend_from_slice(body),
        }
    }

    /// Whether the answer can be as long as a value or a page; only reads have such answers.
    pub fn is_bulky(&self) -> bool {
        BULKY.contains(&self.kind())
    }

    /// Whether it says "not applied" of this attempt, and nothing of earlier ones under the same number.
    ///
    /// Bad input and conflicts are decided by the request itself, so every attempt meets them; `Expired` is proof.
    pub fn denies_this_attempt_only(&self) -> bool {
        let Self::Outcome(Outcome::Error(error)) = self else {
            return false;
        };
        match error.code() {
            ErrorCode::WrongCluster
            | ErrorCode::Busy
            | ErrorCode::Overloaded
            | ErrorCode::NotReady
            | ErrorCode::NoLeader
            | ErrorCode::NotLeader
            | ErrorCode::Moved
            | ErrorCode::Draining
            | ErrorCode::TimedOut
            | ErrorCode::DiskFull
            | ErrorCode::Forgotten => true,
            ErrorCode::BadFrame
            | ErrorCode::BadVersion
            | ErrorCode::BadRequest
            | ErrorCode::TooLarge
            | ErrorCode::Unsupported
            | ErrorCode::Unknown
            | ErrorCode::Expired
            | ErrorCode::Conflict => false,
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(outcome)
    }
}

impl From<ErrorReply> for Answer {
    fn from(error: ErrorReply) -> Self {
        Self::Outcome(Outcome::Error(error))
    }
}

/// One of the places that wait for answers.
pub(crate) enum Target<E: Env> {
    /// A client's connection on this shard.
    Client {
        /// Its outgoing side.
        out: Rc<Outbox<E>>,
        /// The client's number for the request.
        request_id: u64,
        /// What the request counts against: the connection, the shard.
        charges: (Charge, Charge),
    },
    /// Another node that forwarded the request.
    Peer {
        /// Its link.
        replier: PeerReplier,
        /// What the request counts against.
        charge: Charge,
    },
    /// Another shard of this node.
    Lane {
        /// The lanes of this shard.
        lanes: Rc<Lanes<E>>,
        /// The shard that asked.
        to: ShardId,
        /// Its slot.
        slot: u32,
    },
    /// A task of this shard.
    Task(OneshotSender<Answer>),
}

/// The right, and the duty, to answer one request: dropping it answers [`ErrorCode::Unknown`], so none is lost silently.
pub struct Reply<E: Env>(Option<Target<E>>);

impl<E: Env> Reply<E> {
    pub(crate) fn new(target: Target<E>) -> Self {
        Self(Some(target))
    }

    /// The answer goes to a task that holds the other end.
    pub fn to_task(sender: OneshotSender<Answer>) -> Self {
        Self::new(Target::Task(sender))
    }

    /// The answer goes back over the lane to the shard that asked.
    pub(crate) fn over_lane(lanes: Rc<Lanes<E>>, to: ShardId, slot: u32) -> Self {
        Self::new(Target::Lane { lanes, to, slot })
    }

    /// Answers.
    pub fn send(mut self, answer: Answer) {
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        let Some(target) = self.0.take() else { return };
        match target {
            Target::Client { out, request_id, charges } => {
                drop(charges);
                out.push(request_id, answer);
            }
            Target::Peer { replier, charge } => {
                drop(charge);
                replier.send(answer.kind(), |out| answer.encode_body(out));
            }
            Target::Lane { lanes, to, slot } => lanes.reply(to, slot, answer),
            // A task that stopped waiting has no use for the answer.
            Target::Task(sender) => drop(sender.send(answer)),
        }
    }
}

impl<E: Env> Drop for Reply<E> {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.deliver(ErrorReply::new(ErrorCode::Unknown, "the node gave the request up").into());
        }
    }
}
