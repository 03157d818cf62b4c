//! `limits`: what the cluster accepts.

use kahuna_client::protocol::limits::{MAX_NAME_BYTES, MAX_OWNER_BYTES, MAX_VALID_FOR_MS};
use kahuna_client::wire::{ConnectOptions, Connection};

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::output::{Record, print};

/// Prints the limits that the first node which answers states in its handshake.
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
    Record::new("limits")
        .field("max_name_bytes", MAX_NAME_BYTES)
        .field("max_owner_bytes", MAX_OWNER_BYTES)
        .field("max_value_bytes", limits.max_value_bytes)
        .field("max_frame_bytes", limits.max_frame_bytes)
        .field("max_page_bytes", limits.max_page_bytes)
        .field("connection_in_flight", limits.connection_in_flight)
        .field("connection_in_flight_bytes", limits.connection_in_flight_bytes)
        .field("max_valid_for_ms", MAX_VALID_FOR_MS)
        .field("max_clock_skew_ms", limits.max_clock_skew_ms)
        .field("dedupe_grace_ms", limits.dedupe_grace_ms)
}
