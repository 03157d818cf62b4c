//! The links between nodes under kills and cuts, in virtual time.
//!
//! Claim: what a link says about a call is true. Method: three nodes call each other all the time while nodes are killed and
//! wires are cut at random; afterwards the callers' outcomes are compared with what arrived. Times are virtual, so that how
//! soon a death is noticed can be stated exactly.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use kahuna_protocol::{ClusterId, GroupId, Header, Incarnation, Limits, NodeId, ReplicaId, ShardId, peer::PeerPrelude};
use kahuna_shards::{
    clock::Clock,
    config::Timing,
    env::{Env, Net},
    peer::{
        CallError, LocalNode, NodeEvent, PeerHandler, PeerIdentity, PeerLimits, PeerReplier, Peers, listen_to_peers,
        watch_nodes,
    },
};
use kahuna_sim::{Sim, SimNet, World};

const NODES: u32 = 3;
const KIND: u16 = 0x1101;
const GROUPS: u32 = 4;

fn address(node: u32) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(node).expect("few nodes")], 2071))
}

fn incarnation(node: u32) -> Incarnation {
    Incarnation(100 + u64::from(node))
}

/// One node's process.
#[derive(Clone)]
struct Process {
    peers: Rc<Peers<Sim>>,
    /// What its watcher said and when, in virtual time.
    events: Rc<RefCell<Vec<(Duration, NodeEvent)>>>,
}

impl Process {
    fn sees(&self, node: u32) -> bool {
        let said = |event: &NodeEvent| match event {
            NodeEvent::Up { node: of, .. } => (of.0 == node).then_some(true),
            NodeEvent::Down { node: of, .. } => (of.0 == node).then_some(false),
            _ => None,
        };
        self.events.borrow().iter().rev().find_map(|(_, event)| said(event)).unwrap_or(false)
    }
}

/// Starts node `node` under `boot`, with `handler` for what arrives.
fn start(world: &World, node: u32, boot: u64, handler: Rc<dyn PeerHandler>) -> Process {
    let peers = make_peers(node, boot, handler);
    let process = Process { peers: peers.clone(), events: Rc::default() };
    let events = process.events.clone();
    world.spawn_on(u64::from(node), async move {
        let listener = SimNet::listen(address(node), false).expect("the address is the node's own");
        let others = (1..=NODES).filter(|other| *other != node);
        peers.set_addresses(
            kahuna_shards::peer::AddressSource::Listed,
            others.map(|other| (NodeId(other), Some(incarnation(other)), address(other).to_string())).collect(),
        );
        Sim::spawn(listen_to_peers(peers.clone(), listener, |_, _, _| {}));
        watch_nodes(peers, false, move |event| events.borrow_mut().push((Sim::boot_clock(), event)), |_| {}).await;
    });
    process
}

/// The links of a node that does nothing yet.
fn make_peers(node: u32, boot: u64, handler: Rc<dyn PeerHandler>) -> Rc<Peers<Sim>> {
    let local = LocalNode {
        node: NodeId(node),
        incarnation: incarnation(node),
        boot_id: boot,
        shard: ShardId(0),
        shards: 1,
        client_address: String::new(),
        peer_address: address(node).to_string(),
        cluster: ClusterId([1; 16]),
        peer_set: Vec::new(),
    };
    let limits = PeerLimits::for_clients(&Limits::default());
    let peers = Peers::<Sim>::new(local, Rc::new(Clock::agreeing(250, Arc::default())), Timing::default(), limits);
    peers.set_handler(handler);
    peers
}

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: its process was killed before.
    Nothing,
    Answered,
    NotSent,
    Unknown,
}

/// What was called, by number, and what arrived.
#[derive(Default)]
struct Ledger {
    calls: RefCell<Vec<Told>>,
    /// (caller's boot, receiver's boot, group) -> numbers in order of arrival.
    arrived: RefCell<BTreeMap<(u64, u64, GroupId), Vec<u64>>>,
}

/// One process's end of the ledger.
struct Receiver {
    boot: u64,
    ledger: Rc<Ledger>,
}

impl PeerHandler for Receiver {
    fn on_frame(
        self: Rc<Self>,
        _from: PeerIdentity,
        prelude: PeerPrelude,
        _header: Header,
        body: Bytes,
        reply: PeerReplier,
    ) {
        let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        let key = (word(8), self.boot, prelude.group);
        self.ledger.arrived.borrow_mut().entry(key).or_default().push(word(0));
        // Some answers take a while, some are longer than a pipe holds.
        let answer = vec![0; if word(0).is_multiple_of(50) { 300_000 } else { 8 }];
        Sim::spawn(async move {
            if word_is_slow(&body) {
                Sim::sleep(Duration::from_millis(7)).await;
            }
            reply.send(KIND | 0x8000, |out| out.extend_from_slice(&answer));
        });
    }
}

fn word_is_slow(body: &Bytes) -> bool {
    body[0].is_multiple_of(3)
}

/// Calls the other nodes all the time, until `stop`.
async fn call_all_the_time(node: u32, boot: u64, peers: Rc<Peers<Sim>>, ledger: Rc<Ledger>, stop: Rc<Cell<bool>>) {
    let mut turn = 0_u32;
    while !stop.get() {
        for other in (1..=NODES).filter(|other| *other != node) {
            turn += 1;
            let number = {
                let mut calls = ledger.calls.borrow_mut();
                calls.push(Told::Nothing);
                calls.len() as u64 - 1
            };
            let prelude = PeerPrelude {
                group: GroupId(turn % GROUPS),
                from: ReplicaId(u64::from(node)),
                to: ReplicaId(u64::from(other)),
            };
            let limit = Duration::from_millis(if turn.is_multiple_of(5) { 6 } else { 900 });
            let call = peers.call(incarnation(other), prelude, KIND, 0, limit, |out| {
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(&boot.to_le_bytes());
            });
            let ledger = ledger.clone();
            Sim::spawn(async move {
                let told = match call.await {
                    Ok(reply) => {
                        assert_eq!(reply.kind, KIND | 0x8000);
                        Told::Answered
                    }
                    Err(CallError::NotSent(_) | CallError::Busy) => Told::NotSent,
                    Err(CallError::Lost(_) | CallError::TimedOut) => Told::Unknown,
                    Err(CallError::Refused(error, _)) => panic!("{}", error.text),
                };
                ledger.calls.borrow_mut()[usize::try_from(number).expect("an index")] = told;
            });
        }
        Sim::sleep(Duration::from_millis(2)).await;
    }
}

/// Three nodes under kills and cuts; gives the trace.
fn storm(seed: u64) -> u64 {
    let world = World::new(seed);
    let ledger = Rc::new(Ledger::default());
    let stop = Rc::new(Cell::new(false));
    let rng = kahuna_sim::SimRng::new(seed, 77);
    let mut boots = 0_u64;
    let mut killed = BTreeSet::new();
    let mut run = |node: u32| {
        boots += 1;
        let boot = 1000 * u64::from(node) + boots;
        let process = start(&world, node, boot, Rc::new(Receiver { boot, ledger: ledger.clone() }));
        let (peers, ledger, stop) = (process.peers.clone(), ledger.clone(), stop.clone());
        world.spawn_on(u64::from(node), call_all_the_time(node, boot, peers, ledger, stop));
        (boot, process)
    };
    let mut processes: BTreeMap<u32, (u64, Process)> = (1..=NODES).map(|node| (node, run(node))).collect();
    let any_node = || 1 + rng.below(u64::from(NODES)) as u32;
    for _ in 0..25 {
        world.run_for(Duration::from_millis(rng.below(400)));
        match rng.below(4) {
            0 => {
                let node = any_node();
                world.kill(u64::from(node));
                killed.insert(processes[&node].0);
                world.run_for(Duration::from_millis(rng.below(300)));
                processes.insert(node, run(node));
            }
            1 => world.net().cut(any_node().into(), any_node().into()),
            2 => {
                let (one, other) = (any_node().into(), any_node().into());
                world.net().cut(one, other);
                world.net().cut(other, one);
            }
            _ => world.net().heal_all(),
        }
    }
    world.net().heal_all();
    world.run_for(Duration::from_secs(4));
    for (node, (_, process)) in &processes {
        for other in (1..=NODES).filter(|other| other != node) {
            assert!(process.sees(other), "seed {seed}: node {node} does not see node {other} after all was healed");
        }
    }
    stop.set(true);
    world.run_for(Duration::from_secs(2));
    judge(seed, &ledger, &killed);
    world.trace()
}

fn judge(seed: u64, ledger: &Ledger, killed: &BTreeSet<u64>) {
    let calls = ledger.calls.borrow();
    let arrived = ledger.arrived.borrow();
    let mut times = vec![0_u32; calls.len()];
    for (key, numbers) in arrived.iter() {
        assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: {key:?} arrived out of order");
        for number in numbers {
            times[usize::try_from(*number).expect("an index")] += 1;
        }
    }
    let count = |told: Told| calls.iter().filter(|call| **call == told).count();
    for (number, (told, times)) in calls.iter().zip(&times).enumerate() {
        match told {
            Told::Answered => assert_eq!(*times, 1, "seed {seed}: call {number} was answered"),
            Told::NotSent => assert_eq!(*times, 0, "seed {seed}: call {number} never left, they said"),
            Told::Unknown | Told::Nothing => assert!(*times <= 1, "seed {seed}: call {number} arrived twice"),
        }
    }
    assert!(count(Told::Nothing) == 0 || !killed.is_empty(), "seed {seed}: a call that never ended");
    // Else nothing was tested.
    assert!(count(Told::Answered) > 1000 && count(Told::NotSent) > 10, "seed {seed}: too calm");
    assert!(count(Told::Unknown) > 10, "seed {seed}: too calm");
}

#[test]
fn what_a_link_says_about_a_call_is_true_under_kills_and_cuts() {
    for seed in 0..6 {
        storm(seed);
    }
}

#[test]
fn the_same_seed_runs_the_same_storm() {
    assert_eq!(storm(3), storm(3));
}

struct Nobody;

impl PeerHandler for Nobody {
    fn on_frame(self: Rc<Self>, _: PeerIdentity, _: PeerPrelude, _: Header, _: Bytes, reply: PeerReplier) {
        reply.send(KIND | 0x8000, |_| {});
    }
}

/// Three nodes that see each other.
fn calm(seed: u64) -> (World, Vec<Process>) {
    let world = World::new(seed);
    let processes: Vec<_> = (1..=NODES).map(|node| start(&world, node, u64::from(node), Rc::new(Nobody))).collect();
    world.run_for(Duration::from_secs(1));
    for (process, node) in processes.iter().zip(1..) {
        assert!((1..=NODES).all(|other| other == node || process.sees(other)), "seed {seed}");
        assert_eq!(process.events.borrow().len(), 4, "seed {seed}: two are up and heard, and nothing else");
    }
    (world, processes)
}

/// Claim: a node whose own pulses do not come is up, for it answers, and not heard.
#[test]
fn a_node_that_answers_and_sends_nothing_is_not_heard() {
    for seed in 0..5 {
        let world = World::new(seed);
        let processes: Vec<_> = (1..NODES).map(|node| start(&world, node, u64::from(node), Rc::new(Nobody))).collect();
        let mute = make_peers(NODES, 9, Rc::new(Nobody));
        let peers = mute.clone();
        world.spawn_on(u64::from(NODES), async move {
            let listener = SimNet::listen(address(NODES), false).expect("the address is the node's own");
            listen_to_peers(peers, listener, |_, _, _| {}).await;
        });
        world.run_for(Duration::from_secs(2));
        for process in &processes {
            assert!(process.sees(NODES), "seed {seed}: it answers");
            let events = process.events.borrow();
            let heard = |node: u32| {
                let is_it = |event: &NodeEvent| matches!(event, NodeEvent::Heard { node: of, .. } if of.0 == node);
                events.iter().any(|(_, event)| is_it(event))
            };
            let others = (1..NODES).filter(|other| NodeId(*other) != process.peers.local().node);
            assert!(!heard(NODES) && others.into_iter().all(heard), "seed {seed}: {events:?}");
        }
        mute.close();
    }
}

fn now(world: &World) -> Duration {
    world.block_on(async { Sim::boot_clock() })
}

/// How long after `since` the process saw node 3 go down.
fn noticed(process: &Process, since: Duration) -> Option<Duration> {
    let events = process.events.borrow();
    let down = events
        .iter()
        .find(|(at, event)| *at >= since && *event == NodeEvent::Down { node: NodeId(3), incarnation: incarnation(3) });
    down.map(|(at, _)| *at - since)
}

#[test]
fn a_killed_process_is_noticed_within_round_trips() {
    for seed in 0..20 {
        let (world, processes) = calm(seed);
        let killed_at = now(&world);
        world.kill(3);
        world.run_for(Duration::from_millis(100));
        for process in &processes[..2] {
            let noticed = noticed(process, killed_at).expect("noticed");
            // The reset, one attempt to connect; at most half a millisecond each way.
            assert!(noticed < Duration::from_millis(5), "seed {seed}: {noticed:?}");
        }
    }
}

#[test]
fn a_silent_node_is_noticed_within_the_limit_and_not_before() {
    let timing = Timing::default();
    let silent_after = timing.election_min.max(3 * timing.heartbeat);
    for seed in 0..20 {
        let (world, processes) = calm(seed);
        let cut_at = now(&world);
        for other in 1..u64::from(NODES) {
            world.net().cut(3, other);
            world.net().cut(other, 3);
        }
        world.run_for(Duration::from_secs(1));
        for process in &processes[..2] {
            let noticed = noticed(process, cut_at).expect("noticed");
            // It was last heard up to a heartbeat before the cut; timers are up to 10 ms late, a call in between adds one.
            assert!(noticed + timing.heartbeat + Duration::from_millis(15) > silent_after, "seed {seed}: {noticed:?}");
            assert!(noticed < silent_after + timing.heartbeat + Duration::from_millis(25), "seed {seed}: {noticed:?}");
            assert!(process.sees(1) || process.sees(2), "seed {seed}: the others still see each other");
        }
        world.net().heal_all();
        world.run_for(Duration::from_secs(2));
        assert!(processes[..2].iter().all(|process| process.sees(3)), "seed {seed}: healed");
        assert!(processes[2].sees(1) && processes[2].sees(2), "seed {seed}: healed");
    }
}

#[test]
fn a_process_that_is_back_is_seen_at_once() {
    for seed in 0..20 {
        let (world, processes) = calm(seed);
        world.kill(3);
        // Long enough for the others' attempts to be half a second apart.
        world.run_for(Duration::from_secs(5));
        let started_at = now(&world);
        let third = start(&world, 3, 33, Rc::new(Nobody));
        world.run_for(Duration::from_millis(100));
        assert!(third.sees(1) && third.sees(2), "seed {seed}");
        for process in &processes[..2] {
            let up = NodeEvent::Up { node: NodeId(3), incarnation: incarnation(3), boot_id: 33 };
            let events = process.events.borrow();
            let (at, _) = events.iter().find(|(_, event)| *event == up).expect("up");
            // It dials them, and that makes them dial it.
            assert!(*at - started_at < Duration::from_millis(10), "seed {seed}: {:?}", *at - started_at);
        }
    }
}
