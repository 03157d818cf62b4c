//! `recover`: a node whose log is damaged, and which nobody can feed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Ended, Node, kahuna};

/// Numbers of the first restore epoch and above.
const FIRST_EPOCH: u64 = 1 << 48;
const BLOCK: usize = 4096;

/// Every file below `dir` but the lock, with its bytes.
fn image(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(at) = dirs.pop() {
        for entry in fs::read_dir(&at).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below it").to_owned();
                files.insert(name, fs::read(&path).expect("it can be read"));
            }
        }
    }
    files
}

/// Damages the batch at `share` of the log's batches (0 the first, 1 the last); where it is.
fn damage_log(data: &Path, share: f64) -> (PathBuf, usize) {
    let segment = data.join("logs-0/shard-0/00000000000000000001.seg");
    let mut bytes = fs::read(&segment).expect("the log");
    let batches: Vec<usize> =
        (BLOCK..bytes.len()).step_by(BLOCK).filter(|&at| bytes[at..].starts_with(b"KWB1")).collect();
    let at = batches[((batches.len() - 1) as f64 * share) as usize];
    bytes[at + 70] ^= 0x20;
    fs::write(&segment, bytes).expect("the log");
    (segment, at)
}

fn run(args: &[&str], data: &Path) -> Ended {
    let mut command = kahuna();
    command.args(args).arg("--data-dir").arg(data);
    Ended::of(command.output().expect("the binary runs"))
}

/// Claim: a damaged log is refused by `serve`, which names the way out; `recover` keeps what stands before the damage, says
/// what is lost, leaves the old bytes alone, and the node serves again with numbers above all that were acknowledged.
#[test]
fn a_damaged_node_is_recovered() {
    let mut node = Node::start();
    let number = |json: serde_json::Value, field: &str| json[field].as_u64().expect("a number");
    for key in 0..20 {
        node.expect(&format!("set early/{key} before-{key}"), 0, "set");
    }
    let held = number(node.expect("lock acquire held --owner me --ttl 1h", 0, "acquired"), "token");
    node.expect("lock acquire free --owner me --ttl 1h", 0, "acquired");
    node.expect("lock release free --owner me", 0, "released");
    node.expect("seq create s", 0, "created");
    let drawn = number(node.expect("seq next s", 0, "allocated"), "incarnation");
    let mut acknowledged = vec![held, drawn];
    for round in 0..40 {
        acknowledged
            .push(number(node.expect(&format!("set early/{} after-{round}", round % 20), 0, "set"), "revision"));
        acknowledged.push(number(node.expect("lock acquire free --owner you --ttl 1h", 0, "acquired"), "token"));
        node.expect("lock release free --owner you", 0, "released");
        node.expect("seq next s", 0, "allocated");
    }
    assert_eq!(node.terminate(), Some(0));
    let (segment, _) = damage_log(&node.data(), 0.5);

    let serve = ["serve", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--shards", "1"];
    let refused = run(&serve, &node.data());
    assert_eq!(refused.code, 65, "{refused:?}");
    for word in [&segment.display().to_string(), "offset", "kahuna recover"] {
        assert!(refused.err.contains(word), "{word}: {refused:?}");
    }

    let before = image(&node.data());
    let looked = run(&["recover", "--dry-run", "-o", "json"], &node.data());
    assert_eq!((looked.code, looked.err.as_str()), (0, ""), "{looked:?}");
    let report = looked.json();
    assert_eq!((&report["outcome"], &report["nothing_lost"]), (&"would_recover".into(), &false.into()));
    assert_eq!(report["logs"][0]["damage"]["file"], segment.display().to_string());
    assert!(report["logs"][0]["beyond_records"].as_u64().is_some_and(|records| records > 10), "{report}");
    assert_eq!(report["groups"].as_array().map(Vec::len), Some(5), "{report}");
    assert!(report["groups"].as_array().is_some_and(|groups| groups.iter().any(|group| group["state"] == "cut")));
    let asked = run(&["recover"], &node.data());
    assert_eq!(asked.code, 2, "{asked:?}");
    assert!(asked.err.contains("--yes") && asked.text().contains("DAMAGED"), "{asked:?}");
    assert_eq!(image(&node.data()), before, "nothing was changed");

    let recovered = run(&["recover", "--yes", "-o", "json"], &node.data());
    assert_eq!(recovered.code, 0, "{recovered:?}");
    let report = recovered.json();
    assert_eq!((&report["outcome"], &report["restore_epoch"]), (&"recovered".into(), &1.into()));
    let aside = node.dir.path().join("data.before-recover-1");
    assert_eq!(report["old_data"], aside.display().to_string());
    assert_eq!(image(&aside), before, "the old bytes are as they were");
    assert!(!node.dir.path().join("data.recovering").exists());

    node.start_again();
    for key in 0..20 {
        let value = node.expect(&format!("get early/{key}"), 0, "value");
        let text = value["value"].as_str().expect("text");
        assert!(text == format!("before-{key}") || text.starts_with("after-"), "{value}");
    }
    let highest = acknowledged.into_iter().max().expect("some");
    assert!(highest < FIRST_EPOCH);
    let above = |json: serde_json::Value, field: &str| {
        let number = json[field].as_u64().expect("a number");
        assert!(number >= FIRST_EPOCH, "{json}");
    };
    above(node.expect("set early/3 again", 0, "set"), "revision");
    above(node.expect("set fresh again", 0, "set"), "revision");
    above(node.expect("get none", 3, "not_found"), "revision");
    above(node.expect("seq next s", 0, "allocated"), "incarnation");
    above(node.expect("lock info fresh", 3, "not_held"), "last_token");
    above(node.expect("lock acquire fresh --owner me --ttl 1h", 0, "acquired"), "token");
    assert_eq!(node.expect("lock acquire held --owner me --ttl 1h", 0, "acquired")["token"], held, "it is still held");
    node.expect("lock release held --owner me", 0, "released");
    above(node.expect("lock acquire held --owner you --ttl 1h", 0, "acquired"), "token");

    // What was recovered is a whole node: it restarts, and can be recovered again.
    assert_eq!(node.terminate(), Some(0));
    node.start_again();
    assert_eq!(node.expect("get early/3", 0, "value")["value"], "again");
    assert_eq!(node.terminate(), Some(0));
    let again = run(&["recover", "--yes", "-o", "json"], &node.data());
    assert_eq!(again.code, 0, "{again:?}");
    let report = again.json();
    assert_eq!((&report["nothing_lost"], &report["restore_epoch"]), (&true.into(), &2.into()));
    assert!(report["old_data"].as_str().is_some_and(|aside| aside.ends_with("data.before-recover-2")));
    node.start_again();
    assert_eq!(node.expect("get early/3", 0, "value")["value"], "again");
    let revision = node.expect("set early/3 third", 0, "set")["revision"].as_u64();
    assert!(revision.is_some_and(|revision| revision > 2 * FIRST_EPOCH));
}

/// Claim: what cannot be recovered is said plainly, and nothing is changed or left behind.
#[test]
fn nothing_to_recover() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = run(&["recover", "--yes"], &dir.path().join("none"));
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.err.contains("nothing to recover"), "{missing:?}");

    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).expect("a directory");
    fs::write(foreign.join("letter"), "dear").expect("a file");
    let refused = run(&["recover", "--yes"], &foreign);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(fs::read_dir(&foreign).expect("a directory").count(), 1, "nothing is left in it");

    let mut node = Node::start();
    node.expect("set a 1", 0, "set");
    let used = run(&["recover", "--yes"], &node.data());
    assert_eq!(used.code, 78, "{used:?}");
    assert!(used.err.contains("in use"), "{used:?}");
    node.terminate();
    let other = run(&["recover", "--yes", "--node-id", "7"], &node.data());
    assert_eq!(other.code, 2, "{other:?}");
    let low = run(&["recover", "--yes", "--restore-epoch", "0"], &node.data());
    assert_eq!(low.code, 2, "{low:?}");
    let whole = run(&["recover", "--dry-run"], &node.data());
    assert!(whole.code == 0 && whole.text().contains("nothing is lost on this node"), "{whole:?}");
    let damage = |name: &str| {
        let mut manifest = fs::read(node.data().join(name)).expect("a manifest");
        *manifest.last_mut().expect("bytes") ^= 1;
        fs::write(node.data().join(name), manifest).expect("a manifest");
    };
    damage("manifest");
    let copied = run(&["recover", "--dry-run"], &node.data());
    assert_eq!(copied.code, 0, "the copy says the same: {copied:?}");
    damage("manifest.copy");
    let damaged = run(&["recover", "--yes"], &node.data());
    assert_eq!(damaged.code, 65, "{damaged:?}");
    assert!(damaged.err.contains("manifest: the manifest is damaged"), "{damaged:?}");
}

/// Claim: whatever is broken in a data directory, `recover` ends with a node that serves, and says what it did not find.
#[test]
fn whatever_is_broken_a_node_comes_out() {
    let mut node = Node::start_with(&["--snapshot-log-size", "4KiB", "--segment-size", "2MiB"]);
    node.expect("bench set --ops 3000 --keys 50 --value-bytes 40 --in-flight 8", 0, "measured");
    node.expect("set kept value", 0, "set");
    assert_eq!(node.terminate(), Some(0));
    let original = node.dir.path().join("original");
    fs::rename(node.data(), &original).expect("our own directory");
    let files: Vec<PathBuf> =
        image(&original).into_iter().filter(|(name, _)| name != Path::new("manifest")).map(|(name, _)| name).collect();
    let snapshots: Vec<&PathBuf> =
        files.iter().filter(|name| name.extension().is_some_and(|end| end == "snap")).collect();
    assert!(snapshots.len() >= 3, "there are snapshots: {files:?}");
    let data = node.data();
    let restore = || {
        for (name, bytes) in image(&original) {
            let path = data.join(name);
            fs::create_dir_all(path.parent().expect("below the data directory")).expect("our own directory");
            fs::write(path, bytes).expect("our own directory");
        }
    };
    let mut seed = 0x9e37_79b9_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % bound
    };
    for round in 0..12 {
        restore();
        match round {
            0 => fs::remove_dir_all(node.data().join("logs-0")).expect("the logs"),
            1 => fs::remove_dir_all(node.data().join("snapshots")).expect("the snapshots"),
            2 => {
                fs::remove_dir_all(node.data().join("snapshots")).expect("the snapshots");
                fs::remove_dir_all(node.data().join("logs-0")).expect("the logs");
            }
            3 => snapshots.iter().for_each(|name| fs::write(node.data().join(name), "").expect("a snapshot")),
            _ => {
                for _ in 0..4 {
                    let path = node.data().join(&files[below(files.len())]);
                    let mut bytes = fs::read(&path).expect("a file");
                    match below(3) {
                        0 => bytes.truncate(below(bytes.len() + 1)),
                        _ if bytes.is_empty() => {}
                        _ => {
                            let at = below(bytes.len());
                            bytes[at] ^= 1 << below(8);
                        }
                    }
                    fs::write(&path, bytes).expect("a file");
                }
            }
        }
        let ended = run(&["recover", "--yes", "-o", "json"], &node.data());
        assert_eq!(ended.code, 0, "round {round}: {ended:?}");
        let report = ended.json();
        let states: Vec<&str> = report["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .map(|group| group["state"].as_str().expect("text"))
            .collect();
        let data = &states[1..];
        match round {
            0 => assert!(data.iter().all(|state| state.ends_with("cut")), "no log: {states:?}"),
            1..=3 => assert!(data.iter().all(|state| *state == "empty"), "no snapshot, round {round}: {states:?}"),
            _ => {}
        }
        node.start_again();
        node.expect("set after recovery", 0, "set");
        assert_eq!(node.expect("get after", 0, "value")["value"], "recovery", "round {round}");
        if round == 0 {
            node.expect("get bench-7", 0, "value");
        }
        assert_eq!(node.terminate(), Some(0));
        fs::remove_dir_all(node.data()).expect("our own directory");
    }
}
