//! Sequences.

use serde_json::json;

use super::support::Node;

/// Claim: values come once each, in order, in blocks where asked for; a sequence ends at its bound and its name can start
/// again under a higher incarnation.
#[test]
fn a_sequences_life() {
    let node = Node::start();
    node.expect("seq next s", 3, "not_found");
    let created = node.expect("seq create s --initial 10 --increment 5 --max 40", 0, "created");
    assert_eq!(node.expect("seq create s", 3, "exists")["value"], 10);
    assert_eq!(node.run("seq next s").text(), "15\n");
    let block = node.expect("seq reserve s 3", 0, "allocated");
    assert_eq!([&block["start"], &block["end"], &block["count"]], [&json!(20), &json!(30), &json!(3)]);
    let exhausted = node.expect("seq reserve s 3", 3, "exhausted");
    assert_eq!((&exhausted["value"], &exhausted["remaining"]), (&json!(30), &json!(2)));
    assert_eq!(node.run("seq reserve s 2").text(), "35 40\n");
    let state = node.expect("seq get s", 0, "value");
    assert_eq!([&state["value"], &state["increment"], &state["max"]], [&json!(40), &json!(5), &json!(40)]);
    node.expect("seq del s", 0, "deleted");
    node.expect("seq get s", 3, "not_found");
    let again = node.expect("seq create s", 0, "created");
    assert!(again["incarnation"].as_u64() > created["incarnation"].as_u64());
}

/// Claim: sequences count down; an idempotency key returns the first allocation, and refuses another one.
#[test]
fn counting_down_and_repeating() {
    let node = Node::start();
    node.expect("seq create s --initial -5 --increment -1 --max -9", 0, "created");
    assert_eq!(node.run("seq next s --idempotency-key k").text(), "-6\n");
    assert_eq!(node.run("seq next s --idempotency-key k").text(), "-6\n");
    assert_eq!(node.expect("seq reserve s 2 --idempotency-key k", 9, "error")["code"], "conflict");
    assert_eq!(node.run("seq next s").text(), "-7\n");
    assert_eq!(node.expect("seq create t --increment 0", 2, "error")["code"], "bad_request");
}
