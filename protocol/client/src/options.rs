//! The configuration of a client, and what one call may set.

use std::time::Duration;

use kahuna_protocol::{ClusterId, Durability, ReadLevel};

/// How a client behaves. `Options::new` gives the defaults for a list of endpoints. No time is longer than a hundred years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to look for the cluster, `host:port` each. One that answers is enough: it names the other nodes.
    pub endpoints: Vec<String>,
    /// How long one request may take, all attempts together. Default 5 s.
    pub timeout: Duration,
    /// How long a node has for one attempt; a connection that stays silent for half as long again is given up.
    /// Default 1 s.
    pub attempt_timeout: Duration,
    /// How long connecting and the handshake may take. Default 1 s.
    pub connect_timeout: Duration,
    /// The first pause before a repeat; it doubles. Default 5 ms.
    pub backoff_min: Duration,
    /// The longest pause before a repeat, and before an endpoint that failed is tried again. Default 250 ms.
    pub backoff_max: Duration,
    /// Connect to the shards that lead, to save a hop; otherwise stay with the first node that answers. Default true.
    pub follow_leaders: bool,
    /// The cluster expected; [`ClusterId::NONE`] takes that of the first node that answers.
    pub cluster: ClusterId,
    /// Shown in the server's status output.
    pub name: String,
    /// Requests without an answer, above which new ones are refused with `Busy`. Default 65,536.
    pub max_pending: usize,
}

impl Options {
    /// The defaults for these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(250),
            follow_leaders: true,
            cluster: ClusterId::NONE,
            name: String::from("kahuna-client"),
            max_pending: 65_536,
        }
    }

    /// The same, with every time within [`LONGEST`].
    pub(crate) fn bounded(mut self) -> Self {
        for time in [
            &mut self.timeout,
            &mut self.attempt_timeout,
            &mut self.connect_timeout,
            &mut self.backoff_min,
            &mut self.backoff_max,
        ] {
            *time = (*time).min(LONGEST);
        }
        self
    }
}

/// Upper bound of all times, short enough for all arithmetic of clocks: a hundred years.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What one request may set for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Instead of [`Options::timeout`].
    pub timeout: Option<Duration>,
    /// What a read may show.
    pub read: ReadLevel,
    /// How durable a write is.
    pub durability: Durability,
    /// The one endpoint, `host:port`, that must answer: for requests about a node itself.
    pub endpoint: Option<String>,
}
