//! The vectors against an implementation in another language, where there is one to run it with.

use std::process::Command;

use crate::golden::root;

#[test]
fn a_second_implementation_agrees_with_every_vector() {
    let output = match Command::new("python3").arg("-B").arg(root().join("vectors/check.py")).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("not checked: python3 does not start: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
