//! What the fuzz targets share: a second reading of the log's format, written from the tables in the log's README alone
//! ([`bytes`], [`model`]), logs that the fuzzer's bytes describe ([`script`]), and snapshots to bend ([`snapshot`]).

pub mod bytes;
pub mod model;
pub mod script;
pub mod snapshot;
