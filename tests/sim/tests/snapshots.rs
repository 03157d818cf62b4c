//! Power fails at every step of taking snapshots and purging the log behind them.
//!
//! Claim: whatever was acknowledged is there after the next start: a snapshot that opens, and the log behind it.

use std::{cell::Cell, collections::BTreeSet, io, path::Path, rc::Rc, time::Duration};

use kahuna_machine::{Machine, Range};
use kahuna_protocol::{
    GroupId, Request, RequestPrelude,
    batch::{Batch, BatchBuilder},
    key::{Condition, KeySet},
    meta::Settings,
};
use kahuna_shards::{
    clock::Clock,
    env::{Env, ExitCode},
    raft::{
        Applied, LogStore, Start,
        snapshot::{Pointer, SnapshotFault},
        types::{Entry, Payload, Proposal, Types, log_id},
    },
};
use kahuna_sim::{DiskOptions, Sim, SimDisk, World};
use kahuna_wal::{Disk, Log, LogIdentity, LogOptions};
use openraft::{
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

const GROUP: GroupId = GroupId(7);
const NODE: u64 = 1;
const SNAPSHOTS: &str = "/data/snapshots";
/// Rounds of entries, each ended by a snapshot and a purge of all but the last entries before it.
const ROUNDS: u64 = 4;
const ENTRIES: u64 = 8;
const TAIL: u64 = 3;
/// Power losses per seed, evenly over the work.
const STEPS: u32 = 120;

fn entry(index: u64) -> Entry {
    let request = Request::from(KeySet {
        key: format!("key/{}", index % 5).into_bytes(),
        value: vec![index as u8; 3_000],
        ttl_ms: None,
        condition: Condition::default(),
        no_history: true,
    });
    let mut body = Vec::new();
    request.encode_body(&mut body);
    let mut builder = BatchBuilder::new();
    builder.push(request.kind(), 0, &RequestPrelude::default(), &body);
    let batch: Batch = builder.finish(kahuna_protocol::Hlc::from_millis(1_000 + index));
    Entry { log_id: log_id(1, index), payload: Payload::Normal(Proposal(batch)) }
}

fn empty() -> Machine {
    Machine::new(Settings::default(), Range::all(0))
}

struct Opened {
    log: LogStore<Sim>,
    applied: Rc<Applied<Sim>>,
}

async fn open(disk: &SimDisk) -> Result<Opened, SnapshotFault> {
    let identity = LogIdentity { cluster: [1; 16], incarnation: 2, shard: 3 };
    let (log, mut recovered) =
        Log::open(disk.clone(), Path::new("/data/log"), identity, LogOptions::small()).await.expect("no damage");
    let writer = log.clone();
    Sim::spawn(async move {
        writer.run().await.unwrap_or_else(|error| Sim::abort(ExitCode::DiskFailed, &error.to_string()));
    });
    disk.create_dir_all(Path::new(SNAPSHOTS)).await.expect("a directory");
    let recovered = recovered.groups.remove(&GROUP.0).unwrap_or_default();
    let pointer = recovered.snapshot.as_ref().map(|bytes| Pointer::read(bytes).expect("ours"));
    let log = LogStore::<Sim>::new(GROUP, log, recovered).expect("ours");
    let start = Start {
        group: GROUP,
        log: log.clone(),
        disk: disk.clone(),
        dir: SNAPSHOTS.into(),
        clock: Clock::new(250).into(),
        snapshot_log_bytes: 1 << 30,
    };
    Ok(Opened { applied: Applied::open(start, empty(), pointer).await?, log })
}

/// Writes, applies, snapshots and purges; `acknowledged` is the first index that is not known to be durable.
async fn work(disk: SimDisk, acknowledged: Rc<Cell<u64>>, purges: bool) {
    let Opened { mut log, applied } = open(&disk).await.unwrap_or_else(|fault| stop(fault.to_string()));
    for round in 0..ROUNDS {
        for index in round * ENTRIES..(round + 1) * ENTRIES {
            let (told, flushed) = Types::<Sim>::oneshot::<io::Result<()>>();
            log.append([entry(index)], IOFlushed::<Types<Sim>>::signal(told)).await.unwrap_or_else(stop);
            flushed.await.unwrap_or_else(|_| stop("the log closed")).unwrap_or_else(stop);
            acknowledged.set(index + 1);
            applied.apply(&entry(index));
        }
        applied.freeze().finish().await.unwrap_or_else(stop);
        if purges {
            log.purge(log_id(1, (round + 1) * ENTRIES - 1 - TAIL)).await.unwrap_or_else(stop);
        }
    }
}

fn stop<T>(why: impl std::fmt::Display) -> T {
    Sim::abort(ExitCode::DiskFailed, &why.to_string())
}

/// A disk as power loss left it, the first index that was not acknowledged by then, and when the work ended.
fn after(seed: u64, time: Duration, purges: bool) -> (SimDisk, u64, Duration) {
    let world = World::new(seed);
    let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
    let acknowledged = Rc::new(Cell::new(0));
    let ended = Rc::new(Cell::new(Duration::MAX));
    let (node, told, end) = (disk.clone(), acknowledged.clone(), ended.clone());
    world.spawn_on(NODE, async move {
        let began = Sim::boot_clock();
        work(node, told, purges).await;
        end.set(Sim::boot_clock() - began);
    });
    world.run_for(time);
    assert!(world.exits().is_empty(), "seed {seed}: {:?}", world.exits());
    world.kill(NODE);
    disk.crash();
    (disk, acknowledged.get(), ended.get())
}

/// Opens what is there, applies the log behind the snapshot, and compares with a machine that applied everything: the
/// index that the snapshot ends with, if there is one.
fn check(seed: u64, disk: &SimDisk, acknowledged: u64) -> Result<Option<u64>, SnapshotFault> {
    World::new(seed).block_on(async {
        let Opened { log, applied } = open(disk).await?;
        let snapshot = applied.last().map(|last| last.index);
        let next = snapshot.map_or(0, |last| last + 1);
        let entries: Vec<Entry> = log.with_entries(|entries| {
            assert!(entries.purged() <= applied.last(), "the log begins within the snapshot");
            entries.range(next..).cloned().collect()
        });
        let first = entries.first().map_or(next, |first| first.log_id.index);
        assert_eq!(first, next, "nothing is missing behind the snapshot");
        entries.iter().for_each(|entry| drop(applied.apply(entry)));
        let count = applied.last().map_or(0, |last| last.index + 1);
        assert!(count >= acknowledged, "{count} of {acknowledged} acknowledged entries are left");
        let mut all = empty();
        for index in 0..count {
            let Payload::Normal(Proposal(batch)) = entry(index).payload else { unreachable!("made above") };
            all.apply(&batch).expect("readable");
        }
        assert_eq!(applied.machine().borrow().hash(), all.hash());
        Ok(snapshot)
    })
}

#[test]
fn wherever_power_fails_a_snapshot_opens_and_the_log_goes_on_behind_it() {
    let mut seen = BTreeSet::new();
    for seed in 0..2 {
        let whole = Duration::from_secs(1);
        let (_, acknowledged, end) = after(seed, whole, true);
        assert!(acknowledged == ROUNDS * ENTRIES && end < whole, "it ended by itself");
        for step in 0..=STEPS {
            let time = end * step / STEPS;
            let (disk, acknowledged, _) = after(seed, time, true);
            let checked = check(seed, &disk, acknowledged);
            seen.insert(checked.unwrap_or_else(|fault| panic!("seed {seed}, power fails after {time:?}: {fault}")));
        }
    }
    let every: BTreeSet<_> = (0..=ROUNDS).map(|rounds| (rounds * ENTRIES).checked_sub(1)).collect();
    assert_eq!(seen, every, "every snapshot was met by a power loss");
}

#[test]
fn a_damaged_snapshot_costs_nothing_while_the_log_reaches_back_to_the_start() {
    let last = ROUNDS * ENTRIES - 1;
    let path = Path::new(SNAPSHOTS).join(format!("{last}-1.snap"));
    let end = Duration::from_secs(1);
    let (disk, acknowledged, _) = after(1, end, false);
    disk.flip(&path, 100, 1).expect("the last snapshot");
    assert_eq!(check(1, &disk, acknowledged).expect("the log has it all"), None);
    // Without those entries, the replica has forgotten what it acknowledged.
    let (disk, acknowledged, _) = after(1, end, true);
    disk.flip(&path, 100, 1).expect("the last snapshot");
    for _ in 0..2 {
        let fault = check(1, &disk, acknowledged).expect_err("it is lost");
        assert!(fault.is_loss(), "{fault}");
    }
}
