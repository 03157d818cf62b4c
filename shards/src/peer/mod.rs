//! Links to the other nodes: dialled lazily, one per pair of shards, many calls in flight on each.
//!
//! ```text
//!   shard 0 of node 1 ── link ──> shard 0 of node 2      the dialler asks, the acceptor answers;
//!   shard 0 of node 2 ── link ──> shard 0 of node 1      the other direction has a link of its own
//!   shard 1 of node 1 ── link ──> shard 0 of node 2      (node 2 runs one shard and owns all groups there)
//! ```
//! - [`Peers`] is a shard's view of all other nodes: who they are, where, and the links to them.
//! - A [call](Peers::call) is one frame and its answer. It is encoded into the link's buffer before `call` returns, so the
//!   order of calls is the order on the wire; one task per link writes everything that gathered at once.
//! - What arrives goes to the [`PeerHandler`]; it answers through the [`PeerReplier`], now or later, in any order.
//! - The [handshake] proves on every link that both ends belong to one cluster and are the data directories they are
//!   taken for: a wiped node is never the old voter.
//! - [`watch_nodes`] reports which nodes live.
//! - Nothing is repeated here: the error of a call whose link broke tells whether the call may have arrived
//!   ([`CallError`]), and the caller decides.

mod accept;
mod accepted;
mod addresses;
mod call;
mod counters;
mod dial;
mod handler;
pub mod handshake;
mod incoming;
mod link;
mod local;
mod outgoing;
mod peers;
mod pulse;
mod reached;
mod remote;
mod route;
mod skew;
mod view;
mod watch;

pub use accept::listen_to_peers;
pub use addresses::{AddressSource, LastAddresses};
pub use call::{CallError, Calling, PeerReply};
pub use handler::{PeerHandler, PeerIdentity, PeerReplier};
pub use local::{LocalNode, PeerLimits};
pub use peers::Peers;
pub use pulse::{KIND_ERROR, KIND_PROBE, KIND_PROBE_REPLY, KIND_PULSE, KIND_PULSE_REPLY, Pulse};
pub use reached::watch_reach;
pub use view::{NodeEvent, PeerView};
pub use watch::watch_nodes;
