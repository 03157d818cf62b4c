//! `status`: every node of the cluster, as each sees itself.

use std::time::Duration;

use kahuna_client::CallOptions;
use kahuna_client::protocol::NodeId;
use kahuna_client::protocol::meta::{DiskSpace, MapGet, ReplicaStatus, Status, StatusGet};
use serde_json::json;

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::output::{Format, Record, print, print_bytes, table};

/// How long one node may take: a dead one shall not hold up the others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks all nodes that the cluster knows, and the endpoints given.
pub fn run(client: &ClientArgs) -> Result<Exit, Failure> {
    let session = client.client()?;
    let timeout = client.timeout.map_or(PATIENCE, |span| span.0);
    let mut endpoints = client.endpoints();
    let within = CallOptions { timeout: Some(timeout), ..CallOptions::default() };
    if let Ok(map) = session.call_with(MapGet {}, within.clone()) {
        endpoints.extend(map.nodes.into_iter().map(|node| node.client_address));
    }
    let mut seen = std::collections::BTreeSet::new();
    endpoints.retain(|endpoint| seen.insert(endpoint.clone()));
    let ask = |endpoint: &String| {
        let options = CallOptions { endpoint: Some(endpoint.clone()), ..within.clone() };
        (endpoint.clone(), session.submit(StatusGet {}, options))
    };
    let asked: Vec<_> = endpoints.iter().map(ask).collect();
    let mut nodes = Vec::new();
    let mut silent = Vec::new();
    for (endpoint, pending) in asked {
        match pending.wait() {
            Ok(status) => nodes.push((endpoint, status)),
            Err(error) => silent.push((endpoint, error)),
        }
    }
    // A node may be known by several addresses.
    nodes.sort_by_key(|(_, status)| status.node);
    nodes.dedup_by_key(|(_, status)| (status.node, status.incarnation));
    for (endpoint, error) in &silent {
        kahuna_shards::say!("{endpoint}: {error}");
    }
    let exit = if nodes.is_empty() { Exit::Unavailable } else { Exit::Ok };
    let silent: Vec<String> = silent.into_iter().map(|(endpoint, _)| endpoint).collect();
    show(&nodes, &silent, client.format())?;
    Ok(exit)
}

fn show(nodes: &[(String, Status)], silent: &[String], format: Format) -> Result<(), Failure> {
    let records: Vec<Record> = nodes.iter().map(|(endpoint, status)| node_record(endpoint, status)).collect();
    match format {
        Format::Json => {
            let nodes: Vec<_> = records.iter().map(Record::json).collect();
            print(&Record::new("status").field("nodes", nodes).field("unreachable", json!(silent)), format)?;
        }
        Format::Jsonl => records.iter().try_for_each(|record| print(record, format))?,
        Format::Table | Format::Plain | Format::Raw => {
            let head = [
                "node",
                "address",
                "state",
                "version",
                "uptime",
                "shards",
                "groups",
                "leads",
                "flushes",
                "disk",
                "peers_alive",
            ];
            let mut rows: Vec<Vec<String>> = nodes.iter().map(|(endpoint, status)| row(endpoint, status)).collect();
            rows.extend(silent.iter().map(|endpoint| vec!["?".into(), endpoint.clone(), "unreachable".into()]));
            let cluster = nodes.first().filter(|_| format == Format::Table);
            let cluster = cluster.map(|(_, status)| format!("cluster {}\n", status.cluster));
            print_bytes((cluster.unwrap_or_default() + &table(&head, &rows)).as_bytes())?;
        }
    }
    Ok(())
}

fn row(endpoint: &str, status: &Status) -> Vec<String> {
    let peers: Vec<String> = status.peers_alive.iter().map(NodeId::to_string).collect();
    vec![
        status.node.to_string(),
        endpoint.to_owned(),
        state(status),
        status.version.clone(),
        format!("{}s", status.uptime_ms / 1000),
        status.shards.to_string(),
        status.replicas.len().to_string(),
        leads(status).to_string(),
        status.log_flushes.to_string(),
        disk(status.disk).to_owned(),
        if peers.is_empty() { "-".to_owned() } else { peers.join(",") },
    ]
}

/// How a node stands, as one line.
pub fn line(status: &Status) -> String {
    let peers: Vec<String> = status.peers_alive.iter().map(NodeId::to_string).collect();
    format!(
        "node {}: {}; leads {} of {} groups; disk {}; {} connections; peers alive: {}; up {}s; version {}",
        status.node,
        state(status),
        leads(status),
        status.replicas.len(),
        disk(status.disk),
        status.connections,
        if peers.is_empty() { "none".to_owned() } else { peers.join(",") },
        status.uptime_ms / 1000,
        status.version,
    )
}

fn state(status: &Status) -> String {
    if status.waiting.is_empty() { "serves".to_owned() } else { status.waiting.clone() }
}

fn disk(space: DiskSpace) -> &'static str {
    match space {
        DiskSpace::Plenty => "ok",
        DiskSpace::Reserve => "full (reserve)",
        DiskSpace::Exhausted => "full (exhausted)",
    }
}

fn leads(status: &Status) -> usize {
    status.replicas.iter().filter(|replica| replica.leader == status.node).count()
}

fn node_record(endpoint: &str, status: &Status) -> Record {
    let replicas: Vec<_> = status.replicas.iter().map(|replica| replica_record(replica).json()).collect();
    Record::without_outcome()
        .field("node", status.node.0)
        .field("address", endpoint)
        .field("state", if status.serves() { "serves" } else { "waits" })
        .field("waiting", status.waiting.clone())
        .field("cluster", status.cluster.to_string())
        .field("incarnation", format!("{:016x}", status.incarnation))
        .field("version", status.version.clone())
        .field("uptime_ms", status.uptime_ms)
        .field("shards", status.shards)
        .field("leads", leads(status))
        .field("log_flushes", status.log_flushes)
        .field("log_bytes", status.log_bytes)
        .field("disk", disk(status.disk))
        .field("connections", status.connections)
        .field("peers_alive", status.peers_alive.iter().map(|node| node.0).collect::<Vec<_>>())
        .field("replicas", replicas)
}

fn replica_record(replica: &ReplicaStatus) -> Record {
    Record::without_outcome()
        .field("group", replica.group.0)
        .field("replica", replica.replica.0)
        .field("shard", replica.shard.0)
        .field("term", replica.term)
        .field("leader", replica.leader.0)
        .field("first_index", replica.first_index)
        .field("last_index", replica.last_index)
        .field("applied_index", replica.applied_index)
        .field("snapshot_index", replica.snapshot_index)
        .field("records", replica.records)
}
