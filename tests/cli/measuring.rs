//! `bench`.

use serde_json::Value as Json;

use super::support::{Ended, Node, kahuna};

/// Claim: the fields of the JSON output are there, and every workload runs without errors.
#[test]
fn every_workload_is_measured() {
    let node = Node::start();
    for (workload, flags) in [
        ("set", "--in-flight 16 --connections 2"),
        ("get", "--in-flight 16 --keys 100"),
        ("get", "--keys 100 --read lease"),
        ("lock", "--in-flight 8 --keys 100"),
        ("seq", "--in-flight 8"),
        ("set", "--rate 2000 --in-flight 4"),
        ("lock", "--rate 2000 --keys 100"),
    ] {
        let json = node.expect(&format!("bench {workload} {flags} --ops 300"), 0, "measured");
        assert_eq!((&json["ops"], &json["errors"]), (&300.into(), &0.into()), "{workload} {flags}: {json}");
        let figures = ["p50_us", "p99_us", "p999_us", "max_us"].map(|name| json[name].as_f64().expect("a figure"));
        assert!(figures[0] > 0.0 && figures.is_sorted(), "{json}");
        assert!(json["ops_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{json}");
        assert_eq!(json["durability"], "persistent");
    }
    assert_eq!(node.expect("bench get --keys 10 --ops 10 --read lease", 0, "measured")["read_level"], "lease");
}

/// Claim: with as many operations as keys each key is written once, by however many clients.
#[test]
fn each_key_is_written_once() {
    let node = Node::start();
    node.expect("bench set --keys 200 --ops 200 --in-flight 32 --connections 3 --value-bytes 10", 0, "measured");
    for key in [0, 1, 100, 199] {
        let value = node.expect(&format!("get bench-{key}"), 0, "value");
        assert_eq!((&value["revision"], value["value"].as_str().map(str::len)), (&1.into(), Some(10)));
    }
    node.expect("get bench-200", 3, "not_found");
}

/// Claim: what cannot be measured is refused.
#[test]
fn contradictions_are_refused() {
    let node = Node::start();
    assert_eq!(node.run("bench lock --keys 1 --in-flight 2").code, 2);
    assert_eq!(node.run("bench set --in-flight 0").code, 2);
    assert_eq!(node.run("bench set --connections 2 --in-flight 1").code, 2);
    assert_eq!(node.run("bench set --ops 1 --seconds 1").code, 2);
    assert_eq!(node.run("bench set --seconds -1").code, 2);
    assert_eq!(node.run("bench set --connections 1,2 --in-flight 2").code, 2);
    assert_eq!(node.run("bench set --sweep --rate 10").code, 2);
    assert_eq!(node.run("bench set --sweep --in-flight 0").code, 2);
    assert_eq!(node.run("bench set --sweep --connections 0,1 --in-flight 2").code, 2);
    assert_eq!(node.run("bench set --sweep --connections 1,4 --in-flight 2").code, 2);
}

/// Claim: what no machine can do is a usage error that names the bound, before anybody is asked.
#[test]
fn what_is_out_of_bounds_is_refused() {
    for (flags, bound) in [
        ("--seconds 1e19", "31622400"),
        ("--seconds 1e300", "31622400"),
        ("--seconds nan", "31622400"),
        ("--rate 1e-300", "0.001"),
        ("--rate inf", "1000000000"),
        ("--rate nan", "1000000000"),
        ("--in-flight 1000000000000", "1048576"),
        ("--value-bytes 5000000000", "268435456"),
        ("--connections 100000 --in-flight 100000", "4096"),
    ] {
        let output = kahuna().args(["bench", "set"]).args(flags.split(' ')).output();
        let ended = Ended::of(output.expect("the binary runs"));
        assert!(ended.code == 2 && ended.err.contains(bound) && ended.err.len() < 120, "{flags}: {ended:?}");
    }
}

/// Claim: an open loop has under way what its rate needs; one that may not have so much under way says, in every format,
/// that the rate was not kept.
#[test]
fn a_rate_is_kept_or_said_not_to_be() {
    let node = Node::start();
    let kept = node.run("bench set --rate 1000 --ops 300 --connections 2 -o json");
    assert_eq!((kept.code, &kept.json()["late_ops"], kept.err.as_str()), (0, &0.into(), ""), "{kept:?}");
    let starved = "bench set --rate 1000000 --in-flight 2 --ops 300";
    let json = node.run(&format!("{starved} -o json"));
    let late = json.json();
    assert!(late["late_ops"].as_u64().is_some_and(|late| late > 100), "{late}");
    assert!(late["late_max_us"].as_f64().is_some_and(|late| late > 0.0), "{late}");
    let plain = node.run(starved);
    assert!(plain.text().contains("late_ops="), "{plain:?}");
    for ended in [json, plain] {
        assert!(ended.err.contains("was not kept") && ended.err.contains("--in-flight"), "{ended:?}");
    }
    assert_eq!(node.expect("bench set --ops 10", 0, "measured").get("late_ops"), None, "a closed loop has no schedule");
}

/// Claim: a sweep shows one point for each load, load doubling from the number of connections on, and the knee of each number
/// of connections, in every format.
#[test]
fn a_sweep_shows_its_points_and_knees() {
    let node = Node::start();
    let sweep = "bench set --sweep --connections 1,2 --in-flight 6 --ops 50 --keys 50";
    let points = [(1, 1), (1, 2), (1, 4), (1, 6), (2, 2), (2, 4), (2, 6)];
    let json = node.expect(sweep, 0, "swept");
    let load = |point: &Json| (point["connections"].as_u64(), point["in_flight"].as_u64());
    let loads = points.map(|(connections, in_flight)| (Some(connections), Some(in_flight)));
    let measured = json["points"].as_array().expect("points");
    assert_eq!(measured.iter().map(load).collect::<Vec<_>>(), loads, "{json}");
    assert!(measured.iter().all(|point| point["ops"] == 50 && point["errors"] == 0), "{json}");
    let knees = json["knees"].as_array().expect("knees");
    assert_eq!(knees.iter().map(|knee| knee["connections"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)], "{json}");
    for knee in knees {
        assert!(loads.contains(&load(knee)) && knee["is_passed"].is_boolean(), "{json}");
    }

    let lines = node.run(&format!("{sweep} -o jsonl"));
    let lines = lines.text().lines().map(|line| serde_json::from_str::<Json>(line).expect("an object a line"));
    let (points_told, knees_told): (Vec<Json>, Vec<Json>) = lines.partition(|line| line["outcome"] == "measured");
    assert_eq!(points_told.iter().map(load).collect::<Vec<_>>(), loads);
    assert!(knees_told.len() == 2 && knees_told.iter().all(|line| line["outcome"] == "knee"), "{knees_told:?}");

    let table = node.run(&format!("{sweep} -o table"));
    let rows: Vec<Vec<&str>> = table.text().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((table.code, rows.len()), (0, 1 + points.len()), "{table:?}");
    assert_eq!(rows[0][..6], ["connections", "in_flight", "ops_per_s", "p50_us", "p99_us", "p999_us"]);
    for connections in ["1", "2"] {
        let knees =
            rows.iter().filter(|row| row[0] == connections && row.last().is_some_and(|it| it.starts_with("knee")));
        assert_eq!(knees.count(), 1, "{table:?}");
    }
}
