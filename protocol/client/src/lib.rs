#![doc = include_str!("../README.md")]

#[cfg(feature = "blocking")]
pub mod blocking;
pub mod call;
pub mod core;
mod error;
mod options;
pub mod scan;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod session;
mod time;
#[cfg(feature = "tokio")]
pub mod tokio;
#[cfg(any(feature = "blocking", feature = "tokio"))]
mod verbs;
pub mod wire;

pub use call::Call;
pub use core::{Core, Reply};
pub use error::ClientError;
pub use options::{CallOptions, Options};
pub use time::{Clock, Now};

pub use kahuna_protocol as protocol;
