//! The replica, the puppets, and what must hold.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use kahuna_machine::{Machine, Range};
use kahuna_protocol::batch::{Batch, BatchBuilder};
use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::{ErrorCode, GroupId, Hlc, Incarnation, ReplicaId, Request, RequestPrelude};
use kahuna_shards::config::Timing;
use kahuna_shards::env::{Env, ExitCode};
use kahuna_shards::raft::messages::{
    APPEND, PRE_VOTE, READY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, TRANSFER_LEADER, VOTE, put_append,
    put_chunk_head, put_transfer_leader_request, put_vote_request, readiness,
};
use kahuna_shards::raft::snapshot::Header as SnapshotHeader;
use kahuna_shards::raft::types::{
    Entry, LogId, Member, Membership, Payload, Proposal, StoredMembership, Types, Vote, log_id,
};
use kahuna_shards::raft::{Heartbeats, Replica, ReplicaContext, Sender};
use kahuna_sim::{DiskOptions, Sim, SimDisk, World};
use kahuna_wal::{GroupLog, Log, LogIdentity, LogOptions};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

use crate::puppet::{Puppet, incarnation, links};
use crate::script::{AVote, AnEntry, AnId, Near, Number, Script, Step, What};

const GROUP: GroupId = GroupId(3);
/// The replica, on the node of the same number; the puppets are 2 and 3.
pub const OWN: u64 = 1;
/// Steps of one run.
const MOST_STEPS: usize = 48;
/// Beyond this nothing honest can be said any more.
pub const FAR: u64 = 1 << 62;

/// Plays a script.
///
/// # Panics
/// When something does not hold.
pub fn play(script: &Script) {
    let world = World::new(u64::from(script.seed));
    let answers = Rc::new(RefCell::new(script.answers.iter().copied().collect::<VecDeque<_>>()));
    for node in [2, 3] {
        let answers = answers.clone();
        world.spawn_on(node, async move {
            let (peers, _) = links(node as u32);
            peers.set_handler(Rc::new(Puppet(answers)));
        });
    }
    let steps: Vec<Step> = script.steps.iter().take(MOST_STEPS).cloned().collect();
    let done = Rc::new(Cell::new(false));
    let (begun, end) = (script.begun, done.clone());
    world.spawn_on(OWN, async move {
        let stage = Stage::open(begun).await;
        for step in &steps {
            stage.play(step).await;
        }
        stage.settle().await;
        stage.honest(1).await;
        end.set(true);
    });
    for _ in 0..600 {
        world.run_for(Duration::from_millis(100));
        assert!(world.exits().is_empty(), "the node ended: {:?}", world.exits());
        if done.get() {
            return;
        }
    }
    panic!("it does not come to an end");
}

/// The replica, and what was seen of it.
struct Stage {
    replica: Rc<Replica<Sim>>,
    /// Messages without an answer.
    unanswered: Rc<Cell<usize>>,
    /// A snapshot is whole, and about to be taken over.
    installing: Rc<Cell<bool>>,
    /// What was committed: the term of each index.
    committed: RefCell<BTreeMap<u64, u64>>,
    transfers: Cell<u64>,
    stamp: Cell<u64>,
}

impl Stage {
    async fn open(begun: bool) -> Self {
        let (peers, clock) = links(OWN as u32);
        let disk = SimDisk::new(DiskOptions::default());
        let identity = LogIdentity { cluster: [7; 16], incarnation: incarnation(OWN).0, shard: 0 };
        let log = Log::open(disk.clone(), Path::new("/data/log"), identity, LogOptions::small()).await;
        let (log, _) = log.expect("a fresh directory");
        let writer = log.clone();
        Sim::spawn(async move {
            writer.run().await.unwrap_or_else(|error| Sim::abort(ExitCode::DiskFailed, &error.to_string()));
        });
        let context = ReplicaContext {
            log,
            disk,
            snapshot_dir: Path::new("/data/snapshots").to_owned(),
            peers,
            clock,
            timing: Timing::default(),
            boot_deadline: Duration::ZERO,
            snapshot_log_bytes: 1 << 20,
            incarnation: incarnation(OWN),
            heartbeats: Heartbeats::new(Timing::default().heartbeat),
            campaigns: Rc::default(),
        };
        let empty = Machine::new(Settings::default(), Range::all(0));
        let replica = Replica::open(context, GROUP, ReplicaId(OWN), empty, GroupLog::default()).await;
        let replica = replica.expect("a fresh replica opens");
        if begun {
            let members: Vec<_> = (1..=3).map(|id| (ReplicaId(id), incarnation(id))).collect();
            replica.initialize(&members).await.expect("a fresh group");
        }
        Self {
            replica,
            unanswered: Rc::default(),
            installing: Rc::default(),
            committed: RefCell::default(),
            transfers: Cell::new(1),
            stamp: Cell::new(1),
        }
    }

    async fn play(&self, step: &Step) {
        while self.installing.get() {
            Sim::sleep(Duration::from_millis(5)).await;
        }
        match step {
            Step::Append { from, vote, previous, entries, commit } => {
                let body = self.append(*from, *vote, *previous, entries, *commit);
                self.say(*from, APPEND, body);
            }
            Step::Vote { from, trial, vote, last, appointed } => {
                let vote = self.vote(*from, *vote, false);
                let mut request = VoteRequest::<Types<Sim>>::new(vote, self.id(*last, None, vote));
                request.leadership_transfer = *appointed;
                let mut body = Vec::new();
                put_vote_request::<Sim>(&mut body, &request);
                self.say(*from, if *trial { PRE_VOTE } else { VOTE }, body);
            }
            Step::TakeOver { from, vote, to, last } => {
                let vote = self.vote(*from, *vote, true);
                let last = self.id(*last, None, vote);
                let request = TransferLeaderRequest::<Types<Sim>>::new(vote, u64::from(to % 4), last);
                let mut body = Vec::new();
                put_transfer_leader_request::<Sim>(&mut body, &request);
                self.say(*from, TRANSFER_LEADER, body);
            }
            Step::Snapshot { from, vote, last, membership, voters } => {
                self.snapshot(*from, *vote, *last, *membership, *voters);
            }
            Step::Honest { entries } => {
                self.settle().await;
                self.honest(*entries % 8).await;
            }
            Step::Bent { entries, bends } => {
                let Some(mut body) = self.honest_append(*entries % 8) else { return };
                for &(at, by) in bends {
                    let at = usize::from(at) % body.len();
                    body[at] = body[at].wrapping_add(by);
                }
                self.say(2, APPEND, body);
            }
            Step::Raw { from, kind, body } => self.say(*from, APPEND + u16::from(kind % 10), body.clone()),
            Step::Settle => self.settle().await,
            Step::Wait(tens) => Sim::sleep(Duration::from_millis(10 * u64::from(*tens))).await,
            Step::Campaign => {
                let replica = self.replica.clone();
                Sim::spawn(async move { replica.timer().elect().await });
            }
            Step::Propose => {
                let proposed = self.replica.propose(self.batch());
                Sim::spawn(async move { drop(proposed.await) });
            }
            Step::Compact => self.replica.request_snapshot(),
        }
    }

    /// Says something to the replica, and does not wait for the answer.
    fn say(&self, from: u8, kind: u16, body: Vec<u8>) {
        let from = puppet(from);
        let sender = Sender { replica: ReplicaId(from), incarnation: incarnation(from), boot: 1 };
        let answer = self.replica.on_message(sender, kind, body.into());
        let unanswered = self.unanswered.clone();
        unanswered.set(unanswered.get() + 1);
        Sim::spawn(async move {
            let _ = answer.await;
            unanswered.set(unanswered.get() - 1);
        });
    }

    /// Waits until all is answered; looks at what is committed.
    async fn settle(&self) {
        for _ in 0..100 {
            Sim::sleep(Duration::from_millis(20)).await;
            if self.unanswered.get() == 0 {
                break;
            }
        }
        let applied = self.replica.applied_index();
        let mut committed = self.committed.borrow_mut();
        for entry in self.replica.log_from(0).iter().filter(|entry| entry.log_id.index <= applied) {
            let LogId { leader_id, index } = entry.log_id;
            let before = *committed.entry(index).or_insert(leader_id.term);
            assert_eq!(before, leader_id.term, "the committed entry {index} has changed");
        }
    }

    /// An honest leader of a later term, with all that the replica has, is followed or told of a higher vote.
    async fn honest(&self, entries: u8) {
        let lives = |members: Vec<(ReplicaId, Incarnation)>| {
            members.iter().all(|&(id, lives)| id != ReplicaId(2) || lives == incarnation(2))
        };
        // The first membership that the replica hears of may be a lie.
        let Some(body) = self.honest_append(entries).filter(|_| lives(self.replica.members())) else { return };
        let sender = Sender { replica: ReplicaId(2), incarnation: incarnation(2), boot: 1 };
        let answer = self.replica.on_message(sender, APPEND, body.into());
        if let Some(Err(error)) = Sim::timeout(Duration::from_secs(5), answer).await {
            let code = error.code();
            assert!(!matches!(code, ErrorCode::BadRequest | ErrorCode::BadFrame), "an honest leader: {}", error.text);
            assert_ne!(code, ErrorCode::NotReady, "the replica has stopped: {}", error.text);
        }
    }

    fn honest_append(&self, entries: u8) -> Option<Vec<u8>> {
        let leader = self.replica.leader();
        let follows = leader.replica == Some(ReplicaId(2));
        let term = if follows { leader.term } else { leader.term + 1 };
        let last = self.last();
        let next = last.map_or(0, |last| last.index + 1);
        if term >= FAR || next >= FAR {
            return None;
        }
        let terms = last.map_or(0, |last| last.leader_id.term);
        let entry = |index| Entry {
            log_id: log_id(term.max(terms), index),
            payload: if index == 0 {
                Payload::Membership(membership(0))
            } else {
                Payload::Normal(Proposal(self.batch()))
            },
        };
        let entries: Vec<Entry> = (next..).take(entries.into()).map(entry).collect();
        let leader_commit = entries.last().map(|entry| entry.log_id).or(last);
        let vote = Vote::new_committed(term.max(terms), 2);
        Some(put(&AppendEntriesRequest { vote, prev_log_id: last, entries, leader_commit }))
    }

    fn append(&self, from: u8, vote: AVote, previous: AnId, entries: &[AnEntry], commit: AnId) -> Vec<u8> {
        let vote = self.vote(from, vote, true);
        let prev_log_id = self.id(previous, None, vote);
        let next = prev_log_id.map_or(0, |id| id.index.wrapping_add(1));
        let entry = |(entry, index): (&AnEntry, u64)| {
            let term = vote.leader_id.term.wrapping_sub(entry.below as u64) & (u64::MAX >> 1);
            let payload = match entry.what {
                What::Blank => Payload::Blank,
                What::Batch => Payload::Normal(Proposal(self.batch())),
                What::Members(some) => Payload::Membership(membership(some)),
                What::Noise(length) => {
                    Payload::Normal(Proposal(Batch::from_bytes((0..length).collect::<Vec<u8>>().into())))
                }
            };
            Entry { log_id: log_id(term, index), payload }
        };
        let entries: Vec<Entry> =
            entries.iter().take(12).zip((0..).map(|at: u64| next.wrapping_add(at))).map(entry).collect();
        let last = entries.last().map(|entry| entry.log_id).or(prev_log_id);
        let leader_commit = self.id(commit, last, vote);
        put(&AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
    }

    fn snapshot(&self, from: u8, vote: AVote, last: AnId, at: AnId, voters: u8) {
        let vote = self.vote(from, vote, true);
        let last = self.id(last, self.last(), vote).unwrap_or(log_id(1, 5));
        let at = self.id(at, None, vote);
        let header = SnapshotHeader { group: GROUP, last, membership: StoredMembership::new(at, membership(voters)) };
        let machine = Machine::new(Settings::default(), Range::all(0));
        let mut blocks = machine.freeze().into_blocks();
        let mut all = Vec::new();
        while let Some(block) = blocks.next() {
            all.extend_from_slice(&block);
        }
        let header: Bytes = header.encode().into();
        let transfer = self.transfers.replace(self.transfers.get() + 1);
        let offset = header.len() as u64;
        let begin = SnapshotBegin { vote, transfer, file_bytes: offset + all.len() as u64, header };
        let mut body = Vec::new();
        begin.put(&mut body);
        let mut chunk = Vec::new();
        put_chunk_head(&mut chunk, transfer, offset);
        chunk.extend_from_slice(&all);
        let sender = puppet(from);
        let sender = Sender { replica: ReplicaId(sender), incarnation: incarnation(sender), boot: 1 };
        let (replica, unanswered) = (self.replica.clone(), self.unanswered.clone());
        let installing = self.installing.clone();
        unanswered.set(unanswered.get() + 1);
        Sim::spawn(async move {
            let parts =
                [(SNAPSHOT_BEGIN, body), (SNAPSHOT_CHUNK, chunk), (SNAPSHOT_END, transfer.to_le_bytes().to_vec())];
            for (kind, body) in parts {
                if kind == SNAPSHOT_END {
                    // Nothing else is under way meanwhile: it may end the log in a later term.
                    installing.set(true);
                    for _ in 0..50 {
                        if unanswered.get() == 1 {
                            break;
                        }
                        Sim::sleep(Duration::from_millis(20)).await;
                    }
                    if unanswered.get() > 1 || is_asserted_away(vote, last, last_of(&replica)) {
                        break;
                    }
                }
                if replica.on_message(sender, kind, body.into()).await.is_err() {
                    break;
                }
            }
            installing.set(false);
            unanswered.set(unanswered.get() - 1);
        });
    }

    /// The replica's last log id.
    fn last(&self) -> Option<LogId> {
        last_of(&self.replica)
    }

    fn batch(&self) -> Batch {
        let request = Request::from(KeySet {
            key: b"key".to_vec(),
            value: b"value".to_vec(),
            ttl_ms: None,
            condition: Condition::default(),
            no_history: true,
        });
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let mut builder = BatchBuilder::new();
        builder.push(request.kind(), 0, &RequestPrelude::default(), &body);
        builder.finish(Hlc(self.stamp.replace(self.stamp.get() + 1)))
    }

    fn number(&self, number: Number, term: bool) -> u64 {
        let status = self.replica.status();
        let near = match number.near {
            Near::Last if term => self.replica.leader().term,
            Near::Last => status.last_index,
            Near::Committed if term => self.replica.leader().term + 1,
            Near::Committed => status.applied_index,
            Near::Purged => status.first_index,
            Near::Zero => 0,
            Near::Far => FAR,
            Near::Most => u64::MAX >> 1,
        };
        near.wrapping_add_signed(number.by.into())
    }

    /// A log id in a message of `vote` that names `before` last.
    fn id(&self, id: AnId, before: Option<LogId>, vote: Vote) -> Option<LogId> {
        match id {
            AnId::Nothing => None,
            AnId::Right(index) => {
                let index = self.number(index, false);
                let right =
                    self.replica.log_from(index).first().map(|entry| entry.log_id).filter(|id| id.index == index);
                Some(right.unwrap_or(log_id(self.replica.leader().term, index)))
            }
            AnId::Wrong(index, term) => Some(log_id(self.number(term, true), self.number(index, false))),
            AnId::Behind(by) => {
                let index = before.or(self.last()).map_or(0, |before| before.index.wrapping_add(u64::from(by % 8)));
                Some(log_id(vote.leader_id.term, index))
            }
        }
    }

    fn vote(&self, from: u8, vote: AVote, committed: bool) -> Vote {
        let replica = if vote.replica < 200 { puppet(from) } else { u64::from(vote.replica % 5) };
        let term = self.number(vote.term, true);
        if committed != vote.odd { Vote::new_committed(term, replica) } else { Vote::new(term, replica) }
    }
}

/// A replica's last log id.
fn last_of(replica: &Rc<Replica<Sim>>) -> Option<LogId> {
    let sender = Sender { replica: ReplicaId(9), incarnation: incarnation(9), boot: 1 };
    let answer = std::pin::pin!(replica.on_message(sender, READY, Bytes::new()));
    match answer.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok((_, body))) => readiness(&body).expect("the replica is honest").1,
        other => panic!("always answered: {other:?}"),
    }
}

/// Whether a snapshot of `vote` that ends with `last` lies behind a log that ends, or may end when it is taken over, in a later
/// term. That may come about: entries that were not committed, of a leader that never had the snapshot's, the replica itself for
/// one. openraft drops them, but a debug assertion of its own says that there are none.
fn is_asserted_away(vote: Vote, last: LogId, own: Option<LogId>) -> bool {
    let lies_behind = own.is_none_or(|own| last.index > own.index);
    lies_behind && last.leader_id.term < vote.leader_id.term
}

/// Mostly one of the two puppets; a stranger, the replica itself, nobody.
fn puppet(from: u8) -> u64 {
    match from {
        0..100 => 2,
        100..200 => 3,
        _ => u64::from(from % 6),
    }
}

fn put(request: &AppendEntriesRequest<Types<Sim>>) -> Vec<u8> {
    let mut body = Vec::new();
    put_append::<Sim>(&mut body, request);
    body
}

/// The group's members, or some others.
fn membership(some: u8) -> Membership {
    let voters = |bits: u8| (1..=4).filter(|id| bits & 1 << (id - 1) != 0).collect::<BTreeSet<u64>>();
    let (first, second) = match some {
        0 => (voters(7), None),
        some => (voters(some), (some >= 128).then(|| voters(some >> 4))),
    };
    let configurations: Vec<_> = [Some(first), second].into_iter().flatten().collect();
    let nodes: BTreeMap<u64, Member> = (1..=4).map(|id| (id, Member { incarnation: incarnation(id) })).collect();
    Membership::new(configurations, nodes).unwrap_or_default()
}
