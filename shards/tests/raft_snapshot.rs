//! Snapshots on their way in, message by message: in order, out of order, damaged, interrupted.

mod raft_support;

use std::path::Path;

use bytes::Bytes;
use kahuna_protocol::{ErrorCode, ErrorReply};
use kahuna_shards::env::{Env, ExitCode};
use kahuna_shards::linux::Linux;
use kahuna_shards::raft::OpenError;
use kahuna_shards::raft::messages::{
    SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, put_chunk_head, snapshot_reply,
};
use kahuna_shards::raft::snapshot::{BlockReader, SnapshotFile};
use kahuna_shards::raft::types::Vote;
use raft_support::{
    Node, Options, leader_among, members, newest_snapshot, noise, on_shard, sender, snapshot_dir, start, try_start,
};

/// A whole snapshot, as the messages that carry it.
struct Parts {
    header: Bytes,
    file_bytes: u64,
    chunks: Vec<(u64, Vec<u8>)>,
    hash: u64,
}

/// Makes a snapshot on a node of its own, of some 1.5 MB.
async fn parts(dir: &Path) -> Parts {
    let node = start(dir, 1, Options::default()).await;
    node.replica.initialize(&members(&[1])).await.expect("a fresh group");
    leader_among(&[&node]).await;
    for n in 0..150 {
        node.set(&format!("key {n}"), &noise(n, 10_000)).await;
    }
    node.replica.request_snapshot();
    while node.replica.status().snapshot_index == 0 {
        Linux::sleep(std::time::Duration::from_millis(5)).await;
    }
    let hash = node.hash();
    node.stop().await;
    let file = std::fs::read_dir(snapshot_dir(dir, 1)).expect("it is there").next().expect("one file");
    let disk = kahuna_shards::linux::disk();
    let file = SnapshotFile::<Linux>::open(&disk, &file.expect("readable").path()).await.expect("a snapshot");
    let mut reader = BlockReader::new(&file);
    let mut chunks = Vec::new();
    while let Some((offset, blocks)) = reader.next().await.expect("whole") {
        chunks.push((offset, blocks.to_vec()));
    }
    assert!(chunks.len() > 2, "a transfer of several parts");
    Parts { header: file.header.encode().into(), file_bytes: file.bytes, chunks, hash }
}

const VOTE: u64 = 50;

impl Parts {
    async fn begin(&self, to: &Node, term: u64, transfer: u64) -> Result<Vote, ErrorReply> {
        let begin = SnapshotBegin {
            vote: Vote::new_committed(term, 1),
            transfer,
            file_bytes: self.file_bytes,
            header: self.header.clone(),
        };
        let mut body = Vec::new();
        begin.put(&mut body);
        send(to, SNAPSHOT_BEGIN, body).await
    }

    async fn chunk(&self, to: &Node, transfer: u64, index: usize) -> Result<Vote, ErrorReply> {
        let (offset, blocks) = &self.chunks[index];
        send(to, SNAPSHOT_CHUNK, chunk(transfer, *offset, blocks)).await
    }

    async fn all(&self, to: &Node, transfer: u64) -> Result<Vote, ErrorReply> {
        self.begin(to, VOTE, transfer).await?;
        for index in 0..self.chunks.len() {
            self.chunk(to, transfer, index).await?;
        }
        end(to, transfer).await
    }
}

fn chunk(transfer: u64, offset: u64, blocks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_chunk_head(&mut body, transfer, offset);
    body.extend_from_slice(blocks);
    body
}

async fn end(to: &Node, transfer: u64) -> Result<Vote, ErrorReply> {
    send(to, SNAPSHOT_END, transfer.to_le_bytes().to_vec()).await
}

async fn send(to: &Node, kind: u16, body: Vec<u8>) -> Result<Vote, ErrorReply> {
    let (_, reply) = to.replica.on_message(sender(1), kind, body.into()).await?;
    Ok(snapshot_reply(&reply).expect("well formed"))
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(snapshot_dir(dir, 2)).expect("it is there").count()
}

#[test]
fn whatever_goes_wrong_the_next_attempt_from_scratch_succeeds() {
    on_shard(async |dir| {
        let parts = parts(dir).await;
        let node = start(dir, 2, Options::default()).await;
        let empty = node.hash();
        let not_ready = |answer: Result<Vote, ErrorReply>| {
            assert_eq!(answer.expect_err("refused").code(), ErrorCode::NotReady);
        };
        // Nothing has begun.
        not_ready(parts.chunk(&node, 1, 0).await);
        not_ready(end(&node, 1).await);
        // A part is missing.
        parts.begin(&node, VOTE, 2).await.expect("begun");
        not_ready(parts.chunk(&node, 2, 1).await);
        // The end comes early.
        parts.begin(&node, VOTE, 3).await.expect("begun");
        parts.chunk(&node, 3, 0).await.expect("taken");
        not_ready(end(&node, 3).await);
        // A bit is wrong.
        parts.begin(&node, VOTE, 4).await.expect("begun");
        let (offset, mut blocks) = parts.chunks[0].clone();
        let middle = blocks.len() / 2;
        blocks[middle] ^= 4;
        not_ready(send(&node, SNAPSHOT_CHUNK, chunk(4, offset, &blocks)).await);
        // A block is cut.
        parts.begin(&node, VOTE, 5).await.expect("begun");
        let cut = &parts.chunks[0].1[..middle];
        not_ready(send(&node, SNAPSHOT_CHUNK, chunk(5, offset, cut)).await);
        // Another attempt takes the place of one that is under way, and that one is over.
        parts.begin(&node, VOTE, 6).await.expect("begun");
        parts.chunk(&node, 6, 0).await.expect("taken");
        parts.begin(&node, VOTE, 7).await.expect("begun");
        not_ready(parts.chunk(&node, 6, 1).await);
        assert_eq!(node.hash(), empty, "nothing was installed");

        parts.all(&node, 8).await.expect("installed");
        assert_eq!(node.hash(), parts.hash);
        assert_eq!(files(dir), 1, "what was given up is removed");
        // An older leader is told so, and stops.
        assert_eq!(parts.begin(&node, VOTE - 1, 9).await, Ok(Vote::new_committed(VOTE, 1)));
        // It is durable.
        node.stop().await;
        let node = start(dir, 2, Options::default()).await;
        assert_eq!(node.hash(), parts.hash);
    });
}

#[test]
fn a_transfer_that_a_restart_interrupts_leaves_nothing() {
    on_shard(async |dir| {
        let parts = parts(dir).await;
        let node = start(dir, 2, Options::default()).await;
        parts.begin(&node, VOTE, 1).await.expect("begun");
        parts.chunk(&node, 1, 0).await.expect("taken");
        assert_eq!(files(dir), 1);
        node.stop().await;
        let node = start(dir, 2, Options::default()).await;
        assert_eq!(files(dir), 0);
        assert_eq!(parts.chunk(&node, 1, 1).await.expect_err("refused").code(), ErrorCode::NotReady);
        parts.all(&node, 2).await.expect("installed");
        assert_eq!(node.hash(), parts.hash);
    });
}

/// A node alone whose only snapshot stands for its whole log.
async fn with_purged_log(dir: &Path) {
    let node = start(dir, 1, Options::default()).await;
    node.replica.initialize(&members(&[1])).await.expect("a fresh group");
    leader_among(&[&node]).await;
    for round in 0..20 {
        node.set(&format!("key {round}"), &[1; 100]).await;
    }
    node.replica.request_snapshot();
    while node.replica.status().first_index < 20 {
        Linux::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(node.replica.status().snapshot_index + 1, node.replica.status().first_index, "no tail was left");
    node.stop().await;
}

#[test]
fn a_replica_that_lost_its_snapshot_is_not_opened_and_says_so() {
    on_shard(async |dir| {
        with_purged_log(dir).await;
        let path = newest_snapshot(dir, 1);
        let whole = std::fs::read(&path).expect("readable");
        let cut = whole[..whole.len() - 1].to_vec();
        let mut altered = vec![cut, Vec::new()];
        for at in [3, 20, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            altered.push(flipped);
        }
        for altered in altered {
            std::fs::write(&path, &altered).expect("writable");
            // The second time it is missing.
            for _ in 0..2 {
                let Err(OpenError::SnapshotLost { kept, .. }) = try_start(dir, 1, Options::default()).await else {
                    panic!("opened, or another error");
                };
                assert_eq!(std::fs::read(kept).expect("kept for the operator"), altered);
                assert!(!path.exists());
            }
        }
        std::fs::write(&path, &whole).expect("writable");
        try_start(dir, 1, Options::default()).await.expect("a mended file is as good as before");
    });
}

#[test]
fn a_snapshot_of_a_newer_version_is_not_taken_for_a_damaged_one() {
    on_shard(async |dir| {
        with_purged_log(dir).await;
        let path = newest_snapshot(dir, 1);
        let whole = std::fs::read(&path).expect("readable");
        let word = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().expect("four bytes")) as usize;
        let header = word(8);
        let mut newer_file = whole.clone();
        newer_file[4] = 200;
        let crc = crc32fast::hash(&newer_file[..header - 4]).to_le_bytes();
        newer_file[header - 4..header].copy_from_slice(&crc);
        // The machine's own version: behind length, checksum, number, kind and magic of the first block.
        let mut newer_machine = whole.clone();
        let block = &mut newer_machine[header..header + 16 + word(header)];
        block[20] = 200;
        let crc = crc32fast::hash(&[&block[..4], &block[8..]].concat()).to_le_bytes();
        block[4..8].copy_from_slice(&crc);
        for newer in [newer_file, newer_machine] {
            std::fs::write(&path, &newer).expect("writable");
            let opened = try_start(dir, 1, Options::default()).await.map(drop);
            assert!(matches!(opened, Err(OpenError::Snapshot { .. })));
            assert_eq!(opened.map_err(|error| error.exit_code()), Err(ExitCode::HostNotFit));
            assert!(path.exists(), "it stays where it is");
        }
    });
}
