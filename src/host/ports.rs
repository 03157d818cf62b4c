//! Whether an address can be listened on, alone.

use std::io::ErrorKind;
use std::net::SocketAddr;

use kahuna_shards::node::probe_port;

use super::finding::{Finding, Trouble};

/// The node's own listeners share their port among shards, and would share it unnoticed with any other program; the probe
/// does not. It waits for a predecessor that was killed a moment ago.
pub(super) fn free(flag: &'static str, address: SocketAddr) -> Finding {
    let what = if flag == "--listen" { "client port" } else { "peer port" };
    let error = match probe_port(address) {
        Ok(()) => return Finding::new(what, Ok(format!("{address} is free"))),
        Err(error) => error,
    };
    let port = address.port();
    let trouble = match error.kind() {
        ErrorKind::AddrInUse => Trouble::new(
            format!("{address} is taken by another process"),
            format!("see whose it is with `ss -ltnp 'sport = :{port}'`, or choose another one with {flag}"),
        ),
        ErrorKind::AddrNotAvailable => Trouble::new(
            format!("{address} is not an address of this host"),
            format!("correct {flag}; `ip addr` lists them"),
        ),
        ErrorKind::PermissionDenied => Trouble::new(
            format!("{address} may not be listened on by this user"),
            format!("choose a port from 1024 on with {flag}"),
        ),
        _ => {
            Trouble::new(format!("{address} cannot be listened on: {error}"), format!("choose another one with {flag}"))
        }
    };
    Finding::new(what, Err(trouble))
}
