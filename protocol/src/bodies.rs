//! Every body of a request or an outcome, by its name alone: what the tables of kinds name.

pub use crate::error::ErrorReply;
pub use crate::key::*;
pub use crate::lock::*;
pub use crate::meta::*;
pub use crate::sequence::*;
