//! `recover`: what a node without a quorum still holds becomes a cluster of this one node.

use std::path::PathBuf;

use clap::Args;
use kahuna_client::protocol::NodeId;
use kahuna_shards::node::recover::{self, Asked, Done, GroupReport, LogReport, Loss, RecoverError, Report};
use kahuna_shards::node::{DataDirError, manifest::ManifestError};
use kahuna_wal::LogOpenError;
use serde_json::{Value as Json, json};

use super::exit::{Exit, Failure};
use super::output::{Format, Record, print, print_bytes, table};
use super::serve_args::{NodeArgs, default_data_dir};

/// The last resort: use it when the node's log is damaged and no majority of the cluster is left to feed it, or for a
/// single node. What the node holds becomes a NEW cluster of this node alone. The old directory is kept beside it as
/// DIR.before-recover-1 and never changed.
#[derive(Args, Clone, Debug)]
pub struct RecoverArgs {
    /// The data directory of the stopped node [default: as `serve` has it]
    #[arg(long, env = "KAHUNA_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Refuse the directory unless it is this node's
    #[arg(long, env = "KAHUNA_NODE_ID", value_name = "N")]
    node_id: Option<u32>,
    /// Only say what would be kept and what is lost
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Carry it out
    #[arg(long)]
    yes: bool,
    /// The new cluster's restore epoch: above that of any cluster that was recovered from the same data before [default:
    /// one above the old cluster's]
    #[arg(long, value_name = "N")]
    restore_epoch: Option<u16>,
}

/// Examines the data directory, prints what it found, and recovers it if the flags ask for that.
pub fn run(args: RecoverArgs, file: NodeArgs, format: Format) -> Result<Exit, Failure> {
    let data_dir = args.data_dir.or(file.data_dir).map_or_else(default_data_dir, Ok)?;
    let node = args.node_id.or(file.node_id).map(NodeId);
    let asked = Asked { data_dir, node, restore_epoch: args.restore_epoch, carry_out: args.yes };
    match recover::recover(&asked).map_err(refusal)? {
        Done::Looked(report) => {
            show("would_recover", &report, None, format)?;
            if args.dry_run {
                return Ok(Exit::Ok);
            }
            Err(Failure::Usage("nothing was changed: add --yes to carry it out, or --dry-run to only look".to_owned()))
        }
        Done::Recovered { report, aside } => {
            show("recovered", &report, Some(aside), format)?;
            Ok(Exit::Ok)
        }
        Done::Finished { aside } => {
            let dir = asked.data_dir.display().to_string();
            let outcome = if args.yes { "finished" } else { "interrupted" };
            let aside = aside.map(|aside| aside.display().to_string());
            print(&Record::new(outcome).field("data_dir", dir).optional("old_data", aside), format)?;
            if args.yes || args.dry_run {
                return Ok(Exit::Ok);
            }
            Err(Failure::Usage("an earlier recovery was interrupted at its end: add --yes to finish it".to_owned()))
        }
    }
}

fn show(outcome: &'static str, report: &Report, aside: Option<PathBuf>, format: Format) -> Result<(), Failure> {
    if format.is_json() {
        print(&record(outcome, report, aside.as_ref()), format)?;
        return Ok(());
    }
    Ok(print_bytes(text(report, aside.as_ref()).as_bytes())?)
}

fn record(outcome: &'static str, report: &Report, aside: Option<&PathBuf>) -> Record {
    Record::new(outcome)
        .field("node", report.node.0)
        .field("data_dir", report.data_dir.display().to_string())
        .optional("old_data", aside.map(|aside| aside.display().to_string()))
        .field("nothing_lost", report.is_whole())
        .field("old_cluster", report.cluster.to_string())
        .field("old_nodes", report.members)
        // The next look would mint another one.
        .optional("cluster", aside.map(|_| report.successor.to_string()))
        .field("restore_epoch", report.restore_epoch)
        .field("logs", report.logs.iter().map(log_json).collect::<Vec<_>>())
        .field("groups", report.groups.iter().map(group_json).collect::<Vec<_>>())
}

fn log_json(log: &LogReport) -> Json {
    json!({
        "shard": log.shard.0,
        "directory": log.dir.display().to_string(),
        "given_up": log.given_up,
        "batches": log.batches,
        "records": log.records,
        "end_file": log.end.as_ref().map(|(file, _)| file.display().to_string()),
        "end_offset": log.end.as_ref().map(|(_, offset)| offset),
        "damage": log.damage.as_ref().map(|damage| json!({
            "file": damage.file.display().to_string(),
            "offset": damage.offset,
            "why": damage.why,
        })),
        "beyond_batches": log.beyond.batches,
        "beyond_bytes": log.beyond.bytes,
        "beyond_records": log.beyond.records,
    })
}

fn group_json(group: &GroupReport) -> Json {
    json!({
        "group": group.group.0,
        "shard": group.shard.map(|shard| shard.0),
        "state": group.loss.name(),
        "last_index": group.last_index,
        "snapshot_index": group.snapshot_index,
        "known_index": group.known_index,
        "lost_records": group.lost_records,
        "records": group.records,
        "notes": group.notes,
    })
}

fn text(report: &Report, aside: Option<&PathBuf>) -> String {
    let Report { node, data_dir, cluster, members, restore_epoch, successor, .. } = report;
    let mut lines = vec![format!("node {node} of cluster {cluster} ({members} nodes), data in {}", data_dir.display())];
    lines.extend(report.logs.iter().flat_map(log_lines));
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let rows: Vec<Vec<String>> = report
        .groups
        .iter()
        .map(|group| {
            vec![
                group.group.to_string(),
                number(group.shard.map(|shard| shard.0.into())),
                group.loss.name().to_owned(),
                number(group.last_index),
                number(group.known_index),
                number(group.snapshot_index),
                group.lost_records.to_string(),
                group.records.to_string(),
            ]
        })
        .collect();
    let head = ["group", "shard", "state", "last_index", "known_index", "snapshot", "lost_records", "keys_locks_seqs"];
    lines.push(table(&head, &rows).trim_end().to_owned());
    for group in &report.groups {
        if group.loss == Loss::All {
            lines.push(format!("GROUP {} STARTS EMPTY: this node has nothing of it", group.group));
        }
        lines.extend(group.notes.iter().map(|note| format!("group {}: {note}", group.group)));
    }
    lines.push(match report.is_whole() {
        true => "nothing is lost on this node".to_owned(),
        false => "what this node stored is LOST in part, as said above".to_owned(),
    });
    if *members > 1 {
        lines.push(
            "what only other nodes stored is not here: if a majority of them can be started, do that instead"
                .to_owned(),
        );
    }
    lines.push(match aside {
        Some(aside) => format!(
            "recovered: cluster {successor} of node {node} alone, restore epoch {restore_epoch}; the old data are in {}",
            aside.display()
        ),
        None => format!(
            "it would become a new cluster of node {node} alone, restore epoch {restore_epoch}, the old data kept beside"
        ),
    });
    lines.join("\n") + "\n"
}

fn log_lines(log: &LogReport) -> Vec<String> {
    let LogReport { shard, batches, records, end, beyond, .. } = log;
    let end = end.as_ref().map(|(file, offset)| format!(", up to {} offset {offset}", file.display()));
    let given_up = if log.given_up { " (a log that was given up before)" } else { "" };
    let mut lines = vec![format!(
        "shard {shard}{given_up}: {batches} batches with {records} records kept{}",
        end.unwrap_or_default()
    )];
    if let Some(damage) = &log.damage {
        lines.push(format!("  DAMAGED at {} offset {}: {}", damage.file.display(), damage.offset, damage.why));
        lines.push(format!(
            "  behind the kept part: {} batches, {} bytes, {} readable records; they are not used",
            beyond.batches, beyond.bytes, beyond.records
        ));
    }
    lines
}

fn refusal(error: RecoverError) -> Failure {
    let exit = match &error {
        RecoverError::NoData(_)
        | RecoverError::Pending(_)
        | RecoverError::Unfit(_)
        | RecoverError::DataDir(DataDirError::OtherNode { .. }) => Exit::Usage,
        RecoverError::DataDir(DataDirError::Manifest(ManifestError::Damaged(_) | ManifestError::Unsound { .. }))
        | RecoverError::Log(LogOpenError::Foreign { .. }) => Exit::DataDamaged,
        RecoverError::Locked(_)
        | RecoverError::DataDir(_)
        | RecoverError::Log(_)
        | RecoverError::Snapshot(_)
        | RecoverError::Shard(_) => Exit::HostNotFit,
        RecoverError::Write(_) | RecoverError::Io { .. } => Exit::Internal,
    };
    Failure::Other(exit, error.to_string())
}
