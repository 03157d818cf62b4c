//! What the core asks of its adapter, and what it gives back.

use std::time::Duration;

use kahuna_protocol::{Hlc, Outcome};

use crate::{ClientError, Now};

/// Names a submitted request until its `Done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub(crate) u64);

/// Names a connection from its `Open` to its `Close` or `disconnected`; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

/// One thing to do. Outputs are done in the order they are given.
#[derive(Debug)]
pub enum Output {
    /// Connect to `endpoint`, then call `opened`, or `disconnected` if it cannot be.
    Open {
        /// Number that the adapter uses for this connection from now on.
        connection: ConnectionId,
        /// `host:port`.
        endpoint: String,
    },
    /// Write these bytes, whole frames, behind what was written before.
    Send {
        /// A connection that the adapter reported as opened.
        connection: ConnectionId,
        /// One or more frames.
        bytes: Vec<u8>,
    },
    /// Close the connection; the core has forgotten it.
    Close {
        /// A connection that is open or being opened.
        connection: ConnectionId,
    },
    /// A request has ended. Its token is free.
    Done {
        /// What [`Core::submit`](super::Core::submit) returned for the request.
        token: RequestToken,
        /// Its outcome, or why there is none.
        result: Result<Reply, ClientError>,
    },
}

/// Outcome of a request, with the times that bound when it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Outcome of the request; never `Outcome::Error`.
    pub outcome: Outcome,
    /// The time that the answer was decided by: the answering node's clock, or its partition's where that is ahead.
    pub stamp: Hlc,
    /// When the first attempt that may have had this outcome was sent.
    pub first_sent: Now,
    /// For a lock granted or extended: until when the holder may rely on it, by [`Now::elapsed`].
    pub safe_until: Option<Duration>,
}
