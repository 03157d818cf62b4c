//! The `kahuna` binary.
fn main() {}
