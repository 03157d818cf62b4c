//! Power fails at every step of taking snapshots and purging the log behind them, and of installing them.
//!
//! Claim: whatever was acknowledged is there after the next start: a snapshot that opens, and the log behind it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    path::Path,
    rc::Rc,
    time::Duration,
};

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
        AppliedContext, AppliedState, LogStore, Reads, StateMachine,
        messages::SnapshotBegin,
        snapshot::{BlockReader, IncomingSnapshot, Pointer, SnapshotFault},
        types::{Entry, Payload, Proposal, Types, Vote, log_id},
    },
};
use kahuna_sim::{DiskOp, DiskOptions, Sim, SimDisk, World};
use kahuna_wal::{Disk, Log, LogIdentity, LogOptions};
use openraft::{
    storage::{IOFlushed, RaftLogStorage, RaftStateMachine},
    type_config::TypeConfigExt,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

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
    set(index, index % 5, vec![index as u8; 3_000])
}

/// Sets a key of its own to what nothing packs.
fn noise(index: u64) -> Entry {
    let mut value = vec![0; 3_000];
    SmallRng::seed_from_u64(index).fill_bytes(&mut value);
    set(index, index, value)
}

fn set(index: u64, key: u64, value: Vec<u8>) -> Entry {
    let request = Request::from(KeySet {
        key: format!("key/{key}").into_bytes(),
        value,
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
    applied: Rc<AppliedState<Sim>>,
}

async fn open(disk: &SimDisk) -> Result<Opened, SnapshotFault> {
    open_with(disk, 1 << 30).await
}

async fn open_with(disk: &SimDisk, snapshot_log_bytes: u64) -> Result<Opened, SnapshotFault> {
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
    let start = AppliedContext {
        group: GROUP,
        log: log.clone(),
        disk: disk.clone(),
        dir: SNAPSHOTS.into(),
        clock: Clock::new(250).into(),
        snapshot_log_bytes,
    };
    Ok(Opened { applied: AppliedState::open(start, empty(), pointer).await?, log })
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

/// Entries in the snapshot that is installed.
const SENT: u64 = 100;

/// A whole snapshot, as a leader sends it.
struct Sent {
    begin: SnapshotBegin,
    chunks: Vec<(u64, Vec<u8>)>,
    hash: u64,
}

impl Sent {
    fn new() -> Rc<Self> {
        let sent = World::new(1).block_on(async {
            let disk = SimDisk::new(DiskOptions::default());
            let Opened { applied, .. } = open(&disk).await.expect("a fresh disk");
            (0..SENT).for_each(|index| drop(applied.apply(&noise(index))));
            applied.freeze().finish().await.expect("room");
            let file = applied.snapshots().newest().expect("just taken");
            let header = file.header.encode().into();
            let begin = SnapshotBegin { vote: Vote::new_committed(1, 1), transfer: 9, file_bytes: file.bytes, header };
            let mut reader = BlockReader::new(&file);
            let mut chunks = Vec::new();
            while let Some((offset, blocks)) = reader.next().await.expect("whole") {
                chunks.push((offset, blocks.to_vec()));
            }
            let hash = applied.machine().borrow().hash();
            Self { begin, chunks, hash }
        });
        assert!(sent.chunks.len() > 2, "a transfer of several parts");
        Rc::new(sent)
    }

    /// Takes it in, and installs it as openraft does.
    async fn install(&self, disk: &SimDisk, applied: &Rc<AppliedState<Sim>>) {
        let begun = IncomingSnapshot::<Sim>::begin(disk, Path::new(SNAPSHOTS), GROUP, &self.begin).await;
        let mut incoming = begun.unwrap_or_else(stop);
        for (offset, blocks) in &self.chunks {
            incoming.chunk(*offset, blocks).await.unwrap_or_else(stop);
        }
        incoming.sync().await.unwrap_or_else(stop);
        let (header, data) = incoming.finish().unwrap_or_else(stop);
        StateMachine { applied: applied.clone(), reads: Reads::default() }
            .install_snapshot(&header.meta(), data)
            .await
            .unwrap_or_else(stop);
    }
}

/// A replica with a snapshot of its own: the first round's entries.
async fn with_one_round(disk: &SimDisk) -> Opened {
    let mut opened = open(disk).await.unwrap_or_else(stop);
    for index in 0..ENTRIES {
        let (told, flushed) = Types::<Sim>::oneshot::<io::Result<()>>();
        opened.log.append([entry(index)], IOFlushed::<Types<Sim>>::signal(told)).await.unwrap_or_else(stop);
        flushed.await.unwrap_or_else(|_| stop("the log closed")).unwrap_or_else(stop);
        opened.applied.apply(&entry(index));
    }
    opened.applied.freeze().finish().await.unwrap_or_else(stop);
    opened
}

/// A disk on which power failed `time` after an install began, whether the install had ended, and how long it takes.
fn interrupted(seed: u64, sent: &Rc<Sent>, time: Duration) -> (SimDisk, bool, Duration) {
    let world = World::new(seed);
    let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
    let (began, took) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(Duration::MAX)));
    let (node, sent, begun, ended) = (disk.clone(), sent.clone(), began.clone(), took.clone());
    world.spawn_on(NODE, async move {
        let Opened { applied, .. } = with_one_round(&node).await;
        begun.set(true);
        let start = Sim::boot_clock();
        sent.install(&node, &applied).await;
        ended.set(Sim::boot_clock() - start);
    });
    while !began.get() {
        world.run_for(Duration::from_micros(20));
    }
    world.run_for(time);
    assert!(world.exits().is_empty(), "seed {seed}: {:?}", world.exits());
    world.kill(NODE);
    disk.crash();
    (disk, took.get() < Duration::MAX, took.get())
}

/// Claim: a receiver that dies anywhere in an install has its own snapshot or the new one, whole, and nothing of a half
/// one; what was told as installed is there, and the next attempt from scratch succeeds.
#[test]
fn wherever_power_fails_an_install_leaves_the_old_snapshot_or_the_new_one() {
    let (old, new) = (ENTRIES - 1, SENT - 1);
    let sent = Sent::new();
    let mut seen = BTreeSet::new();
    for seed in 0..2 {
        let (_, ended, whole) = interrupted(seed, &sent, Duration::from_secs(1));
        assert!(ended, "it ended by itself");
        for step in 0..=STEPS / 2 {
            let time = (whole + Duration::from_micros(100)) * step / (STEPS / 2);
            let (disk, ended, _) = interrupted(seed, &sent, time);
            let sent = sent.clone();
            let last = World::new(seed).block_on(async move {
                let Opened { applied, .. } = open(&disk).await.expect("a snapshot that opens");
                let files = disk.list(Path::new(SNAPSHOTS)).await.expect("it is there");
                assert_eq!(files.len(), 1, "seed {seed}, power fails after {time:?}: {files:?}");
                let last = applied.last().map(|last| last.index);
                if last == Some(old) {
                    assert!(!ended, "seed {seed}, after {time:?}: it was told as installed");
                    sent.install(&disk, &applied).await;
                }
                assert_eq!(applied.machine().borrow().hash(), sent.hash, "seed {seed}, after {time:?}");
                last
            });
            seen.insert(last);
        }
    }
    assert_eq!(seen, BTreeSet::from([Some(old), Some(new)]), "both were met");
}

/// Claim: an install that finds no room for the file's name waits and is repeated, and is not told as done before.
#[test]
fn an_install_that_finds_no_room_is_repeated_until_there_is_some() {
    let sent = Sent::new();
    let world = World::new(1);
    let disk = SimDisk::new(DiskOptions { seed: 1, ..DiskOptions::default() });
    let state = Rc::new(RefCell::new(None));
    let installed = Rc::new(Cell::new(false));
    let (node, hash, shown, told) = (disk.clone(), sent.hash, state.clone(), installed.clone());
    world.spawn_on(NODE, async move {
        let Opened { applied, .. } = with_one_round(&node).await;
        shown.replace(Some(applied.clone()));
        // The one before is the length of the file in the making.
        node.fail(DiskOp::Meta, 1, io::ErrorKind::StorageFull);
        sent.install(&node, &applied).await;
        told.set(true);
    });
    world.run_for(Duration::from_secs(20));
    assert_eq!((world.exits(), installed.get()), (Vec::new(), false));
    let applied = state.take().expect("it began");
    let index = |applied: &AppliedState<Sim>| applied.snapshots().newest().map(|file| file.header.last.index);
    assert_eq!(index(&applied), Some(ENTRIES - 1), "the one before stays");
    disk.mend();
    world.run_for(Duration::from_secs(33));
    assert!(installed.get());
    assert_eq!(applied.machine().borrow().hash(), hash);
    assert_eq!(index(&applied), Some(SENT - 1));
    assert_eq!(world.exits(), []);
}

/// Claim: a snapshot is due once the entries behind the last one have as many bytes as it has, and as many as configured.
#[test]
fn a_snapshot_is_due_when_the_log_outgrows_the_last_one() {
    const LIMIT: u64 = 100_000;
    World::new(1).block_on(async {
        let disk = SimDisk::new(DiskOptions::default());
        let Opened { applied, .. } = open_with(&disk, LIMIT).await.expect("a fresh disk");
        // Without a snapshot, only the limit counts; no entry is shorter than its value.
        let mut next = 0;
        let mut until_due = || {
            let first = next;
            while !applied.is_snapshot_due() {
                applied.apply(&noise(next));
                next += 1;
            }
            next - first
        };
        let first = until_due();
        assert!((25..=LIMIT / 3_000 + 1).contains(&first), "{first}");
        // A snapshot of all keys, each written once, is about as long as the log was.
        let mut entries = first;
        for _ in 0..4 {
            applied.freeze().finish().await.expect("room");
            assert!(!applied.is_snapshot_due());
            let snapshot = applied.snapshots().newest().expect("just taken").bytes;
            assert!(snapshot > entries * 3_000, "a snapshot of {entries} keys is {snapshot} bytes long");
            let behind = until_due();
            let least = snapshot.max(LIMIT) / 3_400;
            assert!((least..=snapshot.max(LIMIT) / 3_000 + 1).contains(&behind), "{behind} behind {snapshot} bytes");
            entries += behind;
        }
        assert!(entries > 8 * first, "{entries}: each one lets twice as much pass as the one before");
    });
}
