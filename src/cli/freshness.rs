//! `--read`: how fresh an answer must be.

use clap::ValueEnum;
use kahuna_client::protocol::ReadLevel;

/// What a read may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Freshness {
    /// Everything acknowledged before it began
    #[default]
    Linearizable,
    /// The same as long as the leader's lease and the clocks' rates hold
    Lease,
    /// What any replica has applied
    Stale,
}

impl From<Freshness> for ReadLevel {
    fn from(read: Freshness) -> Self {
        match read {
            Freshness::Linearizable => Self::Linearizable,
            Freshness::Lease => Self::Lease,
            Freshness::Stale => Self::Stale,
        }
    }
}
