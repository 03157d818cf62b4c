//! The `kahuna` binary.

mod cli;
mod demo;

fn main() -> std::process::ExitCode {
    cli::run()
}
