//! Claim: `kahuna-sim check` says unknown when too little was exercised, tells a bad file from a bad history, and its
//! exit codes are the documented ones. Method: the real binary, histories on its standard input.

mod check_support;

use std::io::Write;
use std::process::{Command, Stdio};

use check_support::{Line, at, bare, cas, events, get, judge, next, no_minima, saw, set};
use kahuna_sim::check::Outcome::{NotFound, NotSet, Set};
use kahuna_sim::check::{Limits, Verdict};
use serde_json::Value;

/// Exit code, standard output and standard error of `kahuna-sim check - ARGS`.
fn run(history: &str, args: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kahuna-sim"))
        .args(["check", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().expect("a pipe").write_all(history.as_bytes());
    let output = child.wait_with_output().expect("the binary ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn jsonl(lines: &[Line]) -> String {
    events(lines).iter().map(|event| event.to_line() + "\n").collect()
}

/// Enough of everything: sets and overlapping reads, and a read at the end.
fn ample() -> Vec<Line> {
    let mut lines = Vec::new();
    for round in 0..30u64 {
        let value = format!("v{round}");
        lines.push(set("k", &value).ok(round * 10, round * 10 + 5, at(Set, round + 1)));
        lines.push(get("k").ok(round * 10 + 3, round * 10 + 6, saw(&value, round + 1)));
    }
    lines.push(get("k").ok(1000, 1001, saw("v29", 30)));
    lines
}

#[test]
fn an_ample_history_is_valid() {
    let (code, out, _) = run(&jsonl(&ample()), &[]);
    assert_eq!((code, out.starts_with("valid: 61 operations")), (0, true), "{out}");
}

#[test]
fn a_broken_history_is_invalid_however_short() {
    let lines = [set("k", "x").ok(0, 1, at(Set, 1)), get("k").ok(2, 3, saw("y", 1))];
    let (code, out, _) = run(&jsonl(&lines), &["-o", "json"]);
    let report: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!((code, &report["outcome"]), (1, &Value::from("invalid")), "{out}");
    assert_eq!((&report["problems"][0]["name"], &report["counts"]["ok"]), (&Value::from("k"), &Value::from(2)));
    assert!(out.starts_with("{\"outcome\":"), "{out}");
}

#[test]
fn each_minimum_makes_the_verdict_unknown_and_each_flag_moves_it() {
    let (code, out, _) = run("", &[]);
    assert_eq!((code, out.contains("too little")), (2, true), "{out}");
    let ample = ample();
    let covered = ample.len() - 1;
    let apart: Vec<Line> = (0..60).map(|at| get("k").ok(at * 2, at * 2 + 1, bare(NotFound))).collect();
    for (lines, args) in [
        (&ample[..], ["--min-ok", "62"]),
        (&ample[..], ["--min-reads-with-value", "32"]),
        (&ample[..], ["--min-concurrent-pairs", "31"]),
        (&ample[..], ["--max-steps", "3"]),
        (&ample[..covered], ["--max-uncovered-keys", "0"]),
        (&apart[..], ["--min-concurrent-pairs", "0"]),
        (&apart[..], ["--min-reads-with-value", "0"]),
    ] {
        let (code, out, _) = run(&jsonl(lines), &args);
        assert_eq!(code, 2, "{args:?}: {out}");
    }
    for (lines, args) in [
        (&ample[..], &["--min-ok", "61", "--min-reads-with-value", "31", "--min-concurrent-pairs", "30"][..]),
        (&ample[..covered], &["--max-uncovered-keys", "1"][..]),
        (&apart[..], &["--min-concurrent-pairs", "0", "--min-reads-with-value", "0"][..]),
    ] {
        let (code, out, _) = run(&jsonl(lines), args);
        assert_eq!(code, 0, "{args:?}: {out}");
    }
}

#[test]
fn what_is_not_a_history_is_neither_valid_nor_invalid() {
    let invoke = r#"{"process":1,"type":"invoke","op":"set","key":"k","at_ns":5,"value":"x"}"#;
    let ok = r#"{"process":1,"type":"ok","op":"set","key":"k","at_ns":6,"outcome":"set","revision":1}"#;
    assert_eq!(run(&format!("{invoke}\n\n{ok}\n"), &["--min-ok", "9"]).0, 2);
    for (history, reason) in [
        ("nonsense\n".to_owned(), "line 1: expected"),
        (format!("{invoke}\n{invoke}\n"), "line 2: process 1 still has the operation of line 1 open"),
        (format!("{ok}\n"), "line 1: process 1 has no operation open"),
        (format!("{invoke}\n{}\n", ok.replace("\"k\"", "\"l\"")), "line 2: the operation open since line 1 is another"),
        (format!("{invoke}\n{}\n", ok.replace(":6", ":4")), "line 2: at_ns 4 of process 1 is before its line at 5"),
        (format!("{invoke}\n{}\n", ok.replace("revision", "revison")), "line 2: unknown field"),
        (format!("{invoke}\n{}\n", ok.replace("\"outcome\":\"set\",", "")), "line 2: ok needs an outcome"),
        (format!("{invoke}\n{}\n", ok.replace("\"outcome\":\"set\"", "\"outcome\":\"held\"")), "line 2: KeySet has no"),
        (format!("{}\n", invoke.replace("\"set\"", "\"cas\"")), "line 1: a cas needs a condition"),
        (format!("{}\n", invoke.replace("\"x\"", "7")), "line 1: the value of a key is a string"),
    ] {
        let (code, out, error) = run(&history, &[]);
        assert_eq!((code, out.as_str(), error.contains(reason)), (65, "", true), "{reason}: {error}");
    }
    assert_eq!(run("", &["--min-okay", "1"]).0, 64);
    let missing = Command::new(env!("CARGO_BIN_EXE_kahuna-sim")).args(["check", "/nowhere/at/all"]).output();
    assert_eq!(missing.expect("the binary starts").status.code(), Some(65));
    assert_eq!(run("", &["--help"]).0, 0);
}

#[test]
fn the_example_of_the_format_page_is_read() {
    let page = include_str!("../HISTORY.md");
    let example: String =
        page.lines().filter(|line| line.starts_with("{\"process\"")).map(|line| format!("{line}\n")).collect();
    let (code, out, error) =
        run(&example, &["--min-ok", "1", "--min-reads-with-value", "0", "--min-concurrent-pairs", "0"]);
    assert_eq!((code, out.contains("not read after")), (2, true), "{out}{error}");
}

#[test]
fn lines_and_memory_are_judged_alike() {
    let lines = [
        set("k", "x").ok(0, 1, at(Set, 1)),
        cas("k", "y", |event| event.if_revision = Some(9)).ok(2, 3, at(NotSet, 1)),
        next("s").cut_off(4),
        get("k").ok(5, 6, saw("x", 1)),
    ];
    let report = judge(&lines, &no_minima());
    assert_eq!((report.outcome, report.counts.unknown), (Verdict::Valid, 1));
    let (_, out, _) = run(&jsonl(&lines), &["-o", "json"]);
    let printed: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(printed["counts"], serde_json::to_value(&report.counts).expect("plain fields"));
    assert_eq!(judge(&lines, &Limits::default()).outcome, Verdict::Unknown);
}
