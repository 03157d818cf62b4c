//! What a run did wrong, and who noticed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who judges a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    /// The history of a key: it must be a linearizable register.
    Key,
    /// The history of a lock: order, tokens, leases.
    Lock,
    /// The history of a sequence: unique, rising, without gaps.
    Sequence,
    /// Keys with a time to live: gone when it is over, not before, and for good.
    Expiry,
    /// Scans of several pages: one moment.
    Cut,
    /// Revisions of keys: one value each, for ever.
    Revision,
    /// Writes that carry a lock's token: none of an old holder.
    Fence,
    /// Appends to a key: each is in its value once, in order; and `KeyExists` shows the same revisions.
    Append,
    /// The history itself, which must be one.
    History,
    /// Clients that rely on one lock at one moment.
    Reliance,
    /// One request, one answer.
    ExactlyOnce,
    /// Answers that do not belong to their requests.
    Protocol,
    /// Requests that are refused for their time, as too old or too far ahead: whatever clocks show, none of a client that
    /// goes by what nodes say is.
    Validity,
    /// One leader per group and term.
    Leaders,
    /// No leader trusts its lease while another one leads in a later term.
    Lease,
    /// One state per group and applied entry.
    States,
    /// A replica whose log was lost never runs again.
    Lost,
    /// Raft's log matching.
    LogMatching,
    /// Raft's leader append-only.
    LeaderAppendOnly,
    /// Raft's leader completeness.
    LeaderCompleteness,
    /// Raft's state machine safety.
    StateMachineSafety,
    /// Nodes end themselves for their disk only.
    Ends,
    /// A cluster that is whole answers, agrees and stops when asked.
    Liveness,
    /// Faults that were forbidden for once, see [`Plan::forbidden`](crate::run::Plan).
    Forbidden,
    /// A process that panicked instead of reporting.
    Panic,
}

impl Judge {
    /// All of them; [`Panic`](Self::Panic) stays the last.
    pub const ALL: [Self; Self::Panic as usize + 1] = [
        Self::Key,
        Self::Lock,
        Self::Sequence,
        Self::Expiry,
        Self::Cut,
        Self::Revision,
        Self::Fence,
        Self::Append,
        Self::History,
        Self::Reliance,
        Self::ExactlyOnce,
        Self::Protocol,
        Self::Validity,
        Self::Leaders,
        Self::Lease,
        Self::States,
        Self::Lost,
        Self::LogMatching,
        Self::LeaderAppendOnly,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::Ends,
        Self::Liveness,
        Self::Forbidden,
        Self::Panic,
    ];

    /// Its name in reports.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The judge of that name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// Something that must not be and was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Who found it.
    pub judge: Judge,
    /// What it is, for people.
    pub text: String,
}

impl Finding {
    /// What `judge` has to say.
    pub fn new(judge: Judge, text: impl Into<String>) -> Self {
        Self { judge, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.judge.name(), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_are_found_by_their_names() {
        for (place, judge) in Judge::ALL.into_iter().enumerate() {
            assert_eq!(Judge::named(&judge.name()), Some(judge));
            assert_eq!(judge as usize, place);
        }
        assert_eq!(Judge::ExactlyOnce.name(), "exactly_once");
        assert_eq!(Judge::named("nobody"), None);
    }
}
