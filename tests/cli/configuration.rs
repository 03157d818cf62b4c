//! Flag over environment over file over default.

use super::support::{Ended, Node, file, kahuna};

/// Claim: each layer wins over those below it.
#[test]
fn layers() {
    let node = Node::start();
    node.run("set a 1");
    let config = file(node.dir.path(), "kahuna.toml", "[client]\noutput = \"json\"\ntimeout = \"10s\"\n");
    let with = |environment: Option<&str>, words: &[&str]| {
        let mut command = node.command();
        command.args(["--config", &config, "get", "a"]).args(words);
        environment.map(|format| command.env("KAHUNA_OUTPUT", format));
        Ended::of(command.output().expect("the binary runs")).text().to_owned()
    };
    assert!(with(None, &[]).starts_with("{\"outcome\""), "the file over the default");
    assert_eq!(with(Some("plain"), &[]), "1\n", "the environment over the file");
    assert_eq!(with(Some("plain"), &["-o", "raw"]), "1", "the flag over the environment");
}

/// Claim: the file describes a node; endpoints may come from it as well.
#[test]
fn the_file_describes_a_node() {
    let node = Node::start();
    let text = format!(
        "[serve]\nnode_id = 3\ndata_dir = \"{}\"\nlisten = \"127.0.0.1:0\"\npeer_listen = \"127.0.0.1:0\"\nshards = 1\n\
         [client]\nendpoints = [\"{}\"]\n",
        node.dir.path().join("other").display(),
        node.endpoint
    );
    let config = file(node.dir.path(), "kahuna.toml", &text);
    let run = |words: &[&str]| {
        let mut command = kahuna();
        command.env("KAHUNA_CONFIG", &config).args(words);
        Ended::of(command.output().expect("the binary runs"))
    };
    assert_eq!(run(&["check"]).code, 0);
    assert_eq!(run(&["set", "a", "1"]).code, 0);
    // A flag replaces one value; the file's others hold.
    let refused = run(&["check", "--listen", &node.endpoint]);
    assert_eq!(refused.code, 78);
    assert!(refused.text().contains("other can be made"), "{refused:?}");
}

/// Claim: a name that is not known, a value without its unit and a missing file are errors that name the place.
#[test]
fn mistakes_in_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    for (text, word) in
        [("[serve]\nshard = 1\n", "shard"), ("[client]\ntimeout = \"5\"\n", "unit"), ("x", "kahuna.toml")]
    {
        let config = file(dir.path(), "kahuna.toml", text);
        let ended = Ended::of(kahuna().args(["--config", &config, "status"]).output().expect("the binary runs"));
        assert_eq!(ended.code, 2);
        assert!(ended.err.contains(word), "{ended:?}");
    }
    for (path, word) in [("/nonexistent", "/nonexistent"), ("/dev/zero", "longer than 1MiB"), ("/", "cannot read")] {
        let ended = Ended::of(kahuna().args(["--config", path, "status"]).output().expect("the binary runs"));
        assert_eq!((ended.code, ended.err.contains(word)), (2, true), "{path}: {ended:?}");
    }
}

/// Claim: the network is not listened on by accident, and contradictions are refused, with 2.
#[test]
fn mistakes_in_the_flags_of_a_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |line: &str| {
        let output = kahuna().args(["serve", "--data-dir"]).arg(dir.path()).args(line.split(' ')).output();
        Ended::of(output.expect("the binary runs"))
    };
    for (line, word) in [
        ("--listen 0.0.0.0:0", "--insecure-listen"),
        ("--peer-listen 0.0.0.0:0", "--insecure-listen"),
        ("--heartbeat 200ms", "--election-min"),
        ("--heartbeat 1ns", "whole milliseconds"),
        ("--election-max 150.5ms", "--election-max 150.5ms"),
        ("--snapshot-log-size 0B", "from 4KiB to 1TiB"),
        ("--max-clock-skew 0s", "from 1ms to 1h"),
        ("--advertise host:0", "--advertise"),
        ("--peers 1=:80", "HOST:PORT"),
        ("--peers 1=host:0", "HOST:PORT"),
        ("--peers 1=host:99999", "HOST:PORT"),
        ("--peers 1=a:1,1=b:1", "twice"),
        ("--peers 1=a:1,2=a:1", "twice"),
        ("--peers 1=a:1,", "ID=HOST:PORT"),
        ("--node-id 0", "from 1"),
        ("--segment-size 1MiB", "from 2MiB"),
        ("--segment-size 2097153B", "4KiB"),
        ("--shards 0", "--shards"),
        ("--peers 1:2071", "ID=HOST:PORT"),
        ("--listen 127.0.0.1:0 --peer-listen 127.0.0.1:0 --peers 2=127.0.0.1:2071", "does not list this node"),
    ] {
        let ended = run(line);
        assert_eq!(ended.code, 2, "{line}: {ended:?}");
        assert!(ended.err.contains(word), "{line}: {ended:?}");
    }
}
