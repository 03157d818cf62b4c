//! Accepts clients. Every shard listens on the same address; the kernel spreads connections over them.

use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::limits::SHARD_CONNECTIONS;

use super::handshake::greet_client;
use super::open_connection::OpenConnection;
use crate::env::{Env, Listener, Net};
use crate::shard::Shard;

/// Pause after a connection could not be accepted: descriptors that ran out come back as others close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts clients until the node stops. Spawned once per shard.
pub async fn listen_to_clients<E: Env>(shard: Rc<Shard<E>>, mut listener: <E::Net as Net>::Listener) {
    loop {
        match listener.accept().await {
            // A connection over the limit is closed at once: the client tries another node.
            Ok(_) if shard.connections() >= SHARD_CONNECTIONS => {}
            Ok(stream) => match shard.admission().admit() {
                Some(admitted) => {
                    let open = OpenConnection::count(&shard, admitted);
                    E::spawn(greet_client(shard.clone(), stream, open));
                }
                None => {
                    drop(stream);
                    if let Some(news) = shard.admission().news(E::boot_clock()) {
                        crate::say!("node {}: {news}", shard.config().node);
                    }
                }
            },
            Err(_) => E::sleep(ACCEPT_PAUSE).await,
        }
    }
}
