//! `inspect`: logs and snapshots of running, stopped and damaged nodes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::support::{Ended, Node, kahuna};

fn inspect(path: &Path, more: &[&str]) -> Ended {
    inspect_a("wal", path, more)
}

fn inspect_a(what: &str, path: &Path, more: &[&str]) -> Ended {
    let output = kahuna().args(["inspect", what]).arg(path).args(more).output();
    Ended::of(output.expect("the binary runs"))
}

/// The files below `dir` with this extension.
fn files_below(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut dirs, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(&dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// The one directory that holds segments.
fn log_of(node: &Node) -> PathBuf {
    files_below(&node.data(), "seg")[0].parent().expect("a directory").to_owned()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "seg")).collect();
    paths.sort();
    paths
}

fn json_lines(ended: &Ended) -> Vec<Json> {
    ended.text().lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// Claim: the log of a running node is shown whole, batch by batch and record by record, in every format.
#[test]
fn the_log_of_a_running_node() {
    let node = Node::start();
    for number in 0..20 {
        node.expect(&format!("set key-{number} {number}"), 0, "set");
    }
    let dir = log_of(&node);
    let ended = inspect(&dir, &["-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let json = ended.json();
    assert_eq!(json["outcome"], "whole");
    assert!(json["records_total"].as_u64().expect("a count") > 20, "{json}");
    assert_eq!(json["batches_total"], json["batches"].as_array().expect("rows").len());
    assert_eq!(json["segments"][0]["shard"], 0);
    let groups = json["groups"].as_array().expect("rows");
    assert_eq!(groups.len(), 5, "the meta group and four partitions");
    assert!(groups.iter().all(|group| group["marks"].as_str().expect("text").starts_with("created,vote")));

    let lines = json_lines(&inspect(&dir, &["--records", "-o", "jsonl"]));
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert!(of_kind("entry").len() > 20);
    assert!(of_kind("entry").iter().any(|line| line["detail"].as_str().expect("text").ends_with(", commands")));
    assert!(of_kind("vote").iter().all(|line| line["detail"].as_str().expect("text").starts_with("term ")));
    assert!(of_kind("group_created").iter().all(|line| line["detail"].as_str().expect("text").starts_with("replica ")));
    assert_eq!(lines.last().expect("a summary")["outcome"], "whole");

    let limited = json_lines(&inspect(&dir, &["--limit", "3", "-o", "jsonl"]));
    assert_eq!(limited.iter().filter(|line| line["outcome"] == "batch").count(), 3);
    assert!(limited.last().expect("a summary")["rows_left_out"].as_u64().expect("a count") > 0);

    let table = inspect(&dir, &["-o", "table"]);
    assert!(table.text().contains("outcome") && table.text().contains("whole"), "{}", table.text());
    let one = inspect(&segments(&dir)[0], &[]);
    assert_eq!(one.code, 0, "{}", one.err);
    assert!(one.text().lines().last().expect("a summary").starts_with("whole\t"));
    node.expect("set after 1", 0, "set");
}

/// Claim: damage is shown with its file and offset, what is whole beside it too; the exit code is 65, nothing is changed.
#[test]
fn a_damaged_log() {
    let mut node = Node::start();
    for number in 0..5 {
        node.expect(&format!("set key-{number} {number}"), 0, "set");
    }
    assert_eq!(node.terminate(), Some(0));
    let dir = log_of(&node);
    let path = segments(&dir)[0].clone();
    let whole = fs::read(&path).expect("the segment can be read");
    let batches = inspect(&path, &["-o", "json"]).json()["batches_total"].as_u64().expect("a count");

    // The third batch, behind two that have no records: a byte of its records.
    let mut torn = whole.clone();
    torn[3 * 4096 + 70] ^= 1;
    fs::write(&path, &torn).expect("our own directory");
    for target in [&path, &dir] {
        let ended = inspect(target, &["-o", "json"]);
        assert_eq!(ended.code, 65);
        let json = ended.json();
        assert_eq!((&json["outcome"], &json["damaged_offset"]), (&"damaged".into(), &12_288.into()), "{json}");
        assert_eq!(json["damaged_file"], path.display().to_string());
        assert_eq!(json["batches_total"].as_u64(), Some(batches - 1), "what is whole is shown");
        assert_eq!(json["torn_total"], 1);
        assert!(ended.err.contains("damaged at offset 12288"), "{}", ended.err);
    }
    assert_eq!(fs::read(&path).expect("the segment can be read"), torn, "it only reads");

    let mut headless = whole.clone();
    headless[20] ^= 1;
    fs::write(&path, &headless).expect("our own directory");
    assert_eq!(inspect(&path, &["-o", "json"]).json()["damaged_offset"], 0);
    assert_eq!(inspect(&dir, &[]).code, 65);

    fs::write(&path, &whole[..3 * 4096]).expect("our own directory");
    let short = inspect(&path, &["-o", "json"]).json();
    assert_eq!((&short["batches_total"], &short["damaged_offset"]), (&2.into(), &12_288.into()));

    fs::write(&path, b"no segment at all").expect("our own directory");
    assert_eq!(inspect(&path, &[]).code, 65);
    fs::remove_file(&path).expect("our own directory");
    assert_eq!(inspect(&path, &[]).code, 3);
    assert_eq!(inspect(&node.data(), &[]).code, 3, "a directory without segments");
}

/// Claim: a snapshot is shown with what it is of and what it holds; a damaged one with the offset, and 65.
#[test]
fn snapshots() {
    let mut node = Node::start_with(&["--snapshot-log-size", "64KiB"]);
    for number in 0..200 {
        node.expect(&format!("set bucket/{number} {}", "v".repeat(1024)), 0, "set");
        if !files_below(&node.data(), "snap").is_empty() {
            break;
        }
    }
    assert_eq!(node.terminate(), Some(0));
    let snapshots = files_below(&node.data(), "snap").into_iter();
    let size = |path: &PathBuf| fs::metadata(path).expect("it is there").len();
    let path = snapshots.max_by_key(size).expect("64 KiB of log make a snapshot");
    let ended = inspect_a("snapshot", &path, &["-o", "json"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let json = ended.json();
    assert_eq!(json["outcome"], "whole");
    assert!(json["records"].as_u64().expect("a count") > 20 && json["index"].as_u64().expect("an index") > 20);
    let blocks = json["blocks"].as_array().expect("rows");
    assert_eq!((&blocks[0]["kind"], &blocks[blocks.len() - 1]["kind"]), (&"head".into(), &"trailer".into()));
    let limited = json_lines(&inspect_a("snapshot", &path, &["--limit", "1", "-o", "jsonl"]));
    assert_eq!(limited.len(), 2, "a block and the verdict");

    let whole = fs::read(&path).expect("the snapshot can be read");
    let at = blocks[1]["offset"].as_u64().expect("an offset");
    for (offset, cut, expected) in [(at + 20, whole.len(), at), (14, whole.len(), 0), (0, 100, 0), (0, 3, 0)] {
        let mut bytes = whole[..cut].to_vec();
        bytes[offset as usize] ^= 1;
        fs::write(&path, &bytes).expect("our own directory");
        let ended = inspect_a("snapshot", &path, &["-o", "json"]);
        assert_eq!((ended.code, &ended.json()["damaged_offset"]), (65, &expected.into()), "{ended:?}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).expect("our own directory");
    let last = blocks[blocks.len() - 1]["offset"].clone();
    assert_eq!(inspect_a("snapshot", &path, &["-o", "json"]).json()["damaged_offset"], last);
    fs::remove_file(&path).expect("our own directory");
    assert_eq!(inspect_a("snapshot", &path, &[]).code, 3);
}

/// CRC-32 (reflected, polynomial 0xEDB88320), as the formats' descriptions name it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Claim: what a newer program wrote is not called damaged: it is named, and ends with the code of a host that is not fit.
#[test]
fn newer_versions_are_no_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let segment = dir.path().join("00000000000000000001.seg");
    let mut bytes = vec![0; 1 << 16];
    bytes[..8].copy_from_slice(b"KAHUNAWL");
    bytes[8] = 99;
    let crc = crc32(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    fs::write(&segment, bytes).expect("our own directory");
    let snapshot = dir.path().join("1-1.snap");
    let mut header = vec![0; 60];
    header[..4].copy_from_slice(b"KSNP");
    (header[4], header[8]) = (99, 64);
    let crc = crc32(&header);
    header.extend(crc.to_le_bytes());
    fs::write(&snapshot, header).expect("our own directory");
    for (what, path) in [("wal", segment.as_path()), ("wal", dir.path()), ("snapshot", &snapshot)] {
        let ended = inspect_a(what, path, &["-o", "json"]);
        let json = ended.json();
        assert_eq!((ended.code, &json["outcome"], &json["damaged_offset"]), (78, &"newer".into(), &0.into()), "{json}");
        assert!(json["why"].as_str().expect("text").contains("99 is newer"), "{json}");
    }
}

/// Claim: a path that names something else is told so, however large it is.
#[test]
fn what_is_no_file_of_a_node() {
    let dir = tempfile::tempdir().expect("a directory");
    let large = dir.path().join("large");
    fs::File::create(&large).and_then(|file| file.set_len(1 << 42)).expect("a file of holes");
    for what in ["wal", "snapshot"] {
        let ended = inspect_a(what, &large, &["-o", "json"]);
        assert_eq!((ended.code, &ended.json()["damaged_offset"]), (65, &0.into()), "{ended:?}");
        let missing = inspect_a(what, &dir.path().join("none"), &[]);
        assert_eq!((missing.code, missing.err.contains("No such file")), (3, true), "{missing:?}");
    }
    let directory = inspect_a("snapshot", dir.path(), &[]);
    assert_eq!((directory.code, directory.err.contains("Is a directory")), (2, true), "{directory:?}");
}
