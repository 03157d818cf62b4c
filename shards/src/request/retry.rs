//! When a request is tried again, after which pause, and what its answer may claim about earlier attempts.
//!
//! ```text
//!   not taken    nothing was proposed                    again, whatever it is
//!   lost         handed on, and its fate is not known    again, if a second time changes nothing; else `Unknown`
//!   answered     by the machine, or by an error that     the answer, unless an earlier attempt was lost and the error speaks
//!                another attempt would meet as well      of this one only: then `Unknown`
//! ```
//! A read changes nothing, and the dedupe table guards the writes of a session. Pauses double from 1 ms to 32 ms; news of a
//! leader end them.

use std::time::Duration;

use kahuna_protocol::request::Class;
use kahuna_protocol::{self as protocol, Earlier, ErrorCode, ErrorReply, Outcome, SessionId};

use super::answer::Answer;
use super::call::Call;

/// The longest pause is 1 ms doubled so often.
const DOUBLINGS: u32 = 5;

/// What became of an attempt at another node.
#[derive(Debug)]
pub enum Fate {
    /// Here is its answer.
    Answered(Answer),
    /// It was not taken: another attempt is safe.
    NotTaken,
    /// The fate is unknown.
    Lost,
}

/// How long to pause before the next attempt, after so many.
pub fn pause(attempts: u32) -> Duration {
    Duration::from_millis(1 << attempts.min(DOUBLINGS))
}

/// Whether another attempt cannot apply it twice: reads change nothing, and a session's writes are deduplicated.
pub fn may_repeat(call: &Call) -> bool {
    call.class == Class::Read || call.prelude.session != SessionId(0)
}

/// The fate of an attempt that another node refused.
pub fn fate_of_refusal(call: &Call, error: ErrorReply) -> Fate {
    match error.code() {
        ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::NotReady | ErrorCode::Draining => Fate::NotTaken,
        ErrorCode::Unknown if may_repeat(call) => Fate::Lost,
        _ => Fate::Answered(error.into()),
    }
}

/// The answer that holds for all attempts of a request: an error that denies only the last attempt becomes `Unknown` if an
/// earlier one may have been applied.
pub(super) fn true_of_all_attempts(call: &Call, answer: Answer) -> Answer {
    if call.repeated && call.class != Class::Read && denies_this_attempt_only(&answer) {
        return unknown("an earlier attempt of this request may have been applied").into();
    }
    answer
}

/// The outcome of a request whose fate is unknown.
pub(super) fn unknown(text: &str) -> Outcome {
    Outcome::Error(ErrorReply::new(
        ErrorCode::Unknown,
        format!("{text}; repeat it under the same session and number to learn its outcome"),
    ))
}

/// Whether the answer denies only the last attempt, not earlier ones under the same number.
fn denies_this_attempt_only(answer: &Answer) -> bool {
    let Answer::Outcome(Outcome::Error(error)) = answer else {
        return false;
    };
    error.code().fate() == protocol::Fate::NotApplied && error.code().earlier() == Earlier::Unsaid
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::lock::Released;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use kahuna_protocol::{GroupId, RequestPrelude};

    use super::super::reply::Reply;
    use super::super::work::Work;
    use super::*;

    fn call(class: Class, session: u64, repeated: bool) -> Call {
        Call {
            group: GroupId(1),
            kind: 0x0103,
            class,
            grows: false,
            prelude: RequestPrelude { session: SessionId(session), ..RequestPrelude::default() },
            body: Bytes::new(),
            deadline: Duration::from_secs(9),
            forwarded: false,
            repeated,
            attempts: 0,
        }
    }

    /// The error of a request that `end` ends.
    fn told(call: Call, end: impl FnOnce(Work)) -> Result<Outcome, ErrorCode> {
        let (reply, answer) = Reply::to_task();
        end(Work { call, reply });
        let Poll::Ready(answer) = pin!(answer).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("an answer was expected");
        };
        match answer.into_outcome() {
            Outcome::Error(error) => Err(error.code()),
            outcome => Ok(outcome),
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
        let end = |work: Work| {
            let again = work.after_loss().expect("safe to repeat");
            assert_eq!(again.call.attempts, 1);
            again.time_out();
        };
        assert_eq!(told(call(Class::Write, 5, false), end), Err(ErrorCode::Unknown));
        assert_eq!(told(call(Class::Read, 0, false), end), Err(ErrorCode::NoLeader));
        let lost = |work: Work| assert!(work.after_loss().is_none());
        assert_eq!(told(call(Class::Write, 0, false), lost), Err(ErrorCode::Unknown));
        assert_eq!(told(call(Class::System, 0, false), lost), Err(ErrorCode::Unknown));
    }

    #[test]
    fn a_request_that_is_dropped_is_unknown() {
        assert_eq!(told(call(Class::Write, 5, false), drop), Err(ErrorCode::Unknown));
    }
}
