//! The known bugs of `patches/`: what each run of the tests can afford to look at. Trying them takes `kahuna-sim patches`.

use std::process::Command;

/// Claim: the tree has not moved away below a patch.
#[test]
fn every_patch_still_applies() {
    let output = Command::new(env!("CARGO_BIN_EXE_kahuna-sim")).args(["patches", "--check"]).output();
    let output = output.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
