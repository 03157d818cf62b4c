//! The kinds of files.

use clap::Subcommand;

use super::super::exit::{Exit, Failure};
use super::super::output::Format;
use super::snapshot::{self, SnapshotArgs};
use super::wal::{self, WalArgs};

#[derive(Subcommand, Debug)]
pub enum InspectVerb {
    /// Show a segment of the log, or a directory of them (DATA/logs-0/shard-0): batches, and whether all is there
    Wal(WalArgs),
    /// Show a snapshot of a group (DATA/snapshots/*/*.snap): what it is of, its blocks, and whether all is there
    Snapshot(SnapshotArgs),
}

/// Shows a file.
pub fn run(verb: InspectVerb, format: Format) -> Result<Exit, Failure> {
    match verb {
        InspectVerb::Wal(args) => wal::run(&args, format),
        InspectVerb::Snapshot(args) => snapshot::run(&args, format),
    }
}
