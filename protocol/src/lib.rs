#![doc = include_str!("../README.md")]

pub mod answer;
pub mod batch;
pub mod bodies;
pub mod error;
pub mod frame;
pub mod frame_reader;
pub mod handshake;
pub mod hlc;
pub mod ids;
pub mod key;
pub mod kinds;
pub mod limits;
pub mod lock;
mod macros;
pub mod meta;
pub mod operations;
pub mod outcome;
pub mod peer;
pub mod position;
pub mod prelude;
pub mod range_map;
pub mod request;
pub mod sequence;
mod validate;

pub use error::{Advice, Earlier, ErrorCode, ErrorReply, Fate};
pub use frame::{FrameError, Header};
pub use frame_reader::FrameReader;
pub use hlc::Hlc;
pub use ids::{ClusterId, GroupId, Incarnation, NodeId, ReplicaId, SessionId, ShardId};
pub use limits::Limits;
pub use outcome::{Outcome, OutcomeRef, Verdict};
pub use position::{Kind, Position};
pub use prelude::{Durability, ReadLevel, RequestPrelude};
pub use range_map::{RangeEntry, RangeMap};
pub use request::{OperationRef, Request, RequestRef};
