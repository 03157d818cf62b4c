//! Ports of a node: owned by the node, and shared by its shards.
//!
//! ```text
//!   start     a socket of its own listens, without SO_REUSEPORT: the kernel refuses that beside any other
//!             └─▶ SO_REUSEPORT is set on it ─▶ every shard listens beside it ─▶ it is closed
//! ```
//! Sockets can share a port only if all of them set SO_REUSEPORT. Every start begins with a socket that does not, so a
//! second node gets `AddrInUse` during the whole life of the first one. Of two nodes that start together the kernel lets at
//! most one listen, because it checks again when a bound socket begins to listen.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;
use socket2::{Domain, Socket, Type};

/// How long a predecessor's port may take to become free.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts, in milliseconds, drawn: two nodes that refuse each other must not do so in step.
const PAUSE_MS: std::ops::Range<u64> = 2..12;

/// A port that this process listens on, and that further sockets of this process may join.
#[derive(Debug)]
pub(super) struct OwnedPort {
    /// Open until every shard listens.
    _first: Socket,
    /// The address, with the port that was taken.
    pub(super) address: SocketAddr,
}

impl OwnedPort {
    /// Takes `address`; port 0 takes a free one. A port in use is tried again for two seconds, see [`probe_port`].
    ///
    /// # Errors
    /// The error of the last attempt.
    pub(super) fn take(address: SocketAddr) -> io::Result<Self> {
        let first = listen_alone(address)?;
        first.set_reuse_port(true)?;
        let taken = first.local_addr()?.as_socket();
        let address = taken.ok_or_else(|| io::Error::other("a socket without an address"))?;
        Ok(Self { _first: first, address })
    }
}

/// Whether `address` is free. A socket that shares its port would silently take half of another program's connections; a
/// socket that does not share it fails.
///
/// A killed process' listening sockets outlive it for some milliseconds, until the kernel has torn its io_uring down: an
/// address in use is tried again for two seconds.
///
/// # Errors
/// The error of the last attempt.
pub fn probe_port(address: SocketAddr) -> io::Result<()> {
    listen_alone(address).map(drop)
}

fn listen_alone(address: SocketAddr) -> io::Result<Socket> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => pause(),
            done => return done,
        }
    }
}

/// A new socket for every attempt: a refused socket stays bound, and would make the next attempt fail.
fn attempt(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of a predecessor that linger do not count.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1)?;
    Ok(socket)
}

/// Before any executor runs: there is no event for a port that becomes free.
#[expect(clippy::disallowed_methods, reason = "no shard runs yet, and nothing tells when a port becomes free")]
fn pause() {
    std::thread::sleep(Duration::from_millis(rand::rng().random_range(PAUSE_MS)));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    fn shared(address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(8)?;
        Ok(socket)
    }

    /// Claim: sockets that share join an owned port before and after others did, and nobody can own it meanwhile, even once
    /// the first socket is closed.
    #[test]
    fn an_owned_port_is_shared_by_its_owner_alone() {
        let owned = OwnedPort::take(ANY.parse().expect("an address")).expect("loopback has free ports");
        let address = owned.address;
        let shards = [(); 3].map(|()| shared(address).expect("a shard's own socket"));
        assert_eq!(attempt(address).expect_err("owned").kind(), io::ErrorKind::AddrInUse);
        drop(owned);
        assert_eq!(attempt(address).expect_err("still owned").kind(), io::ErrorKind::AddrInUse);
        drop(shards);
        attempt(address).expect("nobody listens any more");
    }

    /// Claim: of many that want one port at one moment, one gets it.
    #[test]
    fn one_of_many_gets_a_port() {
        for _ in 0..20 {
            let address = attempt(ANY.parse().expect("an address")).and_then(|free| free.local_addr()).expect("a port");
            let address = address.as_socket().expect("of the internet");
            let barrier = std::sync::Barrier::new(8);
            let owners: usize = std::thread::scope(|scope| {
                let racers = [(); 8].map(|()| {
                    scope.spawn(|| {
                        barrier.wait();
                        let mine = (0..50).find_map(|_| attempt(address).ok());
                        let mine = mine.inspect(|mine| mine.set_reuse_port(true).expect("a listening socket takes it"));
                        // Held until all have tried.
                        barrier.wait();
                        usize::from(mine.is_some())
                    })
                });
                racers.into_iter().map(|racer| racer.join().expect("no racer panics")).sum()
            });
            assert!(owners <= 1, "{owners} own {address}");
        }
    }
}
