//! The peers, and Kahuna itself: how each is started, and what each does for an operation of the generator.

mod etcd;
mod kahuna;
mod nats;
mod redis;

pub use etcd::Etcd;
pub use kahuna::Kahuna;
pub use nats::Nats;
pub use redis::Redis;
