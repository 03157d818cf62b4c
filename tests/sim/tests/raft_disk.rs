//! What a replica answers leaves only from the disk: a real replica on the memory disk is asked for its vote, given entries,
//! or leads a change of its group's members, while the disk is held, cut off from its power, or failing.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use kahuna_machine::{Machine, Range};
use kahuna_protocol::meta::{Replacement, Settings};
use kahuna_protocol::{ClusterId, GroupId, Incarnation, Limits, NodeId, ReplicaId, ShardId};
use kahuna_shards::{
    clock::Clock,
    config::Timing,
    env::{Env, ExitCode},
    peer::{LocalNode, PeerLimits, Peers},
    raft::{
        Heartbeats, Replica, ReplicaContext, Sender, Step,
        encoding::vote_bytes,
        messages::{APPEND, VOTE, appended, put_append, put_vote_request, vote_response},
        types::{Entry, Member, Membership, Payload, Types, Vote, log_id},
    },
};
use kahuna_sim::{DiskOp, DiskOptions, Sim, SimDisk, World};
use kahuna_wal::{GroupLog, Log, LogIdentity, LogOptions};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};

const GROUP: GroupId = GroupId(3);
/// The node, its replica, and the other one that asks.
const NODE: u64 = 1;
const OTHER: u64 = 2;
const TERM: u64 = 5;

fn identity() -> LogIdentity {
    LogIdentity { cluster: [7; 16], incarnation: NODE, shard: 0 }
}

async fn open_log(disk: &SimDisk) -> (Log<SimDisk>, GroupLog) {
    let opened = Log::open(disk.clone(), Path::new("/data/log"), identity(), LogOptions::small()).await;
    let (log, mut recovered) = opened.expect("no damage, only losses");
    (log, recovered.groups.remove(&GROUP.0).unwrap_or_default())
}

/// A replica that never heard of anybody, on a log with its writer.
async fn open_replica(disk: SimDisk) -> Rc<Replica<Sim>> {
    let (log, recovered) = open_log(&disk).await;
    let writer = log.clone();
    Sim::spawn(async move {
        writer.run().await.unwrap_or_else(|error| Sim::abort(ExitCode::DiskFailed, &error.to_string()));
    });
    let clock: Rc<Clock<Sim>> = Clock::new(250).into();
    let local = LocalNode {
        node: NodeId(NODE as u32),
        incarnation: Incarnation(NODE),
        boot_id: 1,
        shard: ShardId(0),
        shards: 1,
        client_address: "one:1".into(),
        peer_address: "one:2".into(),
        cluster: ClusterId([7; 16]),
        peer_set: Vec::new(),
    };
    let timing = Timing::default();
    let context = ReplicaContext {
        log,
        disk,
        snapshot_dir: Path::new("/data/snapshots").to_owned(),
        peers: Peers::new(local, clock.clone(), timing, PeerLimits::for_clients(&Limits::default())),
        clock,
        timing,
        boot_deadline: Duration::ZERO,
        snapshot_log_bytes: 1 << 20,
        incarnation: Incarnation(NODE),
        heartbeats: Heartbeats::new(timing.heartbeat),
        campaigns: Rc::default(),
    };
    let empty = Machine::new(Settings::default(), Range::all(0));
    Replica::open(context, GROUP, ReplicaId(NODE), empty, recovered).await.expect("a fresh replica opens")
}

/// What the outside saw of one request.
#[derive(Default)]
struct Seen {
    asked: Cell<bool>,
    answer: RefCell<Option<Vec<u8>>>,
}

/// Opens a replica, does `before`, asks it, and loses its power in the moment of the answer.
async fn ask(disk: SimDisk, kind: u16, body: Bytes, seen: Rc<Seen>, before: impl FnOnce(&SimDisk)) {
    let replica = open_replica(disk.clone()).await;
    before(&disk);
    seen.asked.set(true);
    let sender = Sender { replica: ReplicaId(OTHER), incarnation: Incarnation(OTHER), boot: 1 };
    let (_, answer) = replica.on_message(sender, kind, body).await.expect("no boot gate holds");
    disk.crash();
    seen.answer.replace(Some(answer));
}

fn vote_body() -> Bytes {
    let mut body = Vec::new();
    put_vote_request::<Sim>(&mut body, &VoteRequest::<Types<Sim>>::new(Vote::new(TERM, OTHER), None));
    body.into()
}

/// The first entries of a group, from its leader.
fn entries_body() -> Bytes {
    let voters = BTreeSet::from([NODE, OTHER]);
    let nodes: BTreeMap<u64, Member> =
        voters.iter().map(|&voter| (voter, Member { incarnation: Incarnation(voter) })).collect();
    let membership = Membership::new(vec![voters], nodes).expect("all are known");
    let entries = vec![
        Entry { log_id: log_id(0, 0), payload: Payload::Membership(membership) },
        Entry { log_id: log_id(TERM, 1), payload: Payload::Blank },
    ];
    let vote = Vote::new_committed(TERM, OTHER);
    let request = AppendEntriesRequest::<Types<Sim>> { vote, prev_log_id: None, entries, leader_commit: None };
    let mut body = Vec::new();
    put_append::<Sim>(&mut body, &request);
    body.into()
}

/// What the disk holds of the group now.
fn left_on(world: &World, disk: &SimDisk) -> GroupLog {
    world.kill(NODE);
    world.block_on(open_log(disk)).1
}

/// Runs until there is an answer. The power goes with it.
fn until_answered(world: &World, seen: &Seen) -> Vec<u8> {
    world.block_on(async {
        while seen.answer.borrow().is_none() {
            Sim::sleep(Duration::from_micros(50)).await;
        }
    });
    seen.answer.take().expect("just seen")
}

#[test]
fn a_vote_is_on_disk_before_its_answer_leaves() {
    for seed in 0..10 {
        let world = World::new(seed);
        let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
        let seen = Rc::new(Seen::default());
        world.spawn_on(NODE, ask(disk.clone(), VOTE, vote_body(), seen.clone(), |disk| disk.hold(DiskOp::Write)));
        world.run_for(Duration::from_secs(1));
        assert!(seen.asked.get() && seen.answer.borrow().is_none(), "no answer while the disk is held");
        disk.let_go();
        let answer = vote_response::<Sim>(&until_answered(&world, &seen)).expect("an answer");
        assert!(answer.vote_granted);
        let vote = left_on(&world, &disk).vote;
        assert_eq!(vote, Some(vote_bytes(&Vote::new(TERM, OTHER))), "the vote survives the power");
    }
}

#[test]
fn entries_are_on_disk_before_they_are_acknowledged() {
    for seed in 0..10 {
        let world = World::new(seed);
        let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
        let seen = Rc::new(Seen::default());
        world.spawn_on(NODE, ask(disk.clone(), APPEND, entries_body(), seen.clone(), |disk| disk.hold(DiskOp::Write)));
        world.run_for(Duration::from_secs(1));
        assert!(seen.asked.get() && seen.answer.borrow().is_none(), "no answer while the disk is held");
        disk.let_go();
        let answer = appended::<Sim>(&until_answered(&world, &seen)).expect("an answer");
        assert!(matches!(answer.0, AppendEntriesResponse::Success), "{answer:?}");
        let left = left_on(&world, &disk);
        assert_eq!(left.vote, Some(vote_bytes(&Vote::new_committed(TERM, OTHER))));
        assert_eq!(left.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 1]);
    }
}

/// What the meta group minted for a place of this group: `replica` instead of those `lost`, on the node `incarnation`.
fn replacement(replica: u64, incarnation: u64, lost: &[u64]) -> Replacement {
    let (group, node, loss) = (GROUP, NodeId(incarnation as u32), 1);
    Replacement {
        group,
        node,
        incarnation: Incarnation(incarnation),
        loss,
        replica: ReplicaId(replica),
        finished: false,
        lost: lost.iter().copied().map(ReplicaId).collect(),
    }
}

/// A leader whose newest membership is not committed may be followed by one that never had it; nobody would look after a
/// replacement that was finished then.
#[test]
fn a_replacement_is_done_only_when_its_membership_is_committed() {
    let world = World::new(1);
    let disk = SimDisk::new(DiskOptions::default());
    let steps = Rc::new(RefCell::new(Vec::new()));
    let seen = steps.clone();
    world.spawn_on(NODE, async move {
        let replica = open_replica(disk.clone()).await;
        replica.initialize(&[(ReplicaId(NODE), Incarnation(NODE))]).await.expect("a fresh replica");
        while !replica.leader().leading {
            Sim::sleep(Duration::from_millis(10)).await;
        }
        let [own, learner] = [replacement(NODE, NODE, &[9]), replacement(20, 2, &[NODE])];
        let look = || async {
            let step = replica.carry_out(&own).await;
            seen.borrow_mut().push(step);
        };
        Sim::sleep(Duration::from_secs(1)).await;
        look().await;
        disk.hold(DiskOp::Write);
        assert_eq!(Sim::timeout(Duration::from_secs(1), replica.carry_out(&learner)).await, None, "it cannot end");
        assert_eq!(replica.members().len(), 2, "it has begun");
        look().await;
        disk.let_go();
        Sim::sleep(Duration::from_secs(1)).await;
        look().await;
    });
    world.run_for(Duration::from_secs(10));
    assert_eq!(*steps.borrow(), [Step::Done, Step::Wait, Step::Done]);
}

#[test]
fn a_node_whose_disk_fails_answers_nothing_and_ends_with_code_74() {
    for (kind, body) in [(VOTE, vote_body()), (APPEND, entries_body())] {
        for after in 0..2 {
            let world = World::new(after);
            let disk = SimDisk::new(DiskOptions::default());
            let seen = Rc::new(Seen::default());
            let fail = move |disk: &SimDisk| disk.fail(DiskOp::Write, after, std::io::ErrorKind::Other);
            world.spawn_on(NODE, ask(disk.clone(), kind, body.clone(), seen.clone(), fail));
            world.run_for(Duration::from_secs(1));
            assert!(seen.asked.get());
            let exits = world.exits();
            if seen.answer.borrow().is_some() {
                assert!(after > 0, "the first write was the one that counts");
                continue;
            }
            assert_eq!(exits.len(), 1, "the node ended: {exits:?}");
            assert_eq!((exits[0].node, exits[0].code as u8), (NODE, 74), "{exits:?}");
        }
    }
}
