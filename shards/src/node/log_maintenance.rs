//! Maintenance of an open log: it is sealed when idle, gets room back, and is kept short.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::GroupId;
use kahuna_wal::{Log, Space};

use super::context::NodeContext;
use crate::env::{Env, until_mark};

/// Between two looks at the log's idleness and at the groups that pin it.
const MAINTAIN_EVERY: Duration = Duration::from_millis(100);
/// How many segments behind the newest a group's oldest entry may be while the disk is full.
const SHORT_LAG: u64 = 1;

/// Seals the log when it is idle, asks a full disk for room again, and asks groups that hold the log's oldest segments
/// for a snapshot.
pub async fn run_log_maintenance<E: Env>(cx: Rc<NodeContext<E>>, log: Log<E::Disk>) {
    let mut space = Space::Plenty;
    // Bytes written by the last look at which no group pinned an old segment: before more are, none does.
    let mut settled = None;
    while !cx.is_stopping() {
        E::sleep(until_mark(E::boot_clock(), MAINTAIN_EVERY)).await;
        log.seal_if_idle();
        log.retry_allocation();
        let now = log.space();
        if now != space {
            report_space(&cx, now, &log.refusal());
            space = now;
            settled = None;
        }
        let written = log.stats().bytes;
        if settled == Some(written) {
            continue;
        }
        let pinned = log.pinned();
        let newest = pinned.iter().map(|(_, segment)| *segment).max().unwrap_or(0);
        let lag = match space {
            Space::Plenty => segments_before_snapshots(&cx, pinned.len() as u64),
            Space::Reserve | Space::Exhausted => SHORT_LAG,
        };
        let old: Vec<_> = pinned.into_iter().filter(|(_, segment)| segment + lag < newest).collect();
        settled = old.is_empty().then_some(written);
        for group in old.into_iter().filter_map(|(group, _)| cx.shard.group(GroupId(group))) {
            group.replica().request_snapshot();
        }
    }
}

/// Prints how much room the log has, one line for the operator.
fn report_space<E: Env>(cx: &NodeContext<E>, space: Space, refusal: &str) {
    let what = match space {
        Space::Plenty => "has room for the log again; writes are taken again".to_owned(),
        Space::Reserve => {
            format!("gives the log no file ({refusal}): it lives on its reserve, and writes that grow are refused")
        }
        Space::Exhausted => {
            format!("gives the log no file ({refusal}), and its reserve is used up: nothing is written until it does")
        }
    };
    crate::say!("shard {}: the disk of {} {what}", cx.shard.id(), cx.config.data_dir.display());
}

/// How many segments behind the newest a group's oldest entry may be: twice what all groups together write before
/// they take snapshots by themselves. A busy group does so in time; this is for the idle ones among busy ones.
fn segments_before_snapshots<E: Env>(cx: &NodeContext<E>, groups: u64) -> u64 {
    2 + (2 * groups * cx.config.snapshot_log_bytes).div_ceil(cx.config.segment_bytes)
}
