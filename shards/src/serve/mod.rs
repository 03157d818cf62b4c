//! Requests from clients and from other nodes: connections, dispatch, forwards, answers.
//!
//! ```text
//!   client ──▶ listener ─▶ handshake ─▶ connection ─┐                        ┌─▶ group (this shard)
//!                 │ wished for another shard        ├─▶ dispatch: whose is ──┼─▶ request lane (other shard)
//!                 └──────────── hand-over ──▶       │   this name?           ├─▶ peer link (other node), once
//!   peer ────▶ link ─▶ peer_requests ───────────────┘                        └─▶ the node itself (map, status)
//!   answer ◀── outbox: all that are ready, one write
//! ```
//! A body is validated once, where it comes in, and travels as the bytes it came in. Every request is counted against its
//! connection and its shard from there to its answer ([`Load`](crate::load::Load)), and every way it can take ends in its [`Reply`], which
//! cannot be lost: dropping it answers `Unknown`.

mod admission;
mod call;
mod connection;
mod dispatch;
mod forward;
mod handshake;
mod listener;
mod node_requests;
mod outbox;
mod peer_requests;
mod reply;
mod system_requests;

pub use admission::{Admission, Admitted, FEWEST_CLIENTS, own_files};
pub use call::{Call, Work};
pub use handshake::adopt_client;
pub use listener::listen_to_clients;
pub use outbox::Outbox;
pub use reply::{Answer, KIND_ERROR, Reply};
pub(crate) use system_requests::is_leaders_own;
