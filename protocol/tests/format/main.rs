//! The bytes, held fast: layouts against the README, encodings against the vector files. A change here is a change of the
//! protocol. `KAHUNA_BLESS=1`, with `-j 1`, writes README tables and vectors anew, for a change that is meant.

mod batches;
mod checker;
mod frames;
mod golden;
mod positions;
mod readme;
mod samples;
mod shape;
