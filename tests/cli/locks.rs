//! Locks.

use super::support::Node;

/// Claim: one holder at a time, by name; tokens rise with each grant; refusals have exit codes of their own.
#[test]
fn a_locks_life() {
    let node = Node::start();
    assert_eq!(node.expect("lock info l", 3, "not_held")["last_token"], 0);
    let first = node.expect("lock acquire l --owner me --ttl 60s", 0, "acquired");
    assert!(first["deadline"].is_u64());
    assert_eq!(node.expect("lock acquire l --owner me --ttl 60s", 0, "acquired")["token"], first["token"]);
    let held = node.expect("lock acquire l --owner you --ttl 60s", 4, "held");
    assert_eq!((&held["owner"], &held["token"]), (&"me".into(), &first["token"]));
    assert!(held["remaining"].as_u64().is_some_and(|ms| ms > 0 && ms <= 60_000), "{held}");
    let info = node.expect("lock info l", 0, "held");
    assert_eq!((&info["owner"], &info["waiters"]), (&"me".into(), &0.into()));
    assert_eq!(node.expect("lock extend l --owner me --ttl 90s", 0, "extended")["token"], first["token"]);
    assert_eq!(node.expect("lock extend l --owner you --ttl 90s", 4, "not_owner")["owner"], "me");
    node.expect("lock release l --owner you", 4, "not_owner");
    node.expect("lock release l --owner me", 0, "released");
    node.expect("lock release l --owner me", 3, "not_held");
    node.expect("lock extend l --owner me --ttl 1s", 3, "not_held");
    let second = node.expect("lock acquire l --owner you --ttl 60s", 0, "acquired");
    assert!(second["token"].as_u64() > first["token"].as_u64());
    assert_eq!(node.run("lock acquire l --owner you --ttl 60s -o raw").text(), second["token"].to_string());
}

/// Claim: an expired lock is another's to take, with a higher token.
#[test]
fn an_expired_lock_is_free() {
    let node = Node::start();
    let first = node.expect("lock acquire l --owner me --ttl 1ms", 0, "acquired");
    let second = loop {
        let ended = node.run("lock acquire l --owner you --ttl 60s -o json");
        match ended.code {
            0 => break ended.json(),
            code => assert_eq!(code, 4, "{ended:?}"),
        }
    };
    assert!(second["token"].as_u64() > first["token"].as_u64());
    node.expect("lock extend l --owner me --ttl 1s", 4, "not_owner");
}

/// Claim: what cannot be meant is refused before or by the node, with 2.
#[test]
fn bad_arguments() {
    let node = Node::start();
    assert_eq!(node.run("lock acquire l --owner me --ttl 30").code, 2, "no unit");
    assert_eq!(node.run("lock acquire l --ttl 30s").code, 2, "no owner");
    assert_eq!(node.expect("lock acquire l --owner me --ttl 0s", 2, "error")["code"], "bad_request");
}
