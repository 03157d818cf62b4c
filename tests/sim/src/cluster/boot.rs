//! One node, from its data directory to its end: what `kahuna_shards::node::start` does on Linux.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use futures_util::future::join_all;
use kahuna_protocol::{ClusterId, Incarnation};
use kahuna_shards::{
    config::NodeConfig,
    env::{Env, ExitCode},
    node::{
        BootNumbers, DataDirError, NodeStartError, ReshardError, Runner, Setup, fit_shards,
        manifest::{Manifest, ManifestError},
        open_or_format, setups,
    },
};
use kahuna_wal::LogOpenError;
use openraft::AsyncRuntime;

use super::probe::Probe;
use crate::{Sim, SimDisk, SimRuntime, exec::current};

/// Runs a node until it is told to stop and has stopped.
pub(super) async fn run_node(disk: SimDisk, config: NodeConfig, probe: Probe, stop: flume::Receiver<()>) {
    let manifest = match prepare(&disk, &config).await {
        Ok(manifest) => Arc::new(manifest),
        Err(error) => Sim::abort(code_of(&error), &format!("the node does not start: {error}")),
    };
    let rng = SimRuntime::thread_rng();
    let mint = ClusterId((u128::from(rng.draw()) << 64 | u128::from(rng.draw())).to_le_bytes());
    let numbers = BootNumbers { boot_id: rng.draw(), mint };
    // Runners speak before they return here: nobody has to receive.
    let (listening, _listened) = mpsc::channel();
    let setups = setups::<Sim>(Arc::new(config), manifest, numbers, &listening, &stop);
    let start = |setup: Setup<Sim>| {
        let shard = setup.id.0;
        let started = current().as_shard(shard, || Runner::start(setup, disk.clone()));
        started.unwrap_or_else(|| Sim::abort(ExitCode::Bug, "a shard cannot listen"))
    };
    let runners: Vec<_> = setups.into_iter().map(start).collect();
    probe.set(runners.iter().map(|runner| runner.shard().clone()).collect());
    join_all(runners.iter().map(|runner| runner.run())).await;
    probe.set(Vec::new());
}

async fn prepare(disk: &SimDisk, config: &NodeConfig) -> Result<Manifest, NodeStartError> {
    let incarnation = Incarnation(SimRuntime::thread_rng().draw().max(1));
    let manifest = open_or_format(disk, config, incarnation).await?;
    remove_other_log_sets(disk, &config.data_dir, &manifest);
    let fitted = fit_shards(disk, config, manifest).await?;
    remove_other_log_sets(disk, &config.data_dir, &fitted);
    Ok(fitted)
}

/// Removes every set of logs but the valid one; lost logs stay.
fn remove_other_log_sets(disk: &SimDisk, dir: &Path, manifest: &Manifest) {
    let valid = manifest.founding.as_ref().map(|_| Manifest::log_set_dir(dir, manifest.log_set));
    let lost = manifest.lost_log_dirs(dir);
    let is_set = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("logs-"));
    for set in disk.directories(dir).into_iter().filter(|path| is_set(path) && Some(path) != valid.as_ref()) {
        if lost.iter().all(|log| !log.starts_with(&set)) {
            disk.remove_tree(&set);
            continue;
        }
        disk.directories(&set).iter().filter(|log| !lost.contains(log)).for_each(|log| disk.remove_tree(log));
    }
}

/// What the binary would exit with.
fn code_of(error: &NodeStartError) -> ExitCode {
    match error {
        NodeStartError::DataDir(DataDirError::Io { .. } | DataDirError::Manifest(ManifestError::Io { .. }))
        | NodeStartError::Reshard {
            source:
                ReshardError::Open(LogOpenError::Io { .. })
                | ReshardError::Write(_)
                | ReshardError::Manifest(ManifestError::Io { .. }),
            ..
        } => ExitCode::DiskFailed,
        NodeStartError::DataDir(DataDirError::Manifest(ManifestError::Damaged(_))) | NodeStartError::Reshard { .. } => {
            ExitCode::DataDamaged
        }
        _ => ExitCode::Bug,
    }
}
