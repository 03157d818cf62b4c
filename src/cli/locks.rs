//! The verbs of locks.

use clap::Subcommand;
use kahuna::units::Span;
use kahuna_client::CallOptions;
use kahuna_client::protocol::lock::{LockAcquire, LockExtend, LockInfo, LockRelease};

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};

/// What can be done to locks.
#[derive(Subcommand, Debug)]
pub enum LockVerb {
    /// Take a lock; exit code 4 if another holds it. Its live holder gets the same grant again
    Acquire {
        /// The lock
        name: String,
        /// Who takes it
        #[arg(long)]
        owner: String,
        /// How long the grant lasts
        #[arg(long)]
        ttl: Span,
        /// How long to queue for it
        #[arg(long, default_value = "0s")]
        wait: Span,
    },
    /// Let a held lock end this long from now
    Extend {
        /// The lock
        name: String,
        /// Its holder
        #[arg(long)]
        owner: String,
        /// How long it lasts from now on
        #[arg(long)]
        ttl: Span,
    },
    /// Give a held lock back
    Release {
        /// The lock
        name: String,
        /// Its holder
        #[arg(long)]
        owner: String,
    },
    /// Ask who holds a lock; exit code 3 if nobody does
    Info {
        /// The lock
        name: String,
    },
}

/// Runs one verb.
pub fn run(verb: LockVerb, client: &ClientArgs) -> Result<Exit, Failure> {
    let plain = CallOptions::default();
    match verb {
        LockVerb::Acquire { name, owner, ttl, wait } => {
            let (name, owner) = (name.into_bytes(), owner.into_bytes());
            client.answer(LockAcquire { name, owner, ttl_ms: ttl.millis(), wait_ms: wait.millis() }, plain)
        }
        LockVerb::Extend { name, owner, ttl } => {
            let (name, owner) = (name.into_bytes(), owner.into_bytes());
            client.answer(LockExtend { name, owner, ttl_ms: ttl.millis() }, plain)
        }
        LockVerb::Release { name, owner } => {
            client.answer(LockRelease { name: name.into_bytes(), owner: owner.into_bytes() }, plain)
        }
        LockVerb::Info { name } => client.answer(LockInfo { name: name.into_bytes() }, plain),
    }
}
