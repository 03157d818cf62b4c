//! Comparing with files of the repository, or writing them anew.

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

/// The file holds exactly these vectors, one per element.
pub fn check_vectors(name: &str, about: &str, vectors: Vec<Json>) {
    let json = serde_json::json!({ "about": about, "vectors": vectors });
    let text = serde_json::to_string_pretty(&json).expect("JSON") + "\n";
    check_file(&format!("vectors/{name}.json"), &text);
}

/// The README holds exactly this block between `<!-- name -->` and `<!-- /name -->`.
pub fn check_readme_block(name: &str, block: &str) {
    let path = root().join("README.md");
    let text = fs::read_to_string(&path).expect("a README");
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = text.find(&open).unwrap_or_else(|| panic!("{open} in the README")) + open.len();
    let end = start + text[start..].find(&close).unwrap_or_else(|| panic!("{close} in the README"));
    if blessing() {
        fs::write(&path, [&text[..start], block, &text[end..]].concat()).expect("a writable file");
        return;
    }
    for (found, expected) in text[start..end].lines().zip(block.lines()) {
        assert_eq!(found, expected, "README, block {name}");
    }
    assert_eq!(text[start..end].len(), block.len(), "README, block {name}");
}
