//! A leader's node dies or falls silent: how soon its groups are led again, in virtual time.
//!
//! Claim: no group is led by two, and each is led again as soon as the old lease is over, not an election timeout later.
//! Method: three nodes with real logs and replicas of several groups on simulated disks and wires. Times are virtual, and
//! between the lease's end (300 ms) and openraft's own earliest campaign (450 ms) nobody but the failover campaigns.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, path::Path, rc::Rc, time::Duration};

use bytes::Bytes;
use kahuna_machine::{Machine, Range};
use kahuna_protocol::{
    ClusterId, ErrorCode, ErrorReply, GroupId, Header, Incarnation, Limits, NodeId, ReplicaId, ShardId, meta::Settings,
    peer::PeerPrelude,
};
use kahuna_shards::{
    clock::Clock,
    config::Timing,
    env::{Env, ExitCode, Net},
    group::Failover,
    peer::{
        LocalNode, NodeEvent, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers, watch_nodes,
    },
    raft::{Campaigns, Heartbeats, Replica, ReplicaContext, Sender},
};
use kahuna_sim::{DiskOptions, Sim, SimDisk, SimNet, World};
use kahuna_wal::{GroupLog, Log, LogIdentity, LogOptions};

const NODES: u32 = 3;
const GROUPS: u32 = 3;
const SEEDS: u64 = 3;

type Replicas = Rc<RefCell<BTreeMap<u32, Rc<Replica<Sim>>>>>;

fn address(node: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).expect("few nodes")], 2071))
}

fn incarnation(node: u32) -> Incarnation {
    Incarnation(100 + u64::from(node))
}

fn replica(group: u32, node: u32) -> ReplicaId {
    ReplicaId(u64::from(group * 10 + node))
}

/// Passes Raft's messages to the replica that is meant.
struct ToReplicas(Replicas);

impl PeerHandler for ToReplicas {
    fn on_frame(
        self: Rc<Self>,
        from: PeerIdentity,
        prelude: PeerPrelude,
        header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        let Some(replica) = self.0.borrow().get(&prelude.group.0).cloned() else {
            return reply.refuse(&ErrorReply::new(ErrorCode::NotReady, "not open yet"));
        };
        let sender = Sender { replica: prelude.from, incarnation: from.incarnation, boot: from.boot_id };
        let answer = replica.on_message(sender, header.kind, body);
        Sim::spawn(async move {
            match answer.await {
                Ok((kind, payload)) => reply.send(kind, |out| out.extend_from_slice(&payload)),
                Err(error) => reply.refuse(&error),
            }
        });
    }
}

/// Starts a node: links, watcher, failover, and a replica of every group.
fn start(world: &World, node: u32, seed: u64) -> Replicas {
    let replicas = Replicas::default();
    let own = replicas.clone();
    world.spawn_on(u64::from(node), async move {
        let local = LocalNode {
            node: NodeId(node),
            incarnation: incarnation(node),
            boot_id: u64::from(node),
            shard: ShardId(0),
            shards: 1,
            client_address: String::new(),
            peer_address: address(node).to_string(),
            cluster: ClusterId([1; 16]),
            peer_set: Vec::new(),
        };
        let clock = Rc::new(Clock::new(250));
        let limits = PeerLimits::for_clients(&Limits::default());
        let peers = Peers::<Sim>::new(local, clock.clone(), Timing::default(), limits);
        peers.set_handler(Rc::new(ToReplicas(own.clone())));
        let others = (1..=NODES).filter(|other| *other != node);
        peers.set_addresses(
            kahuna_shards::peer::AddressSource::Listed,
            others.map(|other| (NodeId(other), Some(incarnation(other)), address(other).to_string())).collect(),
        );
        let listener = SimNet::listen(address(node), false).expect("the address is the node's own");
        Sim::spawn(listen_to_peers(peers.clone(), listener, |_, _, _| {}));
        let failover = Failover::new(peers.clone(), Timing::default());
        let led = own.clone();
        let tell = move |event: NodeEvent| failover.on_event(event, led.borrow().values().cloned().collect());
        Sim::spawn(watch_nodes(peers.clone(), false, tell, |_| {}));
        open_groups(node, seed, peers, clock, own).await;
    });
    replicas
}

async fn open_groups(node: u32, seed: u64, peers: Rc<Peers<Sim>>, clock: Rc<Clock<Sim>>, replicas: Replicas) {
    let disk = SimDisk::new(DiskOptions { seed: seed * 10 + u64::from(node), ..DiskOptions::default() });
    let identity = LogIdentity { cluster: [1; 16], incarnation: incarnation(node).0, shard: 0 };
    let log = Log::open(disk.clone(), Path::new("/data/log"), identity, LogOptions::small()).await;
    let (log, _) = log.expect("a fresh directory");
    let writer = log.clone();
    Sim::spawn(async move {
        writer.run().await.unwrap_or_else(|error| Sim::abort(ExitCode::DiskFailed, &error.to_string()));
    });
    let heartbeats = Heartbeats::new(Timing::default().heartbeat);
    let campaigns = Rc::<Campaigns<Sim>>::default();
    for group in 1..=GROUPS {
        let context = ReplicaContext {
            log: log.clone(),
            disk: disk.clone(),
            snapshot_dir: format!("/data/snapshots-{group}").into(),
            peers: peers.clone(),
            clock: clock.clone(),
            timing: Timing::default(),
            boot_deadline: Duration::ZERO,
            snapshot_log_bytes: 1 << 20,
            incarnation: incarnation(node),
            heartbeats: heartbeats.clone(),
            campaigns: campaigns.clone(),
        };
        let machine = Machine::new(Settings::default(), Range::all(0));
        let opened = Replica::open(context, GroupId(group), replica(group, node), machine, GroupLog::default()).await;
        let opened = opened.expect("nothing to misread");
        replicas.borrow_mut().insert(group, opened.clone());
        let members: Vec<_> = (1..=NODES).map(|node| (replica(group, node), incarnation(node))).collect();
        if group % NODES + 1 == node {
            opened.initialize(&members).await.expect("a fresh group");
        }
    }
}

/// Who leads `group`, as the nodes of `among` that lead it think.
fn leaders(nodes: &[Replicas], among: &[u32], group: u32) -> Vec<(u64, u32)> {
    let leading = |node: &u32| {
        let replica = nodes[*node as usize - 1].borrow().get(&group).cloned()?;
        let leader = replica.leader();
        leader.leading.then_some((leader.term, *node))
    };
    among.iter().filter_map(leading).collect()
}

fn cluster(seed: u64) -> (World, Vec<Replicas>) {
    let world = World::new(seed);
    let nodes: Vec<_> = (1..=NODES).map(|node| start(&world, node, seed)).collect();
    world.run_for(Duration::from_secs(3));
    for group in 1..=GROUPS {
        assert_eq!(leaders(&nodes, &[1, 2, 3], group).len(), 1, "seed {seed}: group {group}");
    }
    (world, nodes)
}

/// Runs the world until the nodes of `among` lead all groups; how long that took.
fn until_led(world: &World, nodes: &[Replicas], among: &[u32], seed: u64) -> Duration {
    for millis in 0..5000 {
        let mut unled = 0;
        for group in 1..=GROUPS {
            let leaders = leaders(nodes, among, group);
            let terms: std::collections::BTreeSet<u64> = leaders.iter().map(|(term, _)| *term).collect();
            assert_eq!(terms.len(), leaders.len(), "seed {seed}: two leaders in one term of group {group}");
            unled += u32::from(leaders.is_empty());
        }
        if unled == 0 {
            return Duration::from_millis(millis);
        }
        world.run_for(Duration::from_millis(1));
    }
    panic!("seed {seed}: groups without a leader");
}

#[test]
fn the_groups_of_a_killed_node_are_led_again_when_its_lease_is_over() {
    for seed in 0..SEEDS {
        let (world, nodes) = cluster(seed);
        let led: Vec<u32> = (1..=GROUPS).filter(|group| !leaders(&nodes, &[1], *group).is_empty()).collect();
        assert!(!led.is_empty(), "seed {seed}: node 1 leads nothing");
        world.kill(1);
        let took = until_led(&world, &nodes, &[2, 3], seed);
        let timing = Timing::default();
        // The lease began up to a heartbeat before the kill. Four round trips and flushes, and one missed turn.
        assert!(took + timing.heartbeat + Duration::from_millis(5) >= timing.election_max, "seed {seed}: {took:?}");
        assert!(took <= timing.election_max + Duration::from_millis(50), "seed {seed}: {took:?}");
    }
}

#[test]
fn the_groups_of_a_silent_node_are_led_again_and_it_follows_when_it_is_back() {
    for seed in 0..SEEDS {
        let (world, nodes) = cluster(seed);
        for other in 2..=u64::from(NODES) {
            world.net().cut(1, other);
            world.net().cut(other, 1);
        }
        let took = until_led(&world, &nodes, &[2, 3], seed);
        assert!(took <= Timing::default().election_max + Duration::from_millis(50), "seed {seed}: {took:?}");
        world.net().heal_all();
        world.run_for(Duration::from_secs(2));
        for group in 1..=GROUPS {
            assert_eq!(leaders(&nodes, &[1, 2, 3], group).len(), 1, "seed {seed}: group {group}");
            let known: Vec<_> = nodes.iter().map(|node| node.borrow()[&group].leader().replica).collect();
            assert!(known.iter().all(|replica| *replica == known[0]), "seed {seed}: group {group}: {known:?}");
        }
    }
}

#[test]
fn a_pause_shorter_than_the_lease_moves_no_leader() {
    for seed in 0..SEEDS {
        let (world, nodes) = cluster(seed);
        let before: Vec<_> = (1..=GROUPS).map(|group| leaders(&nodes, &[1, 2, 3], group)).collect();
        for other in 2..=u64::from(NODES) {
            world.net().cut(1, other);
            world.net().cut(other, 1);
        }
        // Long enough to be called dead, too short for anybody to be elected.
        world.run_for(Duration::from_millis(230));
        world.net().heal_all();
        world.run_for(Duration::from_secs(2));
        let after: Vec<_> = (1..=GROUPS).map(|group| leaders(&nodes, &[1, 2, 3], group)).collect();
        assert_eq!(before, after, "seed {seed}");
    }
}
