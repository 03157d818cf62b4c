//! Runs a test on a shard, with a limit to its patience.

use std::time::Duration;

use kahuna_shards::{
    env::{Env, local::LocalOneshot},
    linux::{Linux, ShardOptions, spawn_shard},
};

/// Long enough that a test that runs into it has failed.
pub const LIMIT: Duration = Duration::from_secs(30);

pub fn on_shard<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    on_numbered_shard(0, test)
}

pub fn on_numbered_shard<T: Send + 'static>(index: usize, test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    spawn_shard(ShardOptions::new(index), move || async move { Linux::timeout(LIMIT, test()).await.expect("in time") })
        .expect("a shard")
        .join()
}

/// Waits until `done`, looking now and then.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = Linux::timeout(LIMIT / 2, async {
        while !done() {
            Linux::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_some(), "never: {what}");
}

/// A value that comes later, for tests.
pub fn later<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
    let (done, result) = LocalOneshot::pair();
    Linux::spawn(async move {
        let _ = done.send(future.await);
    });
    async move { result.await.expect("the task ends") }
}
