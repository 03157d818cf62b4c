//! The kinds of files.

use clap::Subcommand;

use super::super::exit::{Exit, Failure};
use super::super::output::Format;
use super::wal::{self, WalArgs};

#[derive(Subcommand, Debug)]
pub enum InspectVerb {
    /// Show a segment of the log, or a directory of them (DATA/log/...): batches, and whether all is there
    Wal(WalArgs),
}

/// Shows a file.
pub fn run(verb: InspectVerb, format: Format) -> Result<Exit, Failure> {
    match verb {
        InspectVerb::Wal(args) => wal::run(&args, format),
    }
}
