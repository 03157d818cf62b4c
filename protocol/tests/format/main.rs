//! The bytes, held fast: layouts against FORMAT.md, encodings against the vector files. A change here is a change of the
//! protocol. `KAHUNA_BLESS=1`, with `-j 1`, writes its tables and the vectors anew, for a change that is meant.

mod batches;
mod checker;
mod frames;
mod golden;
mod positions;
mod readme;
mod samples;
mod shape;
