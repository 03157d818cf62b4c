//! Claim: a client that no node lets in hears why at once; where one may still let it in, it goes on trying.

use std::time::Duration;

use kahuna_client::protocol::ErrorCode;
use kahuna_client::{CallOptions, ClientError, Options};

use crate::script::{Script, get, options, set, was_set};

const MS: Duration = Duration::from_millis(1);

fn two_nodes() -> Options {
    Options::new(["n1:1", "n2:1"])
}

/// The only request, ended by a refusal.
fn refused(script: &mut Script) -> (ErrorCode, String) {
    match script.take_done() {
        Err(ClientError::Refused(reply)) => (reply.code(), reply.text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_is_refused_at_every_door_hears_why_at_once() {
    for code in [ErrorCode::BadRequest, ErrorCode::WrongCluster, ErrorCode::BadVersion] {
        for request in [get("k"), set("k")] {
            let mut script = Script::new(two_nodes());
            script.submit(&request);
            script.turn_away("n1:1", code);
            assert!(script.done.is_empty(), "the other one may be right");
            script.turn_away("n2:1", code);
            let (told, text) = refused(&mut script);
            assert_eq!(told, code);
            assert!(text.contains("n1:1: as the script says; n2:1: as the script says"), "{text}");
        }
    }
}

#[test]
fn one_good_door_is_enough() {
    let mut script = Script::new(two_nodes());
    script.submit(&get("k"));
    script.turn_away("n1:1", ErrorCode::BadRequest);
    script.welcome("n2:1", 2, 0);
    script.take_sent();
    assert!(script.done.is_empty());
}

#[test]
fn a_node_that_is_away_may_be_the_right_one() {
    let mut script = Script::new(two_nodes());
    script.submit(&get("k"));
    script.turn_away("n1:1", ErrorCode::BadRequest);
    let away = script.open("n2:1");
    script.disconnect(away);
    assert!(script.done.is_empty());
    for _ in 0..100 {
        script.advance(10 * MS);
        while let Some((_, endpoint)) = script.opens.first().cloned() {
            if endpoint == "n2:1" {
                script.welcome("n2:1", 2, 0);
                script.take_sent();
                return;
            }
            script.turn_away("n1:1", ErrorCode::BadRequest);
        }
    }
    panic!("it is tried again");
}

#[test]
fn what_was_damaged_on_the_way_is_said_again() {
    let mut script = Script::new(Options::new(["n1:1"]));
    script.submit(&get("k"));
    script.turn_away("n1:1", ErrorCode::BadFrame);
    script.advance(300 * MS);
    script.welcome("n1:1", 1, 0);
    script.take_sent();
}

#[test]
fn a_door_that_was_closed_is_tried_again_by_a_later_request() {
    let mut script = Script::new(Options::new(["n1:1"]));
    script.submit(&get("k"));
    script.turn_away("n1:1", ErrorCode::WrongCluster);
    refused(&mut script);
    script.submit(&get("soon after"));
    assert_eq!(refused(&mut script).0, ErrorCode::WrongCluster, "without another try so soon");
    script.pass(300 * MS);
    script.submit(&get("later"));
    script.welcome("n1:1", 1, 0);
    script.take_sent();
}

#[test]
fn a_request_to_one_node_ends_with_that_nodes_refusal() {
    let (mut script, connection) = Script::connected(options());
    let pinned = CallOptions { endpoint: Some("elsewhere:1".to_owned()), ..CallOptions::default() };
    script.submit_with(&get("k"), pinned);
    script.submit(&get("k"));
    let other = script.take_sent();
    assert_eq!(other.connection, connection);
    script.turn_away("elsewhere:1", ErrorCode::BadRequest);
    let (code, text) = refused(&mut script);
    assert_eq!((code, text.starts_with("elsewhere:1: ")), (ErrorCode::BadRequest, true), "{text}");
}

#[test]
fn a_write_that_may_have_been_applied_stays_unknown() {
    let mut script = Script::new(Options::new(["n1:1"]));
    script.map.nodes.clear();
    script.submit(&set("k"));
    let connection = script.welcome("n1:1", 1, 0);
    let sent = script.take_sent();
    script.disconnect(connection);
    script.advance(300 * MS);
    script.turn_away("n1:1", ErrorCode::WrongCluster);
    assert!(matches!(script.take_done(), Err(ClientError::Unknown { .. })));
    script.reply(&sent, was_set(1));
    assert!(script.done.is_empty());
}
