#![doc = include_str!("../README.md")]

pub mod clock;
pub mod config;
pub mod env;
pub mod linux;
pub mod peer;
pub mod raft;
