//! What is said about a history, and what was asked for.

use serde::{Deserialize, Serialize};

use super::breach::Breach;

/// What must have been exercised for a verdict of [`Verdict::Valid`], and how long to search.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Answered operations.
    pub min_ok: u64,
    /// Reads that saw a value; asked for only where the history has keys.
    pub min_reads_with_value: u64,
    /// Overlapping pairs of answered operations on one name, at least one of which changed something.
    pub min_concurrent_pairs: u64,
    /// Keys with an acknowledged write after which no read began.
    pub max_uncovered_keys: u64,
    /// Steps of the search per name before it is given up.
    pub max_steps: u64,
    /// Revisions rise by exactly one also from absence: no tombstone was collected.
    pub dense_revisions: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_ok: 50,
            min_reads_with_value: 1,
            min_concurrent_pairs: 1,
            max_uncovered_keys: 0,
            max_steps: 50_000_000,
            dense_revisions: false,
        }
    }
}

/// What a history proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Some order explains every answer, and enough was exercised.
    Valid,
    /// No order explains the answers on some name.
    Invalid,
    /// Too little was exercised, or the search was given up.
    #[default]
    Unknown,
}

/// What a history holds and what its search cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All operations.
    pub operations: u64,
    /// Those that were answered.
    pub ok: u64,
    /// Those that never take effect.
    pub failed: u64,
    /// Those of unknown outcome.
    pub unknown: u64,
    /// Names of keys.
    pub keys: u64,
    /// Names of locks.
    pub locks: u64,
    /// Names of sequences.
    pub sequences: u64,
    /// Reads that saw a value.
    pub reads_with_value: u64,
    /// Overlapping pairs of answered operations on one name, at least one of which changed something.
    pub concurrent_pairs: u64,
    /// Keys with an acknowledged write after which no read began.
    pub uncovered_keys: u64,
    /// Values of sequences between seen ones that nobody saw.
    pub missing_sequence_values: u64,
    /// Steps of the search: configurations explored and compared.
    pub steps: u64,
}

/// A name whose answers no order explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `key`, `lock` or `sequence`.
    pub kind: &'static str,
    /// Name of the key, lock or sequence.
    pub name: String,
    /// The lines that show it, counted from 1.
    pub lines: Vec<usize>,
    /// What is wrong, for people.
    pub text: String,
}

impl Problem {
    pub(super) fn new(kind: &'static str, name: &str, breach: Breach) -> Self {
        Self { kind, name: name.to_owned(), lines: breach.lines, text: breach.text }
    }
}

/// The verdict on a history, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Verdict on all names together.
    pub outcome: Verdict,
    /// What the history holds.
    pub counts: Counts,
    /// Why it is invalid; empty otherwise.
    pub problems: Vec<Problem>,
    /// What is missing for `valid`; may be given beside problems.
    pub shortfalls: Vec<String>,
}
