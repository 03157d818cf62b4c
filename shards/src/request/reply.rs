//! The right to answer a request, and the places that wait for answers.

use std::rc::Rc;

use kahuna_protocol::peer::PeerPrelude;
use kahuna_protocol::{ErrorCode, ErrorReply, Hlc};

use super::answer::{Answer, full};
use super::load::Charge;

/// A request whose answer can be long is not looked at while not even this much would be held.
const WORTH_BYTES: usize = 4 << 10;

/// A place that waits for the answers to its requests: a client's connection, a link to another node, the lanes to the other
/// shards, a task.
pub trait AnswerTo {
    /// Whether a long answer of `bytes` or more would be held until it is taken from there.
    fn would_hold(&self, bytes: usize) -> bool;

    /// Whether it takes more than one answer to a request.
    fn takes_many(&self) -> bool {
        false
    }

    /// Takes the answer to the request that the place knows by `token`, decided at the machine time `stamp`,
    /// [`Hlc::ZERO`] for none. Called once for each request, unless it takes many.
    fn answer(self: Rc<Self>, token: Token, stamp: Hlc, answer: Answer);
}

/// Identifies a request to the place that waits for its answer; opaque to all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The number of the request.
    pub number: u64,
    /// Prelude of the answer's frame, if the answer goes to another node.
    pub replicas: PeerPrelude,
}

impl Token {
    /// Of a request that its number alone tells from others.
    pub fn numbered(number: u64) -> Self {
        Self { number, replicas: PeerPrelude::default() }
    }
}

/// What a request counts against until it is answered: the connection or link that it came over, the shard.
pub type Charges = [Option<Charge>; 2];

/// The right, and the duty, to answer one request: dropping it answers [`ErrorCode::Unknown`], so none is lost silently.
pub struct Reply {
    /// None once it was answered.
    to: Option<Rc<dyn AnswerTo>>,
    token: Token,
    charges: Charges,
    /// Machine time of the group that decided: a lower bound of the stamp in the answer's frame.
    stamp: Hlc,
}

impl Reply {
    /// The answer to the request `token` goes to `to`.
    pub fn new(to: Rc<dyn AnswerTo>, token: Token, charges: Charges) -> Self {
        Self { to: Some(to), token, charges, stamp: Hlc::ZERO }
    }

    /// The answer was decided at this machine time.
    pub(crate) fn at(&mut self, stamp: Hlc) {
        self.stamp = stamp;
    }

    /// Whether an answer that can be long would not be held, wherever it goes: the request need not be looked at.
    pub fn is_full(&self) -> bool {
        !self.would_hold(WORTH_BYTES)
    }

    /// Whether an answer of `bytes` would be held.
    pub(super) fn would_hold(&self, bytes: usize) -> bool {
        self.to.as_ref().is_some_and(|to| to.would_hold(bytes))
    }

    /// Whether more than one answer may be sent.
    pub(super) fn takes_many(&self) -> bool {
        self.to.as_ref().is_some_and(|to| to.takes_many())
    }

    /// Sends an answer that is not the last one, to a place that takes many.
    pub(super) fn send_one_of_many(&self, stamp: Hlc, answer: Answer) {
        debug_assert!(self.takes_many());
        if let Some(to) = self.to.clone() {
            to.answer(self.token, stamp, answer);
        }
    }

    /// Answers `Busy`, because a long answer could not be held.
    pub fn refuse_full(self) {
        self.send(full().into());
    }

    /// Answers.
    pub fn send(mut self, answer: Answer) {
        self.deliver(answer);
    }

    fn deliver(&mut self, answer: Answer) {
        let Some(to) = self.to.take() else { return };
        let answer = if answer.is_bulky() && !to.would_hold(answer.bytes()) { full().into() } else { answer };
        self.charges = [None, None];
        to.answer(self.token, self.stamp, answer);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.to.is_some() {
            self.deliver(ErrorReply::new(ErrorCode::Unknown, "the node gave the request up").into());
        }
    }
}
