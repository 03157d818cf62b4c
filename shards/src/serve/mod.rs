//! Requests from clients and from other nodes: connections, dispatch, forwards, answers.
//!
//! ```text
//!   client ──▶ listener ─▶ handshake ─▶ connection ─┐                        ┌─▶ group (this shard)
//!                 │ wished for another shard        ├─▶ dispatch: whose is ──┼─▶ request lane (other shard)
//!                 └──────────── hand-over ──▶       │   this name?           ├─▶ peer link (other node), once
//!   peer ────▶ link ─▶ forwarded ───────────────────┘                        └─▶ the node itself (map, status)
//!   shard ───▶ lane ─▶ arrivals: its requests to their groups, connections that were handed over, news of the node
//!   answer ◀── outbox: all that are ready, one write
//! ```
//! A body is validated once, where it comes in, and travels as the bytes it came in, until it is answered: see
//! [`request`](crate::request).

mod arrivals;
mod connection;
mod dispatch;
mod forwarded;
mod handshake;
mod listener;
mod node_requests;
mod open_connection;
mod outbox;
mod system_requests;

pub use arrivals::ControlHandler;
pub use listener::listen_to_clients;
pub use outbox::Outbox;
