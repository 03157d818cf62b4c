//! Claim: no write is refused for its time by a partition whose time is not the client's, and none is applied twice for it.

use std::time::Duration;

use kahuna_client::core::RequestToken;
use kahuna_client::protocol::limits::MAX_VALID_FOR_MS;
use kahuna_client::protocol::{ErrorCode, Hlc};
use kahuna_client::{CallOptions, ClientError};

use crate::script::{SERVER_MS, Script, Sent, options, refusal, set, was_set};

const MS: Duration = Duration::from_millis(1);
const HOUR_MS: u64 = 3_600_000;
/// In the first and the last of the four partitions of the scripts' map.
const FIRST: &str = "\u{1}";
const LAST: &str = "\u{10ffff}";

fn hours(script: &Script, ahead: u64) -> Hlc {
    Hlc::from_millis(script.hlc().millis() + ahead * HOUR_MS)
}

fn refuse(script: &mut Script, sent: &Sent, code: ErrorCode, stamp: Hlc) {
    script.reply_with(sent, 0, stamp, &refusal(code).into());
}

/// A write that was refused with `code` by a partition that is an hour ahead, and what went out then.
fn refused_for_time(code: ErrorCode) -> (Script, RequestToken, Sent, Option<Sent>) {
    let (mut script, _) = Script::connected(options());
    let token = script.submit(&set(FIRST));
    let first = script.take_sent();
    let stamp = hours(&script, 1);
    refuse(&mut script, &first, code, stamp);
    let again = script.sent.pop();
    (script, token, first, again)
}

#[test]
fn what_came_too_late_goes_out_once_more_as_a_new_write() {
    for code in [ErrorCode::Expired, ErrorCode::Forgotten] {
        let (mut script, token, first, again) = refused_for_time(code);
        let again = again.unwrap_or_else(|| panic!("after {code}"));
        assert_eq!(again.prelude.valid_until_ms, hours(&script, 1).millis() + 10_000, "twice its five seconds");
        assert_eq!((first.prelude.number, again.prelude.number), (1, 2));
        assert_eq!(again.prelude.acknowledged, 2, "nobody sends the first one again");
        assert_eq!(again.request, first.request);
        script.reply(&again, was_set(4));
        let done = script.done.pop().expect("done");
        assert_eq!((done.0, done.1.expect("applied").outcome), (token, was_set(4)));
    }
}

#[test]
fn what_lay_too_far_ahead_goes_out_once_more_and_bad_input_does_not() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set(FIRST));
    let first = script.take_sent();
    let stamp = Hlc::from_millis(first.prelude.valid_until_ms - MAX_VALID_FOR_MS - 1);
    refuse(&mut script, &first, ErrorCode::BadRequest, stamp);
    let again = script.take_sent();
    assert_eq!(again.prelude.valid_until_ms, stamp.millis() + 10_000);
    refuse(&mut script, &again, ErrorCode::BadRequest, stamp);
    assert_eq!(script.take_done().expect_err("its input is bad").code(), Some(ErrorCode::BadRequest));
}

#[test]
fn after_a_lost_attempt_only_expired_lets_it_go_out_as_a_new_one() {
    for code in [ErrorCode::Expired, ErrorCode::Forgotten, ErrorCode::BadRequest] {
        let (mut script, connection) = Script::connected(options());
        script.submit(&set(FIRST));
        script.take_sent();
        script.disconnect(connection);
        script.welcome("n2:1", 2, 0);
        let repeat = script.take_sent();
        let stamp = match code {
            ErrorCode::BadRequest => Hlc::from_millis(SERVER_MS - HOUR_MS),
            _ => hours(&script, 1),
        };
        refuse(&mut script, &repeat, code, stamp);
        if code == ErrorCode::Expired {
            assert_eq!((repeat.prelude.number, script.take_sent().prelude.number), (1, 2));
        } else {
            assert!(script.sent.is_empty(), "an earlier attempt may have been applied");
            assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })), "{code}");
        }
    }
}

#[test]
fn the_refusal_itself_tells_the_time_where_no_map_names_the_partition() {
    let mut script = Script::new(options());
    script.map.ranges.ranges.clear();
    script.submit(&set(FIRST));
    script.welcome("n1:1", 1, 0);
    let first = script.take_sent();
    let stamp = hours(&script, 1);
    refuse(&mut script, &first, ErrorCode::Forgotten, stamp);
    assert_eq!(script.take_sent().prelude.valid_until_ms, stamp.millis() + 10_000);
}

#[test]
fn a_partition_that_refuses_again_and_again_has_its_way() {
    let (mut script, _, _, mut next) = refused_for_time(ErrorCode::Expired);
    let mut numbers = Vec::new();
    while let Some(sent) = next {
        numbers.push(sent.prelude.number);
        let stamp = Hlc::from_millis(sent.prelude.valid_until_ms + 1);
        refuse(&mut script, &sent, ErrorCode::Expired, stamp);
        next = script.sent.pop();
    }
    assert_eq!(numbers, [2, 3, 4]);
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::Expired));
}

#[test]
fn a_new_write_has_only_what_is_left_of_the_time() {
    let (mut script, _) = Script::connected(options());
    script.submit_with(&set(FIRST), CallOptions { timeout: Some(500 * MS), ..CallOptions::default() });
    let first = script.take_sent();
    script.pass(400 * MS);
    let stamp = hours(&script, 1);
    refuse(&mut script, &first, ErrorCode::Expired, stamp);
    assert_eq!(script.take_sent().prelude.timeout_ms, 100);
    script.advance(100 * MS);
    assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })));
}

#[test]
fn the_time_of_a_partition_is_nobody_elses() {
    let (mut script, _, _, again) = refused_for_time(ErrorCode::Expired);
    let stamp = hours(&script, 1);
    script.reply_with(&again.expect("sent again"), 0, stamp, &was_set(1));
    script.done.clear();
    script.submit(&set(LAST));
    let other = script.take_sent();
    assert_eq!(other.prelude.valid_until_ms, script.hlc().millis() + 10_000);
    assert_eq!(other.header.hlc, script.hlc(), "nor is it sent to nodes");
    script.submit(&set(FIRST));
    assert_eq!(script.take_sent().prelude.valid_until_ms, hours(&script, 1).millis() + 10_000);
}

#[test]
fn a_node_of_another_cluster_does_not_tell_the_time() {
    let mut script =
        Script::new(kahuna_client::Options { cluster: kahuna_client::protocol::ClusterId([9; 16]), ..options() });
    script.submit(&set(FIRST));
    script.pass(MS);
    script.welcome("n1:1", 1, 0);
    assert_eq!((script.closed.len(), script.core.hlc()), (1, Hlc::ZERO));
}

#[test]
fn a_node_whose_clock_was_ahead_is_believed_until_the_next_answer() {
    let (mut script, connection) = Script::connected(options());
    script.disconnect(connection);
    script.submit(&set(FIRST));
    let ahead = hours(&script, 1);
    script.welcome_at(ahead, "n2:1", 2, 0);
    let sent = script.take_sent();
    assert_eq!(sent.prelude.valid_until_ms, ahead.millis() + 10_000);
    script.reply(&sent, refusal(ErrorCode::BadRequest));
    let again = script.take_sent();
    assert_eq!(again.prelude.valid_until_ms, script.hlc().millis() + 10_000);
    script.reply(&again, was_set(1));
    assert_eq!(script.take_done().expect("applied").outcome, was_set(1));
}
