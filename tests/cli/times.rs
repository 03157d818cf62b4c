//! Times by the servers' clock.

use super::support::Node;

/// What a table says of a deadline: in so many seconds.
fn seconds_left(node: &Node, line: &str) -> f64 {
    let shown = node.run(&format!("{line} -o table"));
    let left =
        shown.text().split_once("(in ").and_then(|(_, rest)| rest.split_once(" s)")).map(|(left, _)| left.parse());
    left.unwrap_or_else(|| panic!("{line}: {shown:?}")).expect("a number")
}

/// Claim: where the node's clock is not the one of who asks, deadlines are said from the node's now, and a time ago is so long
/// before it.
#[test]
fn times_are_said_by_the_clock_of_the_node() {
    for offset in ["3600000", "-3600000"] {
        let node = Node::start_with(&["--wall-clock-offset-ms", offset]);
        node.expect("set b/a 1", 0, "set");
        for line in ["lock acquire l --owner me --ttl 1000s", "lock extend l --owner me --ttl 1000s", "lock info l"] {
            let left = seconds_left(&node, line);
            assert!(left > 0.0 && left <= 1000.0, "{offset}, {line}: {left} s");
        }
        assert_eq!(node.expect("get b/a --as-of 0s", 0, "value")["value"], "1");
        node.expect("exists b/a --as-of 0s", 0, "exists");
        node.expect("exists b/a --as-of 1000s", 3, "not_found");
        assert_eq!(node.run("scan b/ --as-of 0s --keys-only").text(), "b/a\n");
        assert_eq!(node.run("scan b/ --as-of 1000s --keys-only").text(), "");
    }
}
