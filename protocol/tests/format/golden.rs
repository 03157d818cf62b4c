//! Comparing with files of the repository, or writing them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blessing() -> bool {
    std::env::var_os("KAHUNA_BLESS").is_some()
}

/// The file holds exactly this.
pub fn check_file(path: &str, expected: &str) {
    let path: PathBuf = root().join(path);
    if blessing() {
        fs::write(&path, expected).expect("a writable file");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{}, line {}", path.display(), line + 1);
    }
    assert_eq!(found.len(), expected.len(), "{}", path.display());
}

/// The same with the members of every object in order of their names, whether or not another package of the build has
/// serde_json keep them as they were written.
fn sorted(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let members: BTreeMap<String, Json> = members.into_iter().collect();
            Json::Object(members.into_iter().map(|(name, member)| (name, sorted(member))).collect())
        }
        Json::Array(elements) => Json::Array(elements.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

/// The file holds exactly these vectors, one per element.
pub fn check_vectors(name: &str, about: &str, vectors: Vec<Json>) {
    let json = sorted(serde_json::json!({ "about": about, "vectors": vectors }));
    let text = serde_json::to_string_pretty(&json).expect("JSON") + "\n";
    check_file(&format!("vectors/{name}.json"), &text);
}

/// FORMAT.md holds exactly this block between `<!-- name -->` and `<!-- /name -->`.
pub fn check_block(name: &str, block: &str) {
    let path = root().join("FORMAT.md");
    let text = fs::read_to_string(&path).expect("the page");
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&open).unwrap_or_else(|| panic!("{open} in FORMAT.md")) + open.len();
    let end = start + text[start..].find(&close).unwrap_or_else(|| panic!("{close} in FORMAT.md"));
    if blessing() {
        fs::write(&path, [&text[..start], block, &text[end..]].concat()).expect("a writable file");
        return;
    }
    for (found, expected) in text[start..end].lines().zip(block.lines()) {
        assert_eq!(found, expected, "FORMAT.md, block {name}");
    }
    assert_eq!(text[start..end].len(), block.len(), "FORMAT.md, block {name}");
}
