//! The `kahuna` binary.

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Serve(kahuna::serve::ServeArgs),
}

fn main() {
    match Cli::parse().verb {
        Verb::Serve(args) => kahuna::serve::run(&args),
    }
}
