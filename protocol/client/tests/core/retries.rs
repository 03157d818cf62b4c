//! Claim: the client asks again when it helps, as often as it helps, and keeps to what a connection may carry.

use std::time::Duration;

use kahuna_client::protocol::{ErrorCode, ErrorReply};
use kahuna_client::{CallOptions, Options};

use crate::script::{Script, get, options, refusal, set, was_set};

const MS: Duration = Duration::from_millis(1);

#[test]
fn the_acknowledged_mark_rises_only_in_order() {
    let (mut script, _) = Script::connected(options());
    for key in ["a", "b", "c"] {
        script.submit(&set(key));
    }
    let sent = std::mem::take(&mut script.sent);
    assert_eq!(sent.iter().map(|sent| sent.prelude.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(sent.iter().all(|sent| sent.prelude.acknowledged == 1));
    let mark_after = |script: &mut Script, answered: usize| {
        script.reply(&sent[answered], was_set(1));
        script.submit(&set("next"));
        let next = script.take_sent();
        script.reply(&next, was_set(1));
        next.prelude.acknowledged
    };
    assert_eq!(mark_after(&mut script, 1), 1, "number 1 is still open");
    assert_eq!(mark_after(&mut script, 0), 3, "number 3 is still open");
    assert_eq!(mark_after(&mut script, 2), 6, "only the sender itself is open");
}

#[test]
fn busy_waits_as_long_as_it_was_told() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set("k"));
    let sent = script.take_sent();
    script.reply(&sent, ErrorReply { retry_after_ms: 400, ..refusal(ErrorCode::Busy) });
    script.advance(399 * MS);
    assert!(script.sent.is_empty());
    script.advance(MS);
    script.take_sent();
}

#[test]
fn pauses_grow_without_advice() {
    let (mut script, _) = Script::connected(options());
    script.submit(&set("k"));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let sent = script.take_sent();
        let before = script.now.elapsed;
        script.reply(&sent, refusal(ErrorCode::Busy));
        while script.sent.is_empty() {
            script.advance(MS);
        }
        pauses.push(script.now.elapsed - before);
    }
    assert!(pauses[0] <= 6 * MS, "{pauses:?}");
    assert!(pauses[7] >= 125 * MS && pauses[7] <= 251 * MS, "{pauses:?}");
}

#[test]
fn a_silent_connection_is_given_up_and_its_requests_go_elsewhere() {
    let (mut script, first) = Script::connected(options());
    script.pass(MS);
    script.submit(&set("a"));
    script.submit(&get("b"));
    assert_eq!(std::mem::take(&mut script.sent).len(), 2);
    script.advance(1499 * MS);
    assert!(script.closed.is_empty());
    script.advance(MS);
    assert_eq!(script.closed, [first]);
    script.welcome("n2:1", 2, 0);
    assert_eq!(script.sent.len(), 2);
}

#[test]
fn a_slow_request_does_not_end_a_connection_that_answers_others() {
    let (mut script, _) = Script::connected(options());
    script.pass(MS);
    script.submit(&set("slow"));
    let slow = script.take_sent();
    script.advance(700 * MS);
    script.submit(&get("fast"));
    let fast = script.take_sent();
    script.reply(&fast, refusal(ErrorCode::BadRequest));
    script.take_done().expect_err("refused");
    script.advance(800 * MS);
    assert!(script.closed.is_empty());
    // The slow one looks for another node, under the same number.
    script.welcome("n2:1", 2, 0);
    script.advance(300 * MS);
    let again = script.take_sent();
    assert_eq!(again.prelude.number, slow.prelude.number);
    script.reply(&again, was_set(1));
    script.take_done().expect("set");
}

#[test]
fn what_a_connection_may_not_carry_waits_in_order() {
    let mut script = Script::new(options());
    script.limits.connection_in_flight = 2;
    for key in ["a", "b", "c", "d", "e"] {
        script.submit(&set(key));
    }
    script.welcome("n1:1", 1, 0);
    let mut answered = 0;
    while answered < 5 {
        assert!(script.sent.len() <= 2);
        let next = script.sent.remove(0);
        answered += 1;
        assert_eq!(next.prelude.number, answered);
        script.reply(&next, was_set(1));
    }
    assert_eq!(script.done.len(), 5);
}

#[test]
fn bytes_in_flight_are_bounded_too() {
    let mut script = Script::new(options());
    script.limits.connection_in_flight_bytes = 300;
    for key in ["a", "b", "c", "d"] {
        script.submit(&set(key));
    }
    script.welcome("n1:1", 1, 0);
    let each = 32 + script.sent[0].header.length as usize;
    assert_eq!(script.sent.len(), 300 / each);
    script.advance(Duration::from_secs(6));
    assert_eq!(script.done.len(), 4, "those that wait end at their deadline too");
}

#[test]
fn a_request_over_the_frame_limit_is_refused_here() {
    let mut script = Script::new(options());
    script.limits.max_frame_bytes = 100;
    script.submit(&set(&"k".repeat(100)));
    script.welcome("n1:1", 1, 0);
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::TooLarge));
    assert!(script.sent.is_empty());
}

#[test]
fn more_than_max_pending_is_busy() {
    let mut script = Script::new(Options { max_pending: 2, ..options() });
    script.submit(&set("a"));
    script.submit(&set("b"));
    script.submit(&set("c"));
    assert_eq!(script.take_done().expect_err("refused").code(), Some(ErrorCode::Busy));
    assert_eq!(script.core.pending(), 2);
}

#[test]
fn garbage_ends_the_connection_and_the_request_goes_on() {
    let (mut script, first) = Script::connected(options());
    script.submit(&set("k"));
    let lost = script.take_sent();
    script.receive(first, b"HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(script.closed, [first]);
    script.welcome("n2:1", 2, 0);
    let again = script.take_sent();
    assert_eq!(again.prelude.number, lost.prelude.number);
}

#[test]
fn a_forgotten_request_is_not_sent_again_and_frees_its_number() {
    let (mut script, first) = Script::connected(options());
    let token = script.submit(&set("k"));
    script.take_sent();
    script.core.forget(token);
    script.disconnect(first);
    script.advance(Duration::from_secs(6));
    assert!(script.sent.is_empty() && script.done.is_empty());
    script.submit(&set("k"));
    script.welcome("n2:1", 2, 0);
    assert_eq!(script.take_sent().prelude.acknowledged, 2);
}

#[test]
fn valid_until_follows_the_servers_clock() {
    let (mut script, _) = Script::connected(options());
    script.submit_with(&set("k"), CallOptions { timeout: Some(3000 * MS), ..CallOptions::default() });
    let sent = script.take_sent();
    assert_eq!(sent.prelude.valid_until_ms, script.hlc().millis() + 6000);
    assert_eq!(sent.header.hlc, script.hlc(), "the highest stamp seen");
}

#[test]
fn a_lone_node_that_comes_back_is_asked_again() {
    let mut script = Script::new(Options::new(["n1:1"]));
    script.map.nodes.clear();
    script.submit(&get("k"));
    let connection = script.welcome("n1:1", 1, 0);
    script.take_sent();
    script.disconnect(connection);
    script.advance(300 * MS);
    script.welcome("n1:1", 1, 0);
    script.take_sent();
}
