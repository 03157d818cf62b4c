//! `inspect snapshot`: a group's state in a file.

use std::path::PathBuf;

use clap::Args;
use kahuna_shards::raft::snapshot::{BlockView, Header, PROBE_BYTES, View};

use super::super::exit::{Exit, Failure};
use super::super::output::{Format, Record};
use super::files::{Content, read_if, unreadable};
use super::rows::{Rows, finish, judge_file};

#[derive(Args, Debug)]
pub struct SnapshotArgs {
    /// A snapshot file (*.snap, *.damaged)
    path: PathBuf,
    /// At most this many blocks; the verdict is of all of them
    #[arg(long)]
    limit: Option<u64>,
}

/// Prints the content, then whether it is whole.
pub fn run(args: &SnapshotArgs, format: Format) -> Result<Exit, Failure> {
    let content = read_if(&args.path, PROBE_BYTES, |head| Header::length(head).is_ok());
    let Content { bytes, len } = content.map_err(|error| unreadable(&args.path, &error))?;
    let view = View::of(&bytes);
    let mut rows = Rows::new(format, &["offset", "outcome", "kind", "packed", "bytes"], args.limit);
    view.blocks.iter().try_for_each(|block| rows.add(block_row(block)))?;
    let (exit, outcome) = judge_file(view.damage.is_some(), view.is_newer);
    let mut summary = Record::new(outcome)
        .field("path", args.path.display().to_string())
        .field("bytes_total", len)
        .field("blocks_total", view.blocks.len())
        .field("rows_left_out", rows.left_out);
    if let Some(header) = &view.header {
        let voters: Vec<u64> = header.membership.voter_ids().collect();
        summary = summary
            .field("group", header.group.0)
            .field("term", header.last.leader_id.term)
            .field("index", header.last.index)
            .field("voters", voters);
    }
    if let Some(machine) = &view.machine {
        summary = summary
            .field("records", machine.len())
            .field("answers", machine.answers())
            .field("time", machine.time().to_string())
            .field("hash", format!("{:016x}", machine.hash()));
    }
    if let Some((offset, why)) = view.damage {
        kahuna_shards::say!("kahuna: {}: {outcome} at offset {offset}: {why}", args.path.display());
        summary = summary.field("damaged_offset", offset).field("why", why);
    }
    finish(summary, &[("blocks", &rows)], format)?;
    Ok(exit)
}

fn block_row(block: &BlockView) -> Record {
    Record::new(if block.intact { "block" } else { "damaged" })
        .field("offset", block.offset)
        .field("kind", block.kind)
        .field("packed", block.packed)
        .field("bytes", block.bytes)
}
