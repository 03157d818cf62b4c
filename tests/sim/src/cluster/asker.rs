//! A simulated client, as claims ask through it.

use std::time::Duration;

use futures_util::future::join;
use kahuna_client::{CallOptions, ClientError, Reply};
use kahuna_protocol::{Outcome as Answer, Request, RequestPrelude};
use kahuna_shards::env::Env;

use super::{SimClient, exchange::exchange};
use crate::{Sim, claims::Asks};

/// A session, and where the nodes are.
#[derive(Debug)]
pub(crate) struct SimAsker {
    client: SimClient,
    endpoints: Vec<String>,
}

impl SimAsker {
    /// A client with a session of its own. To be called by a task of its process.
    pub(crate) fn new(endpoints: Vec<String>) -> Self {
        Self { client: SimClient::new(endpoints.clone()), endpoints }
    }
}

impl Asks for SimAsker {
    fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    fn unix_ms(&self) -> u64 {
        Sim::wall_clock().as_millis()
    }

    async fn pause(&self, time: Duration) {
        Sim::sleep(time).await;
    }

    async fn call(&self, request: Request, options: CallOptions) -> Result<Reply, ClientError> {
        self.client.call_with(request, options).await
    }

    async fn call_both(
        &self,
        [one, two]: [&str; 2],
        prelude: &RequestPrelude,
        request: &Request,
        patience: Duration,
    ) -> [Option<Answer>; 2] {
        let ask = |endpoint| Sim::timeout(patience, exchange(endpoint, prelude, request, patience));
        let (one, two) = join(ask(one), ask(two)).await;
        [one, two].map(|answer| answer?.ok())
    }
}
