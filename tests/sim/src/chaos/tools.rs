//! Programs of the system that do what this one asks.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::ChaosError;

/// Runs a program to its end; what it printed.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, ChaosError> {
    feed(program, arguments, "")
}

/// The same with something to read.
pub(super) fn feed(program: &str, arguments: &[&str], input: &str) -> Result<String, ChaosError> {
    let failed = |why: String| ChaosError::NotAllowed(format!("{program} {}: {why}", arguments.join(" ")));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that ends without reading its input prints the reason itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
