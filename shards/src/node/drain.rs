//! The end of a shard: leaderships are handed over, requests in flight are answered, the log is closed.

use std::rc::Rc;
use std::time::Duration;

use kahuna_wal::Space;

use super::context::NodeContext;
use super::hand_over::give_away;
use crate::env::Env;
use crate::group::Group;

/// How long a stop waits for leaderships to move and for requests in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Hands leaderships over, answers what is in flight, and closes the log.
pub async fn drain<E: Env>(cx: &NodeContext<E>) {
    let groups: Vec<Rc<Group<E>>> = cx.shard.groups().all();
    let handed_over = async {
        give_away(cx, &groups).await;
        cx.shard.load().drained().await;
    };
    if E::timeout(DRAIN_LIMIT, handed_over).await.is_none() {
        crate::say!("shard {}: stops with requests in flight after {DRAIN_LIMIT:?}", cx.shard.id());
    }
    // A replica may wait for a record that finds no room: its end would wait as well.
    let exhausted = cx.shard.space() == Some(Space::Exhausted);
    if exhausted {
        close_log(cx).await;
    }
    for group in &groups {
        group.stop();
        group.replica().shutdown().await;
    }
    if !exhausted {
        close_log(cx).await;
    }
    cx.shard.peers().close();
}

/// Closes the log, and returns once it is closed.
async fn close_log<E: Env>(cx: &NodeContext<E>) {
    let log = cx.shard.log();
    if let Some(log) = log {
        log.close();
        cx.log_closed.wait().await;
    }
}
