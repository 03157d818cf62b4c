//! A test's own shard.

use std::{net::SocketAddr, time::Duration};

use kahuna_shards::{
    env::Env,
    linux::{Linux, ShardOptions, spawn_shard},
};

/// Long enough that a test that runs into it has failed.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A port of loopback that the kernel picks.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Runs `test` on a shard of its own, in time.
pub fn on_shard<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    spawn_shard(ShardOptions::new(0), move || async move { Linux::timeout(LIMIT, test()).await.expect("in time") })
        .expect("a shard")
        .join()
}
