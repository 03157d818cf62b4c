//! `serve`: one durable node, until a signal ends it.

use std::sync::Arc;

use kahuna::host::{self, Finding, Needs};
use kahuna_shards::env::{announce, say_in_background};
use kahuna_shards::node::manifest::ManifestError;
use kahuna_shards::node::{DataDirError, NodeStartError, ReshardError, start};
use kahuna_wal::LogOpenError;

use super::exit::{Exit, Failure};
use super::serve_args::NodeArgs;
use super::signals::Watch;

/// Checks the host, starts the node, waits until it has drained.
pub fn run(args: NodeArgs) -> Result<Exit, Failure> {
    say_in_background();
    let allow_tmpfs = args.allow_tmpfs.unwrap_or(false);
    let config = args.config()?;
    let findings = host::check(&Needs::of(&config, allow_tmpfs));
    let failed: Vec<String> = findings.iter().filter_map(Finding::trouble).collect();
    if !failed.is_empty() {
        return Err(Failure::Other(exit_of(&findings), failed.join("\nkahuna: ")));
    }
    let internal = |error| Failure::Other(Exit::Internal, format!("cannot watch for signals: {error}"));
    // Before the node starts: a start may wait for another process, and must end on a signal.
    let signals = Watch::begin().map_err(internal)?;
    announce(format_args!("node {}, data in {}", config.node, config.data_dir.display()));
    let node = Arc::new(start(config).map_err(refusal)?);
    let (clients, peers) = (node.client_address(), node.peer_address());
    announce(format_args!("listening on {clients} for clients, on {peers} for peers"));
    signals.started(node.clone());
    node.wait();
    Ok(Exit::Ok)
}

/// Damaged data is not the host's fault.
pub fn exit_of(findings: &[Finding]) -> Exit {
    let troubles: Vec<_> = findings.iter().filter_map(|finding| finding.result.as_ref().err()).collect();
    match troubles.as_slice() {
        [] => Exit::Ok,
        found if found.iter().all(|trouble| trouble.damaged) => Exit::DataDamaged,
        _ => Exit::HostNotFit,
    }
}

/// Error text and exit code of a failed start.
fn refusal(error: NodeStartError) -> Failure {
    let exit = match &error {
        NodeStartError::DataDir(DataDirError::Manifest(ManifestError::Damaged(_) | ManifestError::Unsound { .. })) => {
            Exit::DataDamaged
        }
        NodeStartError::OneDoor(_)
        | NodeStartError::Partitions(_)
        | NodeStartError::Timing(_)
        | NodeStartError::DataDir(
            DataDirError::NotListed(_) | DataDirError::PeersNotDistinct(_) | DataDirError::OtherCluster { .. },
        ) => Exit::Usage,
        NodeStartError::Reshard {
            source: ReshardError::Open(LogOpenError::Corrupt { .. } | LogOpenError::Missing { .. }),
            ..
        } => Exit::DataDamaged,
        NodeStartError::Reshard { .. } => Exit::Internal,
        NodeStartError::DataDir(_)
        | NodeStartError::OpenFiles { .. }
        | NodeStartError::Locked(_)
        | NodeStartError::Listen { .. }
        | NodeStartError::Shard(_) => Exit::HostNotFit,
    };
    Failure::Other(exit, error.to_string())
}
