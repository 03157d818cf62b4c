//! A request together with the place that waits for its answer.

use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, Hlc, Outcome, Request};

use super::answer::Answer;
use super::call::Call;
use super::reply::Reply;
use super::retry;

/// A request together with the place its answer goes to. Dropping it answers [`ErrorCode::Unknown`].
pub struct Work {
    /// What is asked, without where the answer goes.
    pub call: Call,
    /// Where the answer goes.
    pub reply: Reply,
}

impl Work {
    /// Records the machine time of the decision, which the answer's frame carries.
    #[must_use]
    pub fn at(mut self, stamp: Hlc) -> Self {
        self.reply.at(stamp);
        self
    }

    /// Answers with what the state machine decided, or with an error of this attempt.
    pub fn answer(self, answer: impl Into<Answer>) {
        let answer = retry::true_of_all_attempts(&self.call, answer.into());
        self.reply.send(answer);
    }

    /// Whether the answer can be long and could not be held: then the request need not be evaluated.
    pub fn is_in_vain(&self) -> bool {
        self.call.class == Class::Read && Request::is_bulky(self.call.kind) && self.reply.is_full()
    }

    /// Answers with an error of this attempt.
    pub fn refuse(self, code: ErrorCode, text: impl Into<String>) {
        self.answer(Outcome::Error(ErrorReply::new(code, text)));
    }

    /// Answers a request whose deadline passed before anything was proposed for it.
    pub fn time_out(self) {
        if self.call.attempts > 0 {
            let text = format!("no leader of group {} took the request in time; ask another node", self.call.group);
            return self.refuse(ErrorCode::NoLeader, text);
        }
        self.refuse(ErrorCode::TimedOut, "the deadline passed before the request was proposed; repeat it");
    }

    /// Counts a failed attempt, before the next one.
    #[must_use]
    pub fn next_attempt(mut self) -> Self {
        self.call.attempts += 1;
        self
    }

    /// The attempt was handed on and its fate is not known: gives the request back if another attempt is safe, answers
    /// `Unknown` if not.
    pub fn after_loss(mut self) -> Option<Self> {
        if retry::may_repeat(&self.call) {
            self.call.repeated = true;
            Some(self.next_attempt())
        } else {
            self.give_up("the request was proposed and its outcome was lost");
            None
        }
    }

    /// The deadline passed, or its leader was lost, after the request was proposed.
    pub fn give_up(self, text: &str) {
        match self.call.class {
            Class::Read => self.time_out(),
            _ => self.answer(retry::unknown(text)),
        }
    }
}
