//! Claim: what the client says about a request's fate is true, and no more than it knows.

use std::time::Duration;

use kahuna_client::ClientError;
use kahuna_client::protocol::key::{Condition, KeySet};
use kahuna_client::protocol::limits::MAX_BODY_BYTES;
use kahuna_client::protocol::{ErrorCode, Hlc, SessionId};

use crate::script::{SESSION, Script, get, options, refusal, set, was_set};

const SECOND: Duration = Duration::from_secs(1);

/// One write whose first attempt was lost after it was sent, and whose second one just went out.
fn after_a_lost_attempt() -> (Script, crate::script::Sent) {
    let (mut script, first) = Script::connected(options());
    script.submit(&set("k"));
    script.take_sent();
    script.disconnect(first);
    script.welcome("n2:1", 2, 0);
    let again = script.take_sent();
    (script, again)
}

#[test]
fn a_repeat_carries_the_same_identity_and_its_recorded_outcome_counts() {
    let (mut script, first) = Script::connected(options());
    script.submit(&set("k"));
    let lost = script.take_sent();
    assert_eq!((lost.prelude.session, lost.prelude.number), (SESSION, 1));
    script.pass(Duration::from_millis(30));
    script.disconnect(first);
    let second = script.welcome("n2:1", 2, 0);
    let again = script.take_sent();
    assert_eq!(again.connection, second);
    assert_ne!(again.header.request_id, lost.header.request_id);
    assert_eq!(again.prelude.session, lost.prelude.session);
    assert_eq!(again.prelude.number, lost.prelude.number);
    assert_eq!(again.prelude.valid_until_ms, lost.prelude.valid_until_ms);
    assert_eq!(again.request, lost.request);
    script.reply(&again, was_set(4));
    assert_eq!(script.take_done().expect("recorded").outcome, was_set(4));
}

#[test]
fn after_a_lost_attempt_a_refusal_says_nothing_about_it() {
    for code in [ErrorCode::BadRequest, ErrorCode::Forgotten, ErrorCode::Conflict, ErrorCode::Unsupported] {
        let (mut script, again) = after_a_lost_attempt();
        script.reply(&again, refusal(code));
        assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })), "{code}");
    }
}

#[test]
fn expired_is_certain_even_after_a_lost_attempt() {
    let (mut script, again) = after_a_lost_attempt();
    script.reply_with(&again, 0, Hlc::ZERO, &refusal(ErrorCode::Expired).into());
    assert_eq!(script.take_done().expect_err("expired").code(), Some(ErrorCode::Expired));
}

#[test]
fn a_lost_attempt_and_busy_nodes_until_the_deadline_are_unknown() {
    let (mut script, again) = after_a_lost_attempt();
    script.reply(&again, refusal(ErrorCode::Busy));
    while script.done.is_empty() {
        script.advance(SECOND / 100);
        for sent in std::mem::take(&mut script.sent) {
            script.reply(&sent, refusal(ErrorCode::Busy));
        }
    }
    assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })));
}

#[test]
fn an_unknown_reply_is_asked_again_and_stays_unknown_without_an_outcome() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set("k"));
    let first = script.take_sent();
    script.reply(&first, refusal(ErrorCode::Unknown));
    script.advance(SECOND / 10);
    let again = script.take_sent();
    assert_eq!(again.prelude.number, first.prelude.number);
    script.reply(&again, refusal(ErrorCode::TooLarge));
    assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })));
}

#[test]
fn only_refusals_until_the_deadline_are_that_refusal() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set("k"));
    let mut attempts = 0;
    while script.done.is_empty() {
        for sent in std::mem::take(&mut script.sent) {
            attempts += 1;
            script.reply(&sent, refusal(ErrorCode::Overloaded));
        }
        script.advance(SECOND / 100);
    }
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::Overloaded));
    assert!((20..200).contains(&attempts), "{attempts} attempts in 5 s with pauses up to 250 ms");
}

#[test]
fn a_request_that_never_left_is_unavailable_and_ends_at_its_deadline() {
    let mut script = Script::new(options());
    script.submit(&set("k"));
    script.advance(5 * SECOND - Duration::from_millis(1));
    for (connection, _) in std::mem::take(&mut script.opens) {
        script.disconnect(connection);
    }
    assert!(script.done.is_empty());
    script.advance(Duration::from_millis(1));
    match script.take_done() {
        Err(ClientError::Unavailable { text }) => assert!(text.contains("reset by the script"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(script.core.next_wakeup().is_none_or(|at| at > script.now.elapsed));
}

#[test]
fn a_write_that_is_out_at_its_deadline_is_unknown() {
    let (mut script, _) = Script::connected(options());
    let options = kahuna_client::CallOptions { timeout: Some(SECOND / 2), ..Default::default() };
    script.submit_with(&set("k"), options);
    let sent = script.take_sent();
    assert_eq!(sent.prelude.timeout_ms, 500);
    script.advance(SECOND / 2);
    assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })));
    script.reply(&sent, was_set(1));
    assert!(script.done.is_empty(), "a late answer is nobody's");
}

#[test]
fn a_read_is_never_unknown() {
    let (mut script, first) = Script::connected(options());
    script.submit(&get("k"));
    let sent = script.take_sent();
    assert_eq!((sent.prelude.session, sent.prelude.number, sent.prelude.valid_until_ms), (SessionId(0), 0, 0));
    script.disconnect(first);
    script.advance(6 * SECOND);
    assert!(matches!(script.take_done(), Err(ClientError::Unavailable { .. })));
}

#[test]
fn commands_of_the_system_are_refused_here() {
    let mut script = Script::new(options());
    script.submit(&kahuna_client::protocol::meta::Tick { to: 1 }.into());
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::BadRequest));
    assert!(script.opens.is_empty());
}

#[test]
fn a_value_beyond_every_limit_is_refused_here() {
    let mut script = Script::new(options());
    let (key, value, condition) = (b"k".to_vec(), vec![0; MAX_BODY_BYTES + 1], Condition::default());
    script.submit(&KeySet { key, value, ttl_ms: None, condition, no_history: false }.into());
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::TooLarge));
    assert!(script.opens.is_empty());
}

#[test]
fn no_time_is_too_long_for_the_arithmetic() {
    let most = Duration::MAX;
    for backoff in [Duration::ZERO, most] {
        let mut script = Script::new(kahuna_client::Options {
            timeout: most,
            attempt_timeout: most,
            connect_timeout: most,
            backoff_min: backoff,
            backoff_max: backoff,
            ..options()
        });
        script.submit_with(&set("k"), kahuna_client::CallOptions { timeout: Some(most), ..Default::default() });
        let first = script.welcome("n1:1", 1, 0);
        script.take_sent();
        script.disconnect(first);
        let second = script.welcome("n2:1", 2, 0);
        let again = script.take_sent();
        assert_eq!(again.connection, second);
        script.reply(&again, was_set(1));
        assert_eq!(script.take_done().expect("recorded").outcome, was_set(1));
    }
}
