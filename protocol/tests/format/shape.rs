//! What every archived type looks like, read off the compiled types: offsets, sizes, and a JSON form of values.

use kahuna_protocol::error::ErrorReply;
use kahuna_protocol::handshake::{Hello, Welcome};
use kahuna_protocol::key::*;
use kahuna_protocol::lock::*;
use kahuna_protocol::meta::*;
use kahuna_protocol::sequence::*;
use kahuna_protocol::{
    ClusterId, GroupId, Incarnation, Limits, NodeId, Outcome, RangeEntry, RangeMap, ReplicaId, Request, ShardId,
};
use serde_json::{Value as Json, json};

/// A field of an archived struct.
pub struct Row {
    pub offset: usize,
    pub size: usize,
    pub field: &'static str,
    pub kind: String,
}

/// A type that stands in an archive.
pub trait Shape {
    /// As the documentation names it.
    fn name() -> String;
    /// Of its fixed part, in bytes.
    fn size() -> usize;
    /// Its value, as the vectors write it.
    fn json(&self) -> Json;
}

macro_rules! plain {
    ($($Type:ty),+) => { $( impl Shape for $Type {
        fn name() -> String { stringify!($Type).to_owned() }
        fn size() -> usize { size_of::<rkyv::Archived<$Type>>() }
        fn json(&self) -> Json { json!(self) }
    } )+ };
}

plain!(u8, u16, u32, u64, i64, bool);

/// An id stands in an archive, and in a vector, as what it wraps.
macro_rules! ids {
    ($($Id:ident($Inner:ty)),+) => { $( impl Shape for $Id {
        fn name() -> String { <$Inner>::name() }
        fn size() -> usize { size_of::<rkyv::Archived<$Id>>() }
        fn json(&self) -> Json { self.0.json() }
    } )+ };
}

ids!(ClusterId([u8; 16]), NodeId(u32), GroupId(u32), Incarnation(u64), ReplicaId(u64), ShardId(u16));

impl Shape for Vec<u8> {
    fn name() -> String {
        "bytes".to_owned()
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        json!({ "hex": hex(self), "text": String::from_utf8_lossy(self) })
    }
}

impl Shape for String {
    fn name() -> String {
        "text".to_owned()
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        json!(self)
    }
}

impl Shape for [u8; 16] {
    fn name() -> String {
        "16 bytes".to_owned()
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        json!({ "hex": hex(self) })
    }
}

impl Shape for Unmet {
    fn name() -> String {
        "Unmet".to_owned()
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        json!(*self as u8)
    }
}

impl Shape for DiskSpace {
    fn name() -> String {
        "DiskSpace".to_owned()
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        json!(*self as u8)
    }
}

impl<T: Shape + rkyv::Archive> Shape for Option<T> {
    fn name() -> String {
        format!("{}?", T::name())
    }
    fn size() -> usize {
        size_of::<rkyv::Archived<Self>>()
    }
    fn json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Shape::json)
    }
}

/// `Vec<u8>` is `bytes`; every other list is one of structs.
macro_rules! lists {
    ($($Type:ident),+) => { $( impl Shape for Vec<$Type> {
        fn name() -> String { format!("list of {}", $Type::name()) }
        fn size() -> usize { size_of::<rkyv::Archived<Self>>() }
        fn json(&self) -> Json { self.iter().map(Shape::json).collect() }
    } )+ };
}

lists!(NodeId, NodeInfo, PageItem, Placement, RangeEntry, Replica, ReplicaId, ReplicaStatus);

/// A struct and its fields. A field left out does not compile, one in the wrong order is found by its offset.
macro_rules! structs {
    ($( $Type:ident { $($field:ident),* } )+) => {
        $( impl Shape for $Type {
            fn name() -> String { stringify!($Type).to_owned() }
            fn size() -> usize { size_of::<rkyv::Archived<$Type>>() }
            fn json(&self) -> Json {
                let Self { $($field),* } = self;
                json!({ $( stringify!($field): Shape::json($field) ),* })
            }
        } )+

        /// Every struct: its name, the size of its fixed part, its fields.
        pub fn layouts() -> Vec<(String, usize, Vec<Row>)> {
            vec![ $( ($Type::name(), $Type::size(), vec![ $( {
                let (kind, size) = shape_of(|it: &$Type| &it.$field);
                let offset = std::mem::offset_of!(rkyv::Archived<$Type>, $field);
                Row { offset, size, field: stringify!($field), kind }
            } ),* ]) ),+ ]
        }
    };
}

structs! {
    Hello { min_version, max_version, shard, cluster, client_name }
    Welcome { version, node, shard, cluster, limits, map }
    Limits {
        max_value_bytes, max_frame_bytes, connection_in_flight_bytes, connection_in_flight, max_page_bytes,
        max_clock_skew_ms, dedupe_grace_ms
    }
    Map { ranges, nodes }
    RangeMap { ranges }
    RangeEntry { start, partition, epoch, leader }
    NodeInfo { node, incarnation, client_address, peer_address, shards }
    LockAcquire { name, owner, ttl_ms, wait_ms }
    LockExtend { name, owner, ttl_ms }
    LockRelease { name, owner }
    LockInfo { name }
    KeySet { key, value, ttl_ms, condition, no_history }
    Condition { absent, present, value, revision, if_lock }
    LockGuard { name, token }
    KeyGet { key, revision, as_of }
    KeyExists { key, revision, as_of }
    KeyDelete { key, condition }
    KeyExtend { key, ttl_ms }
    KeyPersist { key }
    KeyAppend { key, suffix, condition, no_history }
    KeyScan { space, from, after, prefix, limit, as_of, keys_only }
    SequenceCreate { name, initial, increment, max }
    SequenceNext { name, idempotency_key }
    SequenceReserve { name, count, idempotency_key }
    SequenceGet { name }
    SequenceDelete { name }
    MapGet {}
    StatusGet {}
    Tick { to }
    PlaceGroups { settings, map, placements }
    Settings {
        max_clock_skew_ms, dedupe_grace_ms, history_revisions, history_retention_ms, max_sessions, restore_epoch
    }
    Placement { group, replicas, led }
    Replica { replica, node, incarnation }
    SetLed { group }
    UpsertNode { info }
    ReplaceReplica { group, node, incarnation, loss }
    FinishReplacement { group, replica }
    Replacement { group, node, incarnation, loss, replica, finished, lost }
    Acquired { token, deadline_ms }
    Held { owner, token, remaining_ms }
    LockExtended { token, deadline_ms }
    NotHeld { last_token }
    NotOwner { owner, token }
    Released { token }
    LockState { owner, token, deadline_ms, waiters }
    Set { revision }
    NotSet { revision, why }
    Value { value, revision, modified, deadline_ms }
    Exists { revision, modified, deadline_ms }
    NotFound { revision }
    Deleted { revision }
    KeyExtended { revision, deadline_ms }
    Page { items, more, as_of }
    PageItem { key, value, revision, modified, deadline_ms }
    Compacted { oldest }
    SequenceCreated { incarnation }
    SequenceExists { incarnation, value }
    Allocated { incarnation, start, end, count }
    SequenceState { incarnation, value, increment, max }
    SequenceDeleted { incarnation }
    SequenceNotFound { last_incarnation }
    Exhausted { incarnation, value, remaining }
    Status {
        node, cluster, incarnation, version, uptime_ms, shards, log_flushes, log_bytes, disk, connections,
        peers_alive, waiting, replicas
    }
    ReplicaStatus {
        group, replica, shard, term, leader, last_index, applied_index, snapshot_index, first_index, records
    }
    Done {}
    ErrorReply { code, retry_after_ms, leader, text }
}

macro_rules! any_json {
    ($name:ident $Enum:ident { $($Variant:ident),+ $(,)? }) => {
        /// The JSON form of a body.
        pub fn $name(body: &$Enum) -> Json {
            match body { $( $Enum::$Variant(body) => body.json(), )+ }
        }
    };
}

macro_rules! request_json {
    ($( $_section:ident { $( $_kind:literal $Body:ident: $_class:ident $_end:tt; )+ } )+) => {
        any_json! { request_json Request { $( $($Body),+ ),+ } }
    };
}

kahuna_protocol::operations!(request_json);

any_json! { outcome_json Outcome {
    Acquired, Held, LockExtended, NotHeld, NotOwner, Released, LockState, Set, NotSet, Value, Exists, NotFound, Deleted,
    KeyExtended, Page, Compacted, SequenceCreated, SequenceExists, Allocated, SequenceState, SequenceDeleted,
    SequenceNotFound, Exhausted, Map, Status, Done, Replacement, Error,
} }

fn shape_of<T, F: Shape>(_: fn(&T) -> &F) -> (String, usize) {
    (F::name(), F::size())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
