//! The highest term that is taken from others.

use super::wrong::Wrong;
use crate::env::Env;
use crate::raft::types::Vote;

/// The highest term at the beginning of 1970; it rises by one with every millisecond. Terms must not run out, and no honest
/// replicas elect more often. The bound is the same for all: one that depended on the terms that a replica has seen would let
/// a liar raise a term in two steps of which some replica misses the first, and then refuses its honest leader for ever.
const TERMS_IN_1970: u64 = 1 << 32;

/// The highest term that is taken from others now.
pub fn most_term<E: Env>() -> u64 {
    TERMS_IN_1970 + E::wall_clock().as_millis()
}

/// Whether the term of `vote` is at most `most`, see [`most_term`].
///
/// # Errors
/// `TermAhead`.
pub(super) fn check_term(vote: Vote, most: u64) -> Result<(), Wrong> {
    let term = vote.leader_id.term;
    if term > most { Err(Wrong::TermAhead { term, most }) } else { Ok(()) }
}
