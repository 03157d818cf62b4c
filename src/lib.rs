//! The Kahuna node as a library.

pub mod serve;
