//! The session core: what a client does, without sockets, clocks or threads.
//!
//! ```text
//! submit(request) ─┐                                      ┌─> Open   connect to an endpoint
//! opened(conn) ────┤   numbers, attempts, routes,         ├─> Send   frames on a connection
//! received(bytes) ─┼─> retries, deadlines, what is known  ├─> Close  give a connection up
//! disconnected ────┤   of each request's fate             └─> Done   a request's outcome, once
//! tick(now) ───────┘                                         poll() until None, then next_wakeup()
//! ```
//! Invariants:
//! - Every submitted request is `Done` once, at its deadline at the latest, as long as `tick` is called.
//! - All attempts of a write carry the same (session, number, valid until, body): the cluster applies at most one. Only what
//!   certainly never was applied, and was refused for its time, goes out under a new number.
//! - At most one attempt of a request is out. Once an attempt of a write may have been applied, its answer is a
//!   recorded outcome, `Expired`, or `Unknown`; never another refusal.
//! - The acknowledged mark never passes a number whose request may still be sent.
//! - The map is a hint: a stale one costs a hop, not a failure.

mod backoff;
mod dispatch;
mod endpoints;
mod inputs;
mod link;
mod output;
mod replies;
mod request;
mod routes;
mod session;
mod state;
mod time;

pub use output::{ConnectionId, Output, Reply, RequestToken};
pub use state::Core;
pub use time::ServerTime;
