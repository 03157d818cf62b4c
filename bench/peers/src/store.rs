//! What the generator asks of every peer.

use std::future::Future;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

/// Sequences that `seq` draws from, in turn.
pub const SEQUENCES: u64 = 16;
/// How long a lock of a cycle that breaks off stays taken, in milliseconds.
pub const LOCK_TTL_MS: u64 = 10_000;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    /// Set a key
    Set,
    /// Get a key that exists, as fresh as the peer can
    Get,
    /// Take a lock that nobody else wants, and give it back
    Lock,
    /// Draw the next value of a sequence
    Seq,
}

impl Workload {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Lock => "lock",
            Self::Seq => "seq",
        }
    }
}

/// A client with connections of its own. Its clones share them; what a clone remembers is its own.
pub trait Client: Clone + Send + 'static {
    /// Writes a key, whatever is there.
    fn set(&mut self, key: &str, value: &[u8]) -> impl Future<Output = Result<()>> + Send;

    /// Reads a key; one that is not there is an error.
    fn get(&mut self, key: &str) -> impl Future<Output = Result<()>> + Send;

    /// Takes the lock and gives it back, two writes one after the other. This clone alone uses it.
    fn lock_cycle(&mut self, lock: &str, owner: &str) -> impl Future<Output = Result<()>> + Send;

    /// Draws a sequence's next value.
    fn next(&mut self, sequence: &str) -> impl Future<Output = Result<()>> + Send;
}

/// Running servers of one kind. Dropped, they are ended.
pub trait Servers: Sized {
    /// What talks to them.
    type Client: Client;
    /// What the table calls them.
    const NAME: &'static str;
    /// What a write survives once it is acknowledged.
    const DURABILITY: &'static str;
    /// What a read promises.
    const READS: &'static str;

    /// Starts `program` as often as it takes, and returns when the servers serve and the sequences are made.
    fn start(program: &Path, dir: &Path) -> impl Future<Output = Result<Self>>;

    /// One more client, connected to where `workload` is served best.
    fn connect(&self, workload: Workload) -> impl Future<Output = Result<Self::Client>>;

    /// Where clients connect.
    fn ports(&self) -> &[u16];
}

/// The name of a sequence.
pub fn sequence(index: u64) -> String {
    format!("sequence-{index}")
}
