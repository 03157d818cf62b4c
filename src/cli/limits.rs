//! `limits`: what the cluster accepts, and what a shard holds at most for all who use it together.

use kahuna_client::protocol::limits::{
    MAX_NAME_BYTES, MAX_OWNER_BYTES, MAX_VALID_FOR_MS, PARTITION_ANSWER_BYTES, SHARD_CONNECTIONS, SHARD_CROSSING_BYTES,
    SHARD_IN_FLIGHT, SHARD_IN_FLIGHT_BYTES, SHARD_REPLICATION_BYTES,
};
use kahuna_client::wire::{ConnectOptions, Connection};

use kahuna_shards::peer::PeerLimits;

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::output::{Record, print};

/// Prints the limits that the first node which answers states in its handshake, and what follows from them in this version.
pub fn run(client: &ClientArgs) -> Result<Exit, Failure> {
    let mut failed = Vec::new();
    for endpoint in client.endpoints() {
        let options = ConnectOptions { name: "kahuna".to_owned(), ..ConnectOptions::default() };
        match Connection::connect(&endpoint, &options) {
            Ok(connection) => {
                print(&record(&connection), client.format())?;
                return Ok(Exit::Ok);
            }
            Err(error) => failed.push(format!("{endpoint}: {error}")),
        }
    }
    Err(Failure::Other(Exit::Unavailable, failed.join("; ")))
}

fn record(connection: &Connection) -> Record {
    let limits = &connection.welcome().limits;
    let links = PeerLimits::for_clients(limits);
    Record::new("limits")
        .field("max_name_bytes", MAX_NAME_BYTES)
        .field("max_owner_bytes", MAX_OWNER_BYTES)
        .field("max_value_bytes", limits.max_value_bytes)
        .field("max_frame_bytes", limits.max_frame_bytes)
        .field("max_page_bytes", limits.max_page_bytes)
        .field("connection_in_flight", limits.connection_in_flight)
        .field("connection_in_flight_bytes", limits.connection_in_flight_bytes)
        .field("shard_connections", SHARD_CONNECTIONS)
        .field("shard_in_flight", SHARD_IN_FLIGHT)
        .field("shard_in_flight_bytes", SHARD_IN_FLIGHT_BYTES)
        .field("shard_unsent_bytes", limits.shard_unsent_bytes())
        .field("shard_unread_bytes", limits.shard_unread_bytes())
        .field("shard_crossing_bytes", SHARD_CROSSING_BYTES)
        .field("shard_replication_bytes", SHARD_REPLICATION_BYTES)
        .field("shard_link_unsent_bytes", links.shard_queue_bytes())
        .field("shard_link_unread_bytes", links.shard_unread_bytes())
        .field("partition_answer_bytes", PARTITION_ANSWER_BYTES)
        .field("max_valid_for_ms", MAX_VALID_FOR_MS)
        .field("max_clock_skew_ms", limits.max_clock_skew_ms)
        .field("dedupe_grace_ms", limits.dedupe_grace_ms)
}
