//! What a claim needs of the world it is made in.

use std::time::Duration;

use kahuna_client::{CallOptions, ClientError, Reply};
use kahuna_protocol::{Outcome as Answer, Request, RequestPrelude};

/// A client with a session of its own. In the simulator its futures wait; those of a client for threads are ready at once.
pub(crate) trait Asks {
    /// Where nodes listen for clients.
    fn endpoints(&self) -> &[String];

    /// Unix milliseconds by the client's wall clock.
    fn unix_ms(&self) -> u64;

    /// Waits for so long, or until the run ends.
    async fn pause(&self, time: Duration);

    /// Sends a request and waits for its reply, whose `safe_until` is by the recorder's clock.
    async fn call(&self, request: Request, options: CallOptions) -> Result<Reply, ClientError>;

    /// Sends one request to two nodes at once, on connections of their own: the answer of each, if it comes within `patience`.
    async fn call_both(
        &self,
        endpoints: [&str; 2],
        prelude: &RequestPrelude,
        request: &Request,
        patience: Duration,
    ) -> [Option<Answer>; 2];
}
