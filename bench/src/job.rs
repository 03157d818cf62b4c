//! The requests that an operation consists of.

use kahuna_protocol::key::{Condition, KeyGet, KeySet};
use kahuna_protocol::lock::{LockAcquire, LockRelease};
use kahuna_protocol::sequence::{SequenceCreate, SequenceNext};
use kahuna_protocol::{Outcome, Request};

use crate::plan::{Plan, Workload};

/// How long a lock of a cycle that breaks off stays taken, in milliseconds.
const LOCK_TTL_MS: u64 = 10_000;

/// What a phase does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Writes a key: the workload, or the preparation of `get`.
    Set,
    Get,
    LockCycle,
    /// Makes a sequence, or finds it made.
    CreateSequence,
    Next,
}

/// What the answer to a request means for its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The operation is complete.
    Done,
    /// Its next request follows.
    Continue,
    /// It failed, for this reason.
    Failed(String),
}

impl Job {
    /// What must be there before, if anything.
    pub(crate) fn preparation(workload: Workload) -> Option<Self> {
        match workload {
            Workload::Get => Some(Self::Set),
            Workload::Seq => Some(Self::CreateSequence),
            Workload::Set | Workload::Lock => None,
        }
    }

    /// What is measured.
    pub(crate) fn measured(workload: Workload) -> Self {
        match workload {
            Workload::Set => Self::Set,
            Workload::Get => Self::Get,
            Workload::Lock => Self::LockCycle,
            Workload::Seq => Self::Next,
        }
    }

    /// The name of key, lock or sequence `key`. Without a slash: each is a bucket of its own, spread over all partitions.
    pub(crate) fn name(key: u64) -> Vec<u8> {
        format!("bench-{key}").into_bytes()
    }

    /// The request of an operation's `step` on `name`. `owner` is the asking slot's own.
    pub(crate) fn request(self, plan: &Plan, step: u8, name: Vec<u8>, owner: u64) -> Request {
        let owner = || owner.to_string().into_bytes();
        match (self, step) {
            (Self::Set, _) => {
                let value = vec![b'v'; plan.value_bytes];
                KeySet { key: name, value, ttl_ms: None, condition: Condition::default(), no_history: false }.into()
            }
            (Self::Get, _) => KeyGet { key: name, revision: None, as_of: None }.into(),
            (Self::LockCycle, 0) => LockAcquire { name, owner: owner(), ttl_ms: LOCK_TTL_MS, wait_ms: 0 }.into(),
            (Self::LockCycle, _) => LockRelease { name, owner: owner() }.into(),
            (Self::CreateSequence, _) => SequenceCreate { name, initial: 0, increment: 1, max: None }.into(),
            (Self::Next, _) => SequenceNext { name, idempotency_key: Vec::new() }.into(),
        }
    }

    /// Whether requests of this job go through the log.
    pub(crate) fn writes(self) -> bool {
        self != Self::Get
    }

    /// What an answer of kind `kind` to the request of `step` means. Only refusals are decoded.
    pub(crate) fn judge_answer(self, step: u8, kind: u16, body: &[u8]) -> Verdict {
        match (self, step, Outcome::kind_name(kind)) {
            (Self::LockCycle, 0, Some("Acquired")) => Verdict::Continue,
            (Self::Set, _, Some("Set"))
            | (Self::Get, _, Some("Value"))
            | (Self::LockCycle, 1, Some("Released"))
            | (Self::CreateSequence, _, Some("SequenceCreated" | "SequenceExists"))
            | (Self::Next, _, Some("Allocated")) => Verdict::Done,
            (_, _, name) => match Outcome::decode(kind, body) {
                Ok(Outcome::Error(refusal)) => Verdict::Failed(refusal.code().name().to_owned()),
                _ => Verdict::Failed(name.unwrap_or("unknown kind").to_owned()),
            },
        }
    }
}
