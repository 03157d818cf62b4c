//! Keys.

use serde_json::json;

use super::support::Node;

/// Claim: a key's life: written, read, prolonged, made lasting, removed; revisions rise over all of it.
#[test]
fn a_keys_life() {
    let node = Node::start();
    assert_eq!(node.expect("get a", 3, "not_found")["revision"], 0);
    assert_eq!(node.expect("set a 1", 0, "set")["revision"], 1);
    let value = node.expect("get a", 0, "value");
    assert_eq!((&value["value"], &value["revision"]), (&json!("1"), &json!(1)));
    assert!(value["modified"].is_string() && value.get("deadline").is_none(), "{value}");
    assert_eq!(node.expect("exists a", 0, "exists")["revision"], 1);
    let deadline = node.expect("extend a --ttl 60s", 0, "extended")["deadline"].as_u64().expect("a deadline");
    assert_eq!(node.expect("get a", 0, "value")["deadline"], deadline);
    assert_eq!(node.expect("persist a", 0, "persisted")["revision"], 1);
    assert!(node.expect("get a", 0, "value").get("deadline").is_none());
    assert_eq!(node.expect("append a 23 --if-value 1", 0, "set")["revision"], 2);
    assert_eq!(node.expect("get a", 0, "value")["value"], "123");
    assert_eq!(node.expect("append b 1 --xx", 3, "not_set")["why"], "absent");
    assert_eq!(node.expect("del a", 0, "deleted")["revision"], 3);
    assert_eq!(node.expect("get a", 3, "not_found")["revision"], 3);
    assert_eq!(node.expect("del a", 3, "not_found")["revision"], 3);
    node.expect("exists a", 3, "not_found");
    node.expect("extend a --ttl 1s", 3, "not_found");
    assert_eq!(node.expect("kv set a 2", 0, "set")["revision"], 4);
    assert_eq!(node.expect("kv get a --revision 1", 0, "value")["value"], "1");
}

/// Claim: a condition that does not hold changes nothing, says why, and exits with 3.
#[test]
fn conditions() {
    let node = Node::start();
    assert_eq!(node.expect("set a 1 --xx", 3, "not_set")["why"], "absent");
    node.expect("set a 1 --nx", 0, "set");
    assert_eq!(node.expect("set a 2 --nx", 3, "not_set")["why"], "present");
    assert_eq!(node.expect("set a 2 --if-value 9", 3, "not_set")["why"], "value");
    assert_eq!(node.expect("set a 2 --if-value 1 --if-revision 1", 0, "set")["revision"], 2);
    assert_eq!(node.expect("del a --if-revision 1", 3, "not_set")["why"], "revision");
    assert_eq!(node.expect("set a 3 --if-lock a:1", 3, "not_set")["why"], "lock");
    let token = node.expect("lock acquire a --owner me --ttl 60s", 0, "acquired")["token"].clone();
    node.expect(&format!("set a 3 --if-lock a:{token}"), 0, "set");
    assert_eq!(node.run("set a 4 --nx --xx").code, 2);
    assert_eq!(node.expect("set a 4 --if-lock other:1", 2, "error")["code"], "bad_request");
}

/// Claim: a time to live ends, and a set without one clears it.
#[test]
fn a_time_to_live() {
    let node = Node::start();
    assert!(node.expect("set a 1 --ttl 60s", 0, "set").get("deadline").is_none());
    assert!(node.expect("get a", 0, "value")["deadline"].is_u64());
    node.expect("set a 2", 0, "set");
    assert!(node.expect("get a", 0, "value").get("deadline").is_none());
    node.expect("set b 1 --ttl 1ms", 0, "set");
    while node.run("get b").code == 0 {}
    node.expect("get b", 3, "not_found");
}

/// Claim: values are bytes: what stdin gives comes out of `raw` unchanged, and of JSON in base64.
#[test]
fn values_are_bytes() {
    let node = Node::start();
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    assert_eq!(node.run_with("set a -", &bytes).code, 0);
    assert!(node.run("get a -o raw").out == bytes);
    let json = node.expect("get a", 0, "value");
    assert!(
        json.get("value").is_none() && json["value_base64"].as_str().is_some_and(|text| text.starts_with("AAECAw"))
    );
    node.run_with("set empty -", b"");
    assert_eq!(node.expect("get empty", 0, "value")["value"], "");
    let large = node.run_with("set a - -o json", &vec![0; (1 << 20) + 1]);
    assert_eq!((large.code, &large.json()["code"]), (2, &json!("too_large")));
}

/// Claim: a scan lists one bucket in name order over all its pages, says so, and never cuts silently.
#[test]
fn scans() {
    let node = Node::start();
    for name in ["b/3", "b/1", "b/2", "b/10", "b/c/1", "b", "other/1"] {
        node.expect(&format!("set {name} v{name}"), 0, "set");
    }
    let all = node.run("scan b/");
    assert_eq!(all.text(), "b/1\tvb/1\nb/10\tvb/10\nb/2\tvb/2\nb/3\tvb/3\n");
    assert!(all.err.contains("bucket \"b\""), "{all:?}");
    assert_eq!(node.run("scan b/1 --keys-only").text(), "b/1\nb/10\n");
    let cut = node.run("scan b/ --limit 2 --keys-only");
    assert_eq!(cut.text(), "b/1\nb/10\n");
    assert!(cut.err.contains("more keys"), "{cut:?}");
    let json = node.expect("scan b/ --limit 3", 0, "page");
    assert_eq!((json["items"].as_array().map(Vec::len), &json["more"]), (Some(3), &json!(true)));
    assert_eq!(json["items"][0]["key"], "b/1");
    assert_eq!(node.expect("scan none/", 0, "page")["items"], json!([]));
    let lines = node.run("scan b/ -o jsonl");
    assert_eq!(lines.text().lines().count(), 4);
    assert!(lines.text().starts_with("{\"key\":\"b/1\",\"value\":\"vb/1\",\"revision\":1,"), "{lines:?}");
    let everything = node.run("scan b");
    assert_eq!(everything.code, 2);
    assert!(everything.err.contains("unsupported as yet"), "{everything:?}");
}

/// Claim: a scan of more keys than a page takes gives each once.
#[test]
fn a_scan_of_many_pages() {
    let node = Node::start();
    let client =
        kahuna::client::blocking::Client::new(kahuna::client::Options::new([&node.endpoint])).expect("a client");
    let key = |number: u32| format!("many/{number:05}");
    let set = |number| {
        let call = kahuna_protocol::key::KeySet {
            key: key(number).into_bytes(),
            value: b"v".to_vec(),
            ttl_ms: None,
            condition: kahuna_protocol::key::Condition::default(),
            no_history: false,
        };
        client.submit(call, kahuna::client::CallOptions::default())
    };
    let pending: Vec<_> = (0..2500).map(set).collect();
    for pending in pending {
        pending.wait().expect("served");
    }
    let listed = node.run("scan many/ --keys-only");
    assert_eq!(listed.text().lines().map(str::to_owned).collect::<Vec<_>>(), (0..2500).map(key).collect::<Vec<_>>());
    assert_eq!(node.run("scan many/ --keys-only --limit 1500").text().lines().count(), 1500);
}
