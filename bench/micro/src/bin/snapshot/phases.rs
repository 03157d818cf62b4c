//! What is measured, one after the other.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kahuna_protocol::{Incarnation, ReplicaId};
use kahuna_shards::env::Env;
use kahuna_shards::group::{MAX_BATCH_COMMANDS, MAX_BATCHES};
use kahuna_shards::linux::{Linux, ShardOptions, spawn_shard};
use kahuna_shards::raft::Sender;
use kahuna_shards::raft::messages::{SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, put_chunk_head};
use kahuna_shards::raft::snapshot::{BlockReader, SnapshotFile};
use kahuna_shards::raft::types::Vote;

use crate::node::Node;
use crate::probe::{Probe, Running, Turns, nanoseconds};
use crate::values::Workload;

/// How long a phase lasts that has no end of its own.
const PHASE: Duration = Duration::from_secs(4);
/// Sets in a batch, and batches under way: as many as a group ever has.
const BATCH: usize = MAX_BATCH_COMMANDS as usize;
const WRITERS: usize = MAX_BATCHES as usize;
/// Longer than the removal of a snapshot's file takes.
const REMOVAL: Duration = Duration::from_secs(1);

const FIRST: &str = "writes, snapshot";
const SECOND: &str = "writes, second snapshot";
const BEHIND: &str = "writes, the first's file goes";
/// The phases whose turns are held against the limit.
pub const LIMITED: [&str; 3] = [FIRST, SECOND, BEHIND];

/// One phase.
pub struct Measured {
    /// What went on.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
    /// The shard's turns.
    pub turns: Turns,
    /// Nanoseconds until a batch was durable and applied.
    pub writes: Histogram<u64>,
}

/// Tasks that write for as long as this lives.
struct Writers {
    stopped: Rc<Cell<bool>>,
    taken: Rc<RefCell<Histogram<u64>>>,
}

impl Writers {
    fn start(node: &Rc<Node>, workload: &Rc<RefCell<Workload>>) -> Self {
        let this = Self { stopped: Rc::default(), taken: Rc::new(RefCell::new(nanoseconds())) };
        for _ in 0..WRITERS {
            let (node, workload) = (node.clone(), workload.clone());
            let (stopped, taken) = (this.stopped.clone(), this.taken.clone());
            Linux::spawn(async move {
                while !stopped.get() {
                    let before = Instant::now();
                    let batch = workload.borrow_mut().random_batch(BATCH, node.clock.stamp());
                    node.replica.propose(batch).await.expect("it leads");
                    taken.borrow_mut().saturating_record(before.elapsed().as_nanos() as u64);
                }
            });
        }
        this
    }

    fn take(&self) -> Histogram<u64> {
        self.taken.replace(nanoseconds())
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stopped.set(true);
    }
}

/// Fills a group, and takes two snapshots of it while it is written to and another one when it is not: the files of the last
/// two.
pub fn build(
    dir: &Path,
    workload: Workload,
    touched_mb: usize,
) -> Result<([PathBuf; 2], Vec<Measured>), Box<dyn Error>> {
    let dir = dir.to_owned();
    let shard = spawn_shard(ShardOptions::new(0), move || async move {
        touch(touched_mb);
        build_here(&dir, workload).await
    })?;
    Ok(shard.join())
}

async fn build_here(dir: &Path, workload: Workload) -> ([PathBuf; 2], Vec<Measured>) {
    let node = Rc::new(Node::start(dir, 1).await);
    node.lead().await;
    let running = Running(Probe::start());
    let probe = &running.0;
    let workload = Rc::new(RefCell::new(workload));
    let keys = workload.borrow().keys;
    let mut measured = Vec::new();
    let mut note = |name, began: Instant, writes| {
        let (seconds, turns) = (began.elapsed().as_secs_f64(), probe.take());
        measured.push(Measured { name, seconds, turns, writes });
    };

    let began = Instant::now();
    for first in (0..keys).step_by(BATCH) {
        let batch = workload.borrow_mut().batch(first..(first + BATCH as u32).min(keys), node.clock.stamp());
        node.replica.propose(batch).await.expect("it leads");
    }
    note("filling", began, nanoseconds());

    Linux::sleep(Duration::from_secs(1)).await;
    probe.forget().await;
    let began = Instant::now();
    Linux::sleep(PHASE).await;
    note("idle", began, nanoseconds());

    let began = Instant::now();
    let writers = Writers::start(&node, &workload);
    Linux::sleep(PHASE).await;
    note("writes", began, writers.take());

    let began = Instant::now();
    snapshot(&node).await;
    note(FIRST, began, writers.take());

    // The file of the first one goes, with all its blocks.
    let began = Instant::now();
    snapshot(&node).await;
    note(SECOND, began, writers.take());
    let began = Instant::now();
    Linux::sleep(REMOVAL).await;
    note(BEHIND, began, writers.take());

    drop(writers);
    Linux::sleep(Duration::from_millis(500)).await;
    let earlier = keep(&node, dir, "earlier");
    probe.forget().await;
    let began = Instant::now();
    snapshot(&node).await;
    note("snapshot alone", began, nanoseconds());
    ([earlier, keep(&node, dir, "later")], measured)
}

/// Has the system give memory to this thread's allocator, which keeps it, as a shard has it that has run for a while. On a
/// virtual machine the first touch of a page may take as long as its host takes to find one.
fn touch(megabytes: usize) {
    let chunks: Vec<Vec<u8>> = (0..16 * megabytes).map(|_| vec![1; 64 << 10]).collect();
    drop(std::hint::black_box(chunks));
}

/// Takes a snapshot of all that is applied now.
async fn snapshot(node: &Node) {
    let applied = node.replica.applied_index();
    node.replica.request_snapshot();
    while node.replica.status().snapshot_index < applied {
        Linux::sleep(Duration::from_millis(1)).await;
    }
}

/// Another name for the node's snapshot, that stays when the node replaces it.
fn keep(node: &Node, dir: &Path, name: &str) -> PathBuf {
    let kept = dir.join(name);
    let index = node.replica.status().snapshot_index;
    let file = std::fs::read_dir(&node.snapshots)
        .expect("it is there")
        .map(|file| file.expect("readable").path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{index}-"))))
        .expect("the snapshot");
    std::fs::hard_link(file, &kept).expect("the same file system");
    kept
}

/// Installs one snapshot after the other on a fresh replica.
pub fn install(dir: &Path, files: [PathBuf; 2], touched_mb: usize) -> Result<Vec<Measured>, Box<dyn Error>> {
    let dir = dir.to_owned();
    let shard = spawn_shard(ShardOptions::new(1), move || async move {
        touch(touched_mb);
        install_here(&dir, files).await
    })?;
    Ok(shard.join())
}

async fn install_here(dir: &Path, files: [PathBuf; 2]) -> Vec<Measured> {
    let node = Node::start(dir, 2).await;
    let running = Running(Probe::start());
    let probe = &running.0;
    let mut measured = Vec::new();
    for (file, name, after) in [
        (&files[0], "install on an empty replica", "after that"),
        (&files[1], "install on a full replica", "after that, the old state is freed"),
    ] {
        probe.forget().await;
        let began = Instant::now();
        send(&node, file).await;
        let (seconds, turns) = (began.elapsed().as_secs_f64(), probe.take());
        measured.push(Measured { name, seconds, turns, writes: nanoseconds() });
        let began = Instant::now();
        Linux::sleep(PHASE).await;
        let (seconds, turns) = (began.elapsed().as_secs_f64(), probe.take());
        measured.push(Measured { name: after, seconds, turns, writes: nanoseconds() });
    }
    measured
}

/// Does what a leader does that sends `path`.
async fn send(node: &Node, path: &Path) {
    let file = SnapshotFile::<Linux>::open(&node.disk, path).await.expect("a snapshot");
    let transfer = file.header.last.index;
    let vote = Vote::new_committed(file.header.last.leader_id.term + 10, 1);
    let begin = SnapshotBegin { vote, transfer, file_bytes: file.bytes, header: file.header.encode().into() };
    let mut body = Vec::new();
    begin.put(&mut body);
    message(node, SNAPSHOT_BEGIN, body).await;
    let mut reader = BlockReader::checking(&file);
    while let Some((offset, blocks)) = reader.next().await.expect("whole") {
        let mut body = Vec::new();
        put_chunk_head(&mut body, transfer, offset);
        body.extend_from_slice(blocks);
        message(node, SNAPSHOT_CHUNK, body).await;
    }
    message(node, SNAPSHOT_END, transfer.to_le_bytes().to_vec()).await;
    assert_eq!(node.replica.status().snapshot_index, file.header.last.index, "it was installed");
}

async fn message(node: &Node, kind: u16, body: Vec<u8>) {
    let sender = Sender { replica: ReplicaId(1), incarnation: Incarnation(1001), boot: 1 };
    node.replica.on_message(sender, kind, body.into()).await.expect("it is taken");
}
