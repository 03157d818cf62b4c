//! The command: patch after patch.

use std::{process::ExitCode, time::Instant};

use clap::Args;

use super::{
    copy::Copy,
    error::PatchesError,
    patch::Patch,
    table::Row,
    trial::{Seeds, Trial},
};
use crate::Format;

#[derive(Args)]
pub(crate) struct PatchesArgs {
    /// Try this patch alone, without the tree as it is; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The most seeds to run for each patch
    #[arg(long, default_value_t = 40)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many of them at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// How long faults happen, in seconds of virtual time
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// Run all seeds, also when one is caught: says how often a bug is found
    #[arg(long)]
    all: bool,
    /// Build without optimisation, and share the libraries that the tests were built with
    #[arg(long)]
    dev: bool,
    /// Only look whether every patch still applies
    #[arg(long)]
    check: bool,
    /// How to print: json is one object per line
    #[arg(short, long, value_enum, default_value_t = Format::Plain)]
    output: Format,
}

/// Tries the patches; exits with 1 unless each is found by the judge that should.
pub(crate) fn main(args: &PatchesArgs) -> ExitCode {
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kahuna-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &PatchesArgs) -> Result<bool, Box<dyn std::error::Error>> {
    let copy = Copy::new(args.dev)?;
    let mut patches = Patch::all(&copy.patches_dir())?;
    if let Some(name) = args.only.iter().find(|name| patches.iter().all(|patch| patch.name != **name)) {
        return Err(PatchesError::NoSuchPatch(name.clone()).into());
    }
    patches.retain(|patch| args.only.is_empty() || args.only.contains(&patch.name));
    let mut all_ok = true;
    if args.check {
        for patch in &patches {
            copy.reset()?;
            if let Err(error) = copy.apply(patch) {
                eprintln!("kahuna-sim: {error}");
                all_ok = false;
            }
        }
        return Ok(all_ok);
    }
    let as_it_is = args.only.is_empty().then_some(None);
    for patch in as_it_is.into_iter().chain(patches.iter().map(Some)) {
        let row = try_one(&copy, patch, args);
        row.print(args.output)?;
        all_ok &= row.ok;
    }
    copy.reset()?;
    Ok(all_ok)
}

fn try_one(copy: &Copy, patch: Option<&Patch>, args: &PatchesArgs) -> Row {
    let began = Instant::now();
    let mut row = Row {
        patch: patch.map(|patch| patch.name.clone()),
        breaks: patch.map_or_else(String::new, |patch| patch.breaks.clone()),
        judges: patch.map_or_else(Vec::new, |patch| patch.judges.clone()),
        ok: false,
        error: None,
        trial: Trial::default(),
        build_ms: 0,
        run_ms: 0,
    };
    let program = copy.reset().and_then(|()| {
        patch.map_or(Ok(()), |patch| copy.apply(patch))?;
        copy.build(patch.is_some_and(|patch| patch.of_library))
    });
    row.build_ms = millis(began);
    match program {
        Err(error) => row.error = Some(error.to_string()),
        Ok(program) => {
            let began = Instant::now();
            let PatchesArgs { from, seeds: count, seconds, jobs, all, .. } = *args;
            row.trial = Trial::run(&program, &row.judges, Seeds { from, count, seconds, jobs, all });
            row.run_ms = millis(began);
            row.ok = if patch.is_some() { row.trial.first.is_some() } else { row.trial.valid == row.trial.seeds };
        }
    }
    row
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
