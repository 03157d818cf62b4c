//! The house rules, as an ordinary test: who may depend on whom, what is pure, where the executor is named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(dir: &str) -> toml::Table {
    let path = root().join(dir).join("Cargo.toml");
    fs::read_to_string(&path).expect("a manifest").parse().expect("valid TOML")
}

/// The normal dependencies of a package. Development dependencies may point anywhere.
fn dependencies(dir: &str) -> BTreeSet<String> {
    let manifest = manifest(dir);
    manifest
        .get("dependencies")
        .and_then(|it| it.as_table())
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a source folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    dirs.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {dir}");
    found.sort();
    found
}

/// The lines of code of a file, comments left out.
fn code_lines(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).expect("a source file");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines.map(|(at, line)| (at + 1, line.to_owned())).collect()
}

/// Every line of code below `dir` that holds one of `words`, as `file:line: text`.
fn lines_with(dir: &str, words: &[&str]) -> Vec<String> {
    let mut hits = Vec::new();
    for path in sources(dir) {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        for (at, line) in code_lines(&path) {
            if words.iter().any(|word| line.contains(word)) {
                hits.push(format!("{shown}:{at}: {}", line.trim()));
            }
        }
    }
    hits
}

#[test]
fn dependency_arrows_point_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("protocol", &[]),
        ("protocol/client", &["kahuna-protocol"]),
        ("wal", &[]),
        ("shards/machine", &["kahuna-protocol"]),
        ("shards", &["kahuna-protocol", "kahuna-machine", "kahuna-wal"]),
        ("bench", &["kahuna-client", "kahuna-protocol", "kahuna-wal"]),
        ("bench/micro", &["kahuna-protocol", "kahuna-machine", "kahuna-wal", "kahuna-shards"]),
        ("tests/sim", &["kahuna-protocol", "kahuna-machine", "kahuna-wal", "kahuna-shards", "kahuna-client"]),
        (".", &["kahuna-protocol", "kahuna-wal", "kahuna-shards", "kahuna-client", "kahuna-bench"]),
    ];
    for (dir, targets) in allowed {
        let inner = dependencies(dir).into_iter().filter(|name| name.starts_with("kahuna"));
        let wrong: Vec<String> = inner.filter(|name| !targets.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{dir}/Cargo.toml may not use {wrong:?}");
    }
    let members = manifest(".")["workspace"]["members"].as_array().expect("members").len();
    assert_eq!(members, allowed.len(), "a new package needs its line in this test");
}

/// The layers of `shards/src`, lowest first, as its `lib.rs` lists them.
fn shard_layers() -> Vec<String> {
    let lib = fs::read_to_string(root().join("shards/src/lib.rs")).expect("a lib.rs");
    let listed = lib.lines().filter_map(|line| line.strip_prefix("//!   ")).filter(|line| line.contains(" < "));
    listed.flat_map(|line| line.split('<')).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The modules of the crate that the code of a source file names, each with its line. What stands behind `#[cfg(test)]` is
/// left out: tests may use anything.
fn modules_named(text: &str) -> Vec<(usize, &str)> {
    let product = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    let code = product.filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.flat_map(|(at, line)| {
        line.match_indices("crate::").map(move |(start, word)| (at + 1, &line[start + word.len()..]))
    })
    .map(|(at, rest)| {
        (at, rest.split(|next: char| !next.is_alphanumeric() && next != '_').next().unwrap_or_default(), rest)
    })
    .filter(|(_, name, rest)| !rest[name.len()..].starts_with('!'))
    .map(|(at, name, _)| (at, name))
    .collect()
}

/// What the file at `path`, below the crate's `src`, uses that does not stand below it in `layers`.
fn upward_uses(layers: &[String], path: &str, text: &str) -> Vec<String> {
    let layer_of = |name: &str| layers.iter().position(|layer| layer == name);
    let own = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let Some(own_layer) = layer_of(own) else { return vec![format!("{path}: no layer of lib.rs is called {own}")] };
    let named = modules_named(text).into_iter();
    let upward = named.filter(|(_, name)| layer_of(name).is_none_or(|layer| layer > own_layer));
    upward.map(|(at, name)| format!("{path}:{at}: {own} may not use `crate::{name}`")).collect()
}

#[test]
fn the_folders_of_a_shard_use_only_lower_ones() {
    let layers = shard_layers();
    assert!(layers.len() > 10 && layers.first().is_some_and(|lowest| lowest == "env"), "{layers:?}");
    let src = root().join("shards/src");
    let mut wrong = Vec::new();
    for path in sources("shards/src") {
        let shown = path.strip_prefix(&src).expect("below the folder").display().to_string();
        if shown != "lib.rs" && !shown.ends_with("/tests.rs") {
            wrong.extend(upward_uses(&layers, &shown, &fs::read_to_string(&path).expect("a source file")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "see the layers in shards/src/lib.rs");
}

#[test]
fn a_use_of_a_higher_folder_is_found() {
    let layers: Vec<String> = ["env", "peer", "group", "serve"].map(str::to_owned).to_vec();
    let wrong = |path: &str, text: &str| upward_uses(&layers, path, text).len();
    assert_eq!(wrong("group/room.rs", "use crate::env::Env;\nuse crate::group::Group;\nuse crate::peer::Peers;\n"), 0);
    assert_eq!(wrong("group/room.rs", "use crate::env::Env;\nuse crate::serve::Outbox;\n"), 1);
    assert_eq!(wrong("group/room.rs", "    let out: crate::serve::Outbox = outbox(crate::peer::Peers);\n"), 1);
    assert_eq!(wrong("group/room.rs", "use crate::{serve::Outbox, shard::Shard};\n"), 1, "one module a line");
    assert_eq!(wrong("group/room.rs", "use crate::load::Load;\n"), 1, "a module without a layer");
    assert_eq!(wrong("load.rs", ""), 1, "a file without a layer");
    assert_eq!(wrong("peer.rs", "//! See [`serve`](crate::serve).\ncrate::say!(\"peer\");\n"), 0);
    assert_eq!(wrong("env/clock.rs", "#[cfg(test)]\nmod tests {\n    use crate::serve::Outbox;\n}\n"), 0);
}

#[test]
fn the_machine_is_pure() {
    let pure =
        ["bytes", "crc32fast", "imbl", "archery", "kahuna-protocol", "lz4_flex", "rkyv", "thiserror", "xxhash-rust"];
    let wrong: Vec<String> =
        dependencies("shards/machine").into_iter().filter(|name| !pure.contains(&name.as_str())).collect();
    assert!(wrong.is_empty(), "shards/machine/Cargo.toml may not use {wrong:?}");
    let effects = [
        "std::time",
        "std::fs",
        "std::net",
        "std::io",
        "std::thread",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant",
        "HashMap",
        "HashSet",
        "async ",
        ".await",
        "println!",
        "rand::",
    ];
    assert_eq!(lines_with("shards/machine/src", &effects), Vec::<String>::new(), "the machine has no effects");
}

#[test]
fn the_protocol_has_no_io() {
    let effects = ["std::fs", "std::net", "std::thread", "SystemTime", "Instant", "async ", ".await", "println!"];
    assert_eq!(lines_with("protocol/src", &effects), Vec::<String>::new(), "the protocol has no effects");
}

#[test]
fn the_executor_is_named_in_one_module() {
    let named =
        ["src", "bench", "wal", "protocol", "shards", "tests"].iter().flat_map(|dir| lines_with(dir, &["glommio"]));
    let outside: Vec<String> =
        named.filter(|line| !line.starts_with("shards/src/linux/") && !line.starts_with("tests/tidy.rs")).collect();
    assert_eq!(outside, Vec::<String>::new(), "only shards/src/linux names the executor");
    for dir in [".", "protocol", "protocol/client", "wal", "shards/machine", "bench", "bench/micro", "tests/sim"] {
        assert!(!dependencies(dir).contains("glommio"), "{dir}/Cargo.toml may not use the executor");
    }
}

/// What another thread may wake is awaited in one way: see `Env::across_threads`.
#[test]
fn what_other_threads_wake_is_awaited_across_threads() {
    let is_wrong = |line: &String| !line.contains("across_threads(");
    let wrong =
        lines_with("shards/src", &["recv_async(", "into_recv_async(", "send_async("]).into_iter().filter(is_wrong);
    // Both ends of these belong to one thread.
    let wrong: Vec<_> = wrong.filter(|line| !line.contains("shards/src/lanes/exchange.rs")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_crate_has_a_readme_that_is_its_front_page() {
    for dir in ["protocol", "protocol/client", "wal", "shards", "shards/machine", "bench", "bench/micro", "tests/sim"] {
        let readme = fs::read_to_string(root().join(dir).join("README.md")).expect("a README");
        assert!((11..=80).contains(&readme.lines().count()), "{dir}/README.md is a front page, of 11 to 80 lines");
        let lib = fs::read_to_string(root().join(dir).join("src/lib.rs")).expect("a lib.rs");
        assert!(lib.contains("include_str!(\"../README.md\")"), "{dir}/src/lib.rs shows its README");
    }
}

#[test]
fn lib_and_mod_files_hold_prose_and_names_only() {
    for path in sources(".") {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_support = path.components().rev().nth(2).is_some_and(|folder| folder.as_os_str() == "tests");
        if (name != "lib.rs" && name != "mod.rs") || is_support {
            continue;
        }
        let starts =
            ["fn ", "pub fn ", "pub(crate) fn ", "struct ", "pub struct ", "enum ", "pub enum ", "impl ", "impl<"];
        let lines = code_lines(&path);
        let defined: Vec<_> =
            lines.iter().filter(|(_, line)| starts.iter().any(|start| line.starts_with(start))).collect();
        assert!(defined.len() <= 2, "{}: {defined:?}", path.display());
    }
}

/// The standard library's macros panic where nobody reads, and wait for whoever reads slowly.
#[test]
fn what_is_said_is_said_one_way() {
    let product =
        ["src", "shards/src", "shards/machine/src", "wal/src", "protocol/src", "protocol/client/src", "bench/src"];
    let said: Vec<String> = product.iter().flat_map(|dir| lines_with(dir, &["print!(", "println!("])).collect();
    assert_eq!(said, Vec::<String>::new(), "lines go through `say!`, data through a writer whose errors are looked at");
}

#[test]
fn nothing_is_left_lying_about() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), "dbg!(", "todo!(", "unimplemented!("];
    for path in sources(".") {
        let text = fs::read_to_string(&path).expect("a source file");
        let shown = path.strip_prefix(root()).expect("below the root");
        if shown == Path::new("tests/tidy.rs") {
            continue;
        }
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", shown.display());
        }
        assert!(text.lines().count() <= 700, "{} is too long for one idea", shown.display());
    }
}
