//! A request between the place that it came from and the group that serves it.
//!
//! ```text
//!   Call   what is asked: validated, may change threads ─┐
//!   Reply  who waits for the answer ─────────────────────┴─ Work ─▶ Answer, once
//!            └─ to: AnswerTo   a connection's outbox, a link to a node, the lane to a shard, a task
//! ```
//! Every request is counted against its connection and its shard until it is answered ([`Load`]), and every way it can take
//! ends in its [`Reply`], which cannot be lost: dropping it answers `Unknown`. When a request is tried again, and after
//! which pause, is decided in [`retry`]. A request that is answered many times has a [`Subscription`] in place of its reply.

mod answer;
mod call;
mod load;
mod reply;
pub mod retry;
mod subscription;
mod system;
mod task;
mod work;

pub use answer::Answer;
pub(crate) use answer::{busy, full, map_bytes};
pub use call::Call;
pub(crate) use call::{for_itself, timeout_of};
pub use kahuna_protocol::kinds::KIND_ERROR;
pub use load::{Charge, Load};
pub use reply::{AnswerTo, Charges, Reply, Token};
pub use subscription::{Credit, Subscription};
pub use task::TaskAnswer;
pub use work::Work;
