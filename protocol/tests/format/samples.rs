//! One value of every kind, every field with a value of its own.

use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::handshake::{ANY_SHARD, Hello, Welcome};
use kahuna_protocol::key::*;
use kahuna_protocol::lock::*;
use kahuna_protocol::meta::*;
use kahuna_protocol::sequence::*;
use kahuna_protocol::{
    ClusterId, GroupId, Incarnation, Limits, NodeId, Outcome, RangeMap, ReplicaId, Request, ShardId,
};

pub fn hello() -> Hello {
    Hello {
        min_version: 1,
        max_version: 1,
        shard: ANY_SHARD,
        cluster: ClusterId::NONE,
        client_name: "example client".into(),
    }
}

pub fn welcome() -> Welcome {
    Welcome {
        version: 1,
        node: NodeId(2),
        shard: ShardId(1),
        cluster: cluster(),
        limits: Limits::default(),
        map: map(),
    }
}

pub fn requests() -> Vec<Request> {
    let name = || b"jobs/nightly".to_vec();
    let owner = || b"worker-7".to_vec();
    vec![
        LockAcquire { name: name(), owner: owner(), ttl_ms: 30_000, wait_ms: 0 }.into(),
        LockExtend { name: name(), owner: owner(), ttl_ms: 15_000 }.into(),
        LockRelease { name: name(), owner: owner() }.into(),
        LockInfo { name: name() }.into(),
        KeySet {
            key: b"city/k\xc3\xb6ln".to_vec(),
            value: b"50.9 N".to_vec(),
            ttl_ms: Some(60_000),
            condition: Condition {
                absent: false,
                present: true,
                value: Some(b"51 N".to_vec()),
                revision: Some(6),
                if_lock: Some(LockGuard { name: b"city/k\xc3\xb6ln".to_vec(), token: 9 }),
            },
            no_history: true,
        }
        .into(),
        set_plain(),
        KeyGet { key: name(), revision: Some(3), as_of: None }.into(),
        KeyExists { key: name(), revision: None, as_of: Some(stamp()) }.into(),
        KeyDelete { key: name(), condition: Condition { revision: Some(4), ..Condition::default() } }.into(),
        KeyExtend { key: name(), ttl_ms: 1_000 }.into(),
        KeyPersist { key: name() }.into(),
        KeyScan {
            space: b"jobs".to_vec(),
            from: name(),
            after: true,
            prefix: b"jobs/n".to_vec(),
            limit: 100,
            as_of: Some(stamp()),
            keys_only: true,
        }
        .into(),
        KeyAppend { key: name(), suffix: b" E".to_vec(), condition: Condition::default(), no_history: true }.into(),
        SequenceCreate { name: b"tickets".to_vec(), initial: 1_000, increment: -2, max: Some(-5_000) }.into(),
        SequenceNext { name: b"tickets".to_vec(), idempotency_key: Vec::new() }.into(),
        SequenceReserve { name: b"tickets".to_vec(), count: 10, idempotency_key: b"order 4711".to_vec() }.into(),
        SequenceGet { name: b"tickets".to_vec() }.into(),
        SequenceDelete { name: b"tickets".to_vec() }.into(),
        MapGet {}.into(),
        StatusGet {}.into(),
        Tick { to: stamp() }.into(),
        PlaceGroups { settings: Settings::default(), map: RangeMap::even(2), placements: vec![placement()] }.into(),
        SetLed { group: GroupId(7) }.into(),
        UpsertNode { info: node_info() }.into(),
        ReplaceReplica { group: GroupId(7), node: NodeId(2), incarnation: Incarnation(99), loss: 1 }.into(),
        FinishReplacement { group: GroupId(7), replica: ReplicaId(40) }.into(),
    ]
}

/// The worked example of FORMAT.md.
pub fn set_plain() -> Request {
    let (key, value, condition) = (b"a/b".to_vec(), b"hello".to_vec(), Condition::default());
    KeySet { key, value, ttl_ms: None, condition, no_history: false }.into()
}

pub fn outcomes() -> Vec<Outcome> {
    let deadline_ms = 1_700_000_030_000;
    let owner = || b"worker-7".to_vec();
    vec![
        Acquired { token: 12, deadline_ms }.into(),
        Held { owner: owner(), token: 12, remaining_ms: 29_000 }.into(),
        LockExtended { token: 12, deadline_ms }.into(),
        NotHeld { last_token: 12 }.into(),
        NotOwner { owner: owner(), token: 12 }.into(),
        Released { token: 12 }.into(),
        LockState { owner: owner(), token: 12, deadline_ms, waiters: 3 }.into(),
        Set { revision: 7 }.into(),
        NotSet { revision: 7, why: Unmet::Revision }.into(),
        Value { value: b"hello".to_vec(), revision: 7, modified: stamp(), deadline_ms: Some(deadline_ms) }.into(),
        Exists { revision: 7, modified: stamp(), deadline_ms: None }.into(),
        NotFound { revision: 8 }.into(),
        Deleted { revision: 8 }.into(),
        KeyExtended { revision: 7, deadline_ms: Some(deadline_ms) }.into(),
        Page { items: vec![item("jobs/a", "1"), item("jobs/b", "")], more: Some(b"jobs/b".to_vec()), as_of: stamp() }
            .into(),
        Compacted { oldest: 5 }.into(),
        SequenceCreated { incarnation: 2 }.into(),
        SequenceExists { incarnation: 2, value: -40 }.into(),
        Allocated { incarnation: 2, start: 1_001, end: 1_010, count: 10 }.into(),
        SequenceState { incarnation: 2, value: 1_010, increment: 1, max: None }.into(),
        SequenceDeleted { incarnation: 2 }.into(),
        SequenceNotFound { last_incarnation: 2 }.into(),
        Exhausted { incarnation: 2, value: i64::MAX - 1, remaining: 1 }.into(),
        map().into(),
        status().into(),
        Done {}.into(),
        Replacement {
            group: GroupId(7),
            node: NodeId(2),
            incarnation: Incarnation(99),
            loss: 2,
            replica: ReplicaId(41),
            finished: true,
            lost: vec![ReplicaId(23), ReplicaId(40)],
        }
        .into(),
        ErrorReply {
            code: ErrorCode::NotLeader as u16,
            retry_after_ms: 20,
            leader: NodeId(3),
            text: "node 3 leads partition 5: ask there".into(),
        }
        .into(),
    ]
}

/// A stamp: 2023-11-14 22:13:20 UTC, counter 5.
pub fn stamp() -> u64 {
    (1_700_000_000_000 << 16) | 5
}

fn item(key: &str, value: &str) -> PageItem {
    PageItem { key: key.into(), value: value.into(), revision: 1, modified: stamp(), deadline_ms: None }
}

fn cluster() -> ClusterId {
    ClusterId(std::array::from_fn(|at| 0xa0 + u8::try_from(at).expect("below 16")))
}

fn map() -> Map {
    let mut ranges = RangeMap::even(2);
    ranges.ranges[1].leader = NodeId(2);
    Map { ranges, nodes: vec![node_info()] }
}

fn node_info() -> NodeInfo {
    NodeInfo {
        node: NodeId(2),
        incarnation: Incarnation(0x0102_0304_0506_0708),
        client_address: "10.0.0.2:2070".into(),
        peer_address: "n2:2071".into(),
        shards: 4,
    }
}

fn placement() -> Placement {
    Placement {
        group: GroupId(1),
        replicas: vec![Replica { replica: ReplicaId(11), node: NodeId(2), incarnation: Incarnation(99) }],
        led: true,
    }
}

fn status() -> Status {
    Status {
        node: NodeId(2),
        cluster: cluster(),
        incarnation: Incarnation(99),
        version: "0.1.0".into(),
        uptime_ms: 123_456,
        shards: 4,
        log_flushes: 1_000,
        log_bytes: 64 << 20,
        disk: DiskSpace::Reserve,
        connections: 17,
        peers_alive: vec![NodeId(1), NodeId(3)],
        waiting: String::new(),
        replicas: vec![ReplicaStatus {
            group: GroupId(5),
            replica: ReplicaId(11),
            shard: ShardId(1),
            term: 3,
            leader: NodeId(2),
            last_index: 40,
            applied_index: 39,
            snapshot_index: 20,
            first_index: 21,
            records: 12,
        }],
    }
}
