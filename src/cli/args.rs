//! The whole command line, and the way from it to an exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::bench::BenchArgs;
use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::file::ConfigFile;
use super::inspect::{self, InspectVerb};
use super::keys::KeyVerb;
use super::locks::LockVerb;
use super::outcome::error_record;
use super::output::print;
use super::recover::RecoverArgs;
use super::sequences::SequenceVerb;
use super::serve_args::NodeArgs;
use super::{bench, check, explain, keys, limits, locks, recover, sequences, serve, status};
use crate::demo::{self, DemoArgs};

/// Locks, keys and sequences that survive: a node, and the commands that talk to one.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// A TOML file with the tables [serve] and [client]
    #[arg(long, env = "KAHUNA_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run a node
    ///
    /// Signals: INT and TERM drain (hand leaderships over, answer what is in flight, seal the logs), a second one stops at
    /// once. HUP drains, unless the node was started with it ignored, as nohup does. A node that has not started yet ends at
    /// once instead of draining. USR1 says on stderr how the node stands. USR2, ALRM, VTALRM, PROF, IO and PIPE do nothing.
    Serve(NodeArgs),
    /// Run a throw-away durable cluster on loopback, with a prompt
    Demo(DemoArgs),
    #[command(flatten)]
    Key(KeyVerb),
    /// The verbs of keys, by their full name
    #[command(subcommand)]
    Kv(KeyVerb),
    /// Take, prolong and give back locks
    #[command(subcommand)]
    Lock(LockVerb),
    /// Draw numbers that never come twice
    #[command(subcommand)]
    Seq(SequenceVerb),
    /// Show every node of the cluster
    Status,
    /// Show what the cluster accepts
    Limits,
    /// Check whether this host can run the node that these flags describe
    Check(NodeArgs),
    /// Make a new cluster of what a stopped node without a quorum still holds
    Recover(RecoverArgs),
    /// Measure a running cluster
    Bench(BenchArgs),
    /// Look into files of a node, whole or damaged, of a running node too
    #[command(subcommand)]
    Inspect(InspectVerb),
    /// Say what an error code, or a node's exit code, means and what to do
    Explain {
        /// Its name or number; an exit code as exit-65
        code: String,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // The parser prints help, version and mistakes itself, and exits with 0 or 2.
    let Cli { config, client, verb } = Cli::parse();
    let (exit, format) = match ConfigFile::read(config.as_deref()) {
        Err(failure) => (Err(failure), client.format()),
        Ok(file) => {
            let client = client.or(file.client);
            (dispatch(verb, file.serve, &client), client.format())
        }
    };
    let failure = match exit {
        Ok(exit) => return exit.into(),
        Err(failure) => failure,
    };
    if failure.exit() != Exit::Ok {
        kahuna_shards::say!("kahuna: {failure}");
    }
    if let Failure::Client(error) = &failure
        && format.is_json()
        && let Err(error) = print(&error_record(error), format)
    {
        kahuna_shards::say!("kahuna: {}", Failure::Output(error));
    }
    failure.exit().into()
}

fn dispatch(verb: Verb, file: NodeArgs, client: &ClientArgs) -> Result<Exit, Failure> {
    match verb {
        Verb::Serve(args) => serve::run(args.or(file)),
        Verb::Check(args) => check::run(args.or(file), client.format()),
        Verb::Recover(args) => recover::run(args, file, client.format()),
        Verb::Demo(args) => demo::run(&args),
        Verb::Key(verb) | Verb::Kv(verb) => keys::run(verb, client),
        Verb::Lock(verb) => locks::run(verb, client),
        Verb::Seq(verb) => sequences::run(verb, client),
        Verb::Status => status::run(client),
        Verb::Limits => limits::run(client),
        Verb::Bench(args) => bench::run(args, client),
        Verb::Inspect(verb) => inspect::run(verb, client.format()),
        Verb::Explain { code } => explain::run(&code, client.format()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_may_stand_before_and_behind_the_verb() {
        for line in [["kahuna", "-o", "json", "get", "k"], ["kahuna", "get", "k", "-o", "json"]] {
            let cli = Cli::try_parse_from(line).expect("a valid line");
            assert_eq!(cli.client.output, Some(crate::cli::output::Format::Json));
        }
    }

    #[test]
    fn negative_numbers_are_values() {
        for line in ["kahuna seq create s --initial -5 --increment -1 --max -9", "kahuna set k -5"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
