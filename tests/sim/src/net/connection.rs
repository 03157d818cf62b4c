//! A connection: two pipes, and the two ends that hold them.

use std::{net::SocketAddr, rc::Rc};

use super::{Network, pipe::Pipe};
use crate::exec::NodeId;

/// One end of a connection. Both halves of a stream share it; when the last of them goes, the end closes.
pub(super) struct End {
    pub(super) incoming: Rc<Pipe>,
    pub(super) outgoing: Rc<Pipe>,
    pub(super) peer: SocketAddr,
}

impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.end();
        self.incoming.refuse();
    }
}

/// Both ends of a new connection from `client` to `server`.
pub(super) fn connect(
    network: &Rc<Network>,
    client: (NodeId, SocketAddr),
    server: (NodeId, SocketAddr),
) -> (Rc<End>, Rc<End>) {
    let up = Rc::new(Pipe::new(client.0, server.0, network.clone()));
    let down = Rc::new(Pipe::new(server.0, client.0, network.clone()));
    network.register(&up);
    network.register(&down);
    let near = End { incoming: down.clone(), outgoing: up.clone(), peer: server.1 };
    let far = End { incoming: up, outgoing: down, peer: client.1 };
    (Rc::new(near), Rc::new(far))
}
