//! A request on its way to the group that serves it.

use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Hlc, Outcome, Request, RequestPrelude};

use super::reply::{Answer, Reply};
use crate::env::Env;

/// A request whose body validated, without the place its answer goes to: it may change threads.
#[derive(Clone, Debug)]
pub struct Call {
    /// The group that owns its name.
    pub group: GroupId,
    /// The request's kind.
    pub kind: u16,
    /// How the dispatch treats it.
    pub class: Class,
    /// It is refused while the disk is full.
    pub needs_room: bool,
    /// As it came; `timeout_ms` is replaced by `deadline`.
    pub prelude: RequestPrelude,
    /// The archived body.
    pub body: Bytes,
    /// When its sender stops waiting, as time since boot.
    pub deadline: Duration,
    /// It came from another node: it must not leave this one again.
    pub forwarded: bool,
    /// An earlier attempt may have been applied, so "not applied" must not be said of this one.
    pub repeated: bool,
    /// Attempts that came to nothing, for the pause before the next one.
    pub attempts: u32,
}

impl Call {
    /// Whether another attempt cannot apply it twice: reads change nothing, and a session's writes are deduplicated.
    pub fn may_repeat(&self) -> bool {
        self.class == Class::Read || self.prelude.session != 0
    }

    /// How long to pause before the next attempt: 1 ms, doubled up to 32 ms.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(1 << self.attempts.min(5))
    }

    /// What is left until the deadline; `None` once it passed.
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        self.deadline.checked_sub(now).filter(|left| !left.is_zero())
    }
}

/// A request together with the place its answer goes to. Dropping it answers [`ErrorCode::Unknown`].
pub struct Work<E: Env> {
    /// The request.
    pub call: Call,
    /// Where the answer goes.
    pub reply: Reply<E>,
}

impl<E: Env> Work<E> {
    /// The answer was decided at this machine time, which its frame tells.
    pub fn at(mut self, stamp: Hlc) -> Self {
        self.reply.at(stamp);
        self
    }

    /// Answers with what the state machine decided, or with an error of this attempt.
    pub fn answer(self, answer: impl Into<Answer>) {
        let mut answer = answer.into();
        if self.call.repeated && self.call.class != Class::Read && answer.denies_this_attempt_only() {
            answer = unknown("an earlier attempt of this request may have been applied").into();
        }
        self.reply.send(answer);
    }

    /// Whether the request is one whose answer can be long, and nobody would hold it: it need not be looked at.
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

    /// The attempt was handed on and its fate is not known: gives the request back if another attempt is safe, answers
    /// `Unknown` if not.
    pub fn into_repeat(mut self) -> Option<Self> {
        if self.call.may_repeat() {
            self.call.repeated = true;
            self.call.attempts += 1;
            Some(self)
        } else {
            self.give_up("the request was proposed and its outcome was lost");
            None
        }
    }

    /// The deadline passed, or its leader was lost, after the request was proposed.
    pub fn give_up(self, text: &str) {
        match self.call.class {
            Class::Read => self.time_out(),
            _ => self.answer(unknown(text)),
        }
    }
}

fn unknown(text: &str) -> Outcome {
    Outcome::Error(ErrorReply::new(
        ErrorCode::Unknown,
        format!("{text}; repeat it under the same session and number to learn its outcome"),
    ))
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::lock::Released;
    use openraft::AsyncRuntime;

    use super::*;
    use crate::env::local::LocalOneshot;
    use crate::linux::{Linux, Runtime};

    fn call(class: Class, session: u64, repeated: bool) -> Call {
        Call {
            group: GroupId(1),
            kind: 0x0103,
            class,
            needs_room: false,
            prelude: RequestPrelude { session, ..RequestPrelude::default() },
            body: Bytes::new(),
            deadline: Duration::from_secs(9),
            forwarded: false,
            repeated,
            attempts: 0,
        }
    }

    /// What a request is told when `end` ends it.
    fn told(call: Call, end: impl FnOnce(Work<Linux>)) -> Result<Outcome, ErrorCode> {
        let (sender, answer) = LocalOneshot::pair();
        end(Work { call, reply: Reply::to_task(sender) });
        match Runtime::new(1).block_on(answer) {
            Ok(Answer::Outcome(Outcome::Error(error))) => Err(error.code()),
            Ok(Answer::Outcome(outcome)) => Ok(outcome),
            other => panic!("an answer was expected: {other:?}"),
        }
    }

    #[test]
    fn a_repeated_write_never_says_not_applied_of_the_first_attempt() {
        use ErrorCode::*;
        let cases = [
            (Busy, Unknown),
            (Overloaded, Unknown),
            (NotReady, Unknown),
            (NoLeader, Unknown),
            (NotLeader, Unknown),
            (Moved, Unknown),
            (Draining, Unknown),
            (TimedOut, Unknown),
            (DiskFull, Unknown),
            (Forgotten, Unknown),
            (Expired, Expired),
            (BadRequest, Unknown),
            (TooLarge, TooLarge),
            (Conflict, Conflict),
        ];
        for (said, heard) in cases {
            let repeated = told(call(Class::Write, 5, true), |work| work.refuse(said, "why"));
            assert_eq!(repeated, Err(heard), "{said} after an attempt of unknown fate");
            let first = told(call(Class::Write, 5, false), |work| work.refuse(said, "why"));
            assert_eq!(first, Err(said), "{said} of the first attempt");
            let read = told(call(Class::Read, 0, true), |work| work.refuse(said, "why"));
            assert_eq!(read, Err(said), "{said} of a read, which changes nothing");
        }
        let recorded = Outcome::Released(Released { token: 3 });
        assert_eq!(told(call(Class::Write, 5, true), |work| work.answer(recorded.clone())), Ok(recorded));
    }

    #[test]
    fn a_lost_attempt_is_repeated_only_where_the_dedupe_table_guards_it() {
        let end = |work: Work<Linux>| {
            let again = work.into_repeat().expect("safe to repeat");
            assert_eq!(again.call.attempts, 1);
            again.time_out();
        };
        assert_eq!(told(call(Class::Write, 5, false), end), Err(ErrorCode::Unknown));
        assert_eq!(told(call(Class::Read, 0, false), end), Err(ErrorCode::NoLeader));
        let lost = |work: Work<Linux>| assert!(work.into_repeat().is_none());
        assert_eq!(told(call(Class::Write, 0, false), lost), Err(ErrorCode::Unknown));
        assert_eq!(told(call(Class::System, 0, false), lost), Err(ErrorCode::Unknown));
    }

    #[test]
    fn a_request_that_is_dropped_is_unknown() {
        assert_eq!(told(call(Class::Write, 5, false), drop), Err(ErrorCode::Unknown));
    }
}
