//! The command line from the outside: the real binary against a real node, verb by verb: what it prints and how it exits.

mod support;

mod configuration;
mod demo;
mod inspect;
mod keys;
mod locks;
mod measuring;
mod nodes;
mod outputs;
mod recover;
mod sequences;
mod times;
