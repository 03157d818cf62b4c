//! Ports that one demo has and no other one takes.
//!
//! A port can be looked at and found free, but not kept for the node that will listen on it. So demos keep them from each
//! other by names: a claim is a socket in the abstract namespace, which belongs to the same network namespace as the ports,
//! can be bound once, and is gone with the process that bound it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The first node's client port, if it is free; the peers' is the next one.
const FIRST_PORT: u16 = 2070;
const PORTS_APART: u16 = 10;
/// How many ports of the kernel's choice may belong to other demos before the search is given up.
const TRIES: usize = 1000;

/// A port of loopback that was free, and that no other demo uses while this lives.
#[derive(Debug)]
pub struct Claim {
    pub port: u16,
    _name: UnixDatagram,
}

impl Claim {
    /// A client port and a peer port for each of `count` nodes: the usual ones where both are free, any others elsewhere.
    ///
    /// # Errors
    /// When the system has no port.
    pub fn of_pairs(count: u16) -> io::Result<Vec<[Self; 2]>> {
        let pair = |index: u16| {
            let usual = FIRST_PORT + index * PORTS_APART;
            match (Self::of(usual), Self::of(usual + 1)) {
                (Ok(client), Ok(peer)) => Ok([client, peer]),
                _ => Ok([Self::of_any()?, Self::of_any()?]),
            }
        };
        (0..count).map(pair).collect()
    }

    /// Another demo's port fails with `AddrInUse`, like a port that is listened on. The name comes first: a look at another
    /// demo's port would be in the way of its node.
    fn of(port: u16) -> io::Result<Self> {
        let claim = Self::name(port)?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(claim)
    }

    fn of_any() -> io::Result<Self> {
        let mut last = io::ErrorKind::AddrInUse.into();
        for _ in 0..TRIES {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            match Self::name(free.local_addr()?.port()) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                claimed => return claimed,
            }
        }
        Err(last)
    }

    fn name(port: u16) -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(format!("kahuna-demo-port-{port}"))?;
        Ok(Self { port, _name: UnixDatagram::bind_addr(&name)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_is_nobody_elses_until_it_is_given_back() {
        let claim = Claim::of_any().expect("a free port");
        let second = Claim::of(claim.port).expect_err("it is claimed");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let port = claim.port;
        drop(claim);
        assert_eq!(Claim::of(port).expect("nobody has it").port, port);
    }

    #[test]
    fn all_ports_of_a_demo_are_different() {
        let pairs = Claim::of_pairs(5).expect("free ports");
        let mut ports: Vec<u16> = pairs.iter().flatten().map(|claim| claim.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10);
    }
}
