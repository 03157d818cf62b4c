//! Lines become operations: each invocation is paired with its completion, and the fields are given their meaning.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::event::{Datum, Event, Kind, Op, Outcome};

/// Why something is not a history. Nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The source could not be read.
    #[error("line {line}: {source}")]
    Read {
        /// Counted from 1.
        line: usize,
        /// What the source said.
        source: std::io::Error,
    },
    /// The line is not one JSON object of the known fields.
    #[error("line {line}: {source}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The line is well-formed but does not fit its operation, or what its process did before.
    #[error("line {line}: {reason}")]
    Meaning {
        /// Counted from 1.
        line: usize,
        /// What does not fit.
        reason: String,
    },
}

/// The conditions of a conditional set or delete; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The key is absent.
    pub absent: bool,
    /// The key is present.
    pub present: bool,
    /// The key has this value.
    pub value: Option<String>,
    /// The key has this revision; 0 means absent.
    pub revision: Option<u64>,
}

impl Conditions {
    /// No condition at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the operations and arguments of the service, by name")]
pub enum Action {
    Get,
    Set { value: String, conditions: Conditions },
    Delete { conditions: Conditions },
    Acquire { owner: String, ttl_ms: Option<u64> },
    Extend { owner: String, ttl_ms: Option<u64> },
    Release { owner: String },
    LockInfo,
    Draw { count: u64, increment: i64 },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the outcomes of the service, by name")]
pub enum Reply {
    Set { revision: Option<u64> },
    NotSet { revision: Option<u64> },
    Value { value: String, revision: Option<u64> },
    NotFound { revision: Option<u64> },
    Deleted { revision: Option<u64> },
    Acquired { token: u64 },
    Held { owner: String, token: u64 },
    NotHeld { token: Option<u64> },
    NotOwner { owner: String, token: u64 },
    Extended { token: u64 },
    Released,
    Drawn { incarnation: u64, start: i64, end: i64 },
    NothingDrawn,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Answered.
    Ok {
        /// When the answer had arrived, in nanoseconds.
        at_ns: u64,
        /// Outcome that the client received.
        reply: Reply,
    },
    /// It never took effect and never will.
    Fail,
    /// It may take effect at any time after its invocation, or never.
    Unknown,
}

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub process: u64,
    /// The name of the key, lock or sequence.
    pub key: String,
    /// What was asked for.
    pub action: Action,
    /// When, in nanoseconds, before the request was sent.
    pub invoked_ns: u64,
    /// How it ended.
    pub ending: Ending,
    /// The line of the invocation, counted from 1.
    pub line: usize,
    /// The line of the completion; that of the invocation where there is none.
    pub end_line: usize,
}

/// Every operation, in the order of their invocation lines.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every operation, in the order of their invocation lines.
    pub operations: Vec<Operation>,
    open: BTreeMap<u64, usize>,
    last_ns: BTreeMap<u64, u64>,
}

impl History {
    /// Reads JSON lines; blank lines are skipped. Operations that are still open at the end are of unknown outcome.
    ///
    /// # Errors
    /// The first line that cannot be read, parsed, or paired.
    pub fn read(source: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (number, line) in source.lines().enumerate() {
            let at = number + 1;
            let text = line.map_err(|source| HistoryError::Read { line: at, source })?;
            if text.trim().is_empty() {
                continue;
            }
            let event = serde_json::from_str(&text).map_err(|source| HistoryError::Syntax { line: at, source })?;
            history.push(at, &event)?;
        }
        Ok(history)
    }

    /// Pairs events that are already in memory; the first one is line 1.
    ///
    /// # Errors
    /// The first event that cannot be paired.
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (number, event) in events.into_iter().enumerate() {
            history.push(number + 1, event)?;
        }
        Ok(history)
    }

    fn push(&mut self, line: usize, event: &Event) -> Result<(), HistoryError> {
        let wrong = |reason: String| HistoryError::Meaning { line, reason };
        let last_ns = self.last_ns.entry(event.process).or_insert(0);
        if event.at_ns < *last_ns {
            return Err(wrong(format!(
                "at_ns {} of process {} is before its line at {last_ns}",
                event.at_ns, event.process
            )));
        }
        *last_ns = event.at_ns;
        if event.kind == Kind::Invoke {
            let action = action_of(event).map_err(wrong)?;
            if let Some(&open) = self.open.get(&event.process) {
                let since = self.operations[open].line;
                return Err(wrong(format!("process {} still has the operation of line {since} open", event.process)));
            }
            self.open.insert(event.process, self.operations.len());
            self.operations.push(Operation {
                process: event.process,
                key: event.key.clone(),
                action,
                invoked_ns: event.at_ns,
                ending: Ending::Unknown,
                line,
                end_line: line,
            });
            return Ok(());
        }
        let Some(open) = self.open.remove(&event.process) else {
            return Err(wrong(format!("process {} has no operation open", event.process)));
        };
        let operation = &mut self.operations[open];
        if operation.key != event.key || !same_op(&operation.action, event.op) {
            return Err(wrong(format!("the operation open since line {} is another one", operation.line)));
        }
        operation.end_line = line;
        operation.ending = match event.kind {
            Kind::Ok => Ending::Ok { at_ns: event.at_ns, reply: reply_of(event).map_err(wrong)? },
            Kind::Fail => Ending::Fail,
            Kind::Info | Kind::Invoke => Ending::Unknown,
        };
        Ok(())
    }
}

fn same_op(action: &Action, op: Op) -> bool {
    match action {
        Action::Get => op == Op::KeyGet,
        Action::Set { conditions, .. } => op == if conditions.is_empty() { Op::KeySet } else { Op::Cas },
        Action::Delete { .. } => op == Op::KeyDelete,
        Action::Acquire { .. } => op == Op::LockAcquire,
        Action::Extend { .. } => op == Op::LockExtend,
        Action::Release { .. } => op == Op::LockRelease,
        Action::LockInfo => op == Op::LockInfo,
        Action::Draw { .. } => matches!(op, Op::SequenceNext | Op::SequenceReserve),
    }
}

fn action_of(event: &Event) -> Result<Action, String> {
    let conditions = Conditions {
        absent: event.if_absent,
        present: event.if_present,
        value: event.if_value.clone(),
        revision: event.if_revision,
    };
    if !conditions.is_empty() && !matches!(event.op, Op::Cas | Op::KeyDelete) {
        return Err("only cas and delete have conditions".into());
    }
    let owner = || event.owner.clone().ok_or_else(|| "a lock operation needs its owner".to_owned());
    let increment = event.increment.unwrap_or(1);
    if increment == 0 {
        return Err("increment 0 draws nothing".into());
    }
    Ok(match event.op {
        Op::KeyGet => Action::Get,
        Op::KeySet => Action::Set { value: text_of(event)?, conditions },
        Op::Cas if conditions.is_empty() => return Err("a cas needs a condition; without one it is a set".into()),
        Op::Cas => Action::Set { value: text_of(event)?, conditions },
        Op::KeyDelete => Action::Delete { conditions },
        Op::LockAcquire => Action::Acquire { owner: owner()?, ttl_ms: event.ttl_ms },
        Op::LockExtend => Action::Extend { owner: owner()?, ttl_ms: event.ttl_ms },
        Op::LockRelease => Action::Release { owner: owner()? },
        Op::LockInfo => Action::LockInfo,
        Op::SequenceNext => Action::Draw { count: 1, increment },
        Op::SequenceReserve => match event.count {
            Some(count) if count > 0 => Action::Draw { count, increment },
            _ => return Err("a reserve needs a count above 0".into()),
        },
    })
}

fn reply_of(event: &Event) -> Result<Reply, String> {
    let outcome = event.outcome.ok_or_else(|| "ok needs an outcome".to_owned())?;
    let revision = event.revision;
    let token = || event.token.ok_or_else(|| "this outcome needs its token".to_owned());
    let owner = || event.owner.clone().ok_or_else(|| "this outcome needs the owner it names".to_owned());
    let incarnation = event.incarnation.unwrap_or(0);
    Ok(match (event.op, outcome) {
        (Op::KeySet | Op::Cas, Outcome::Set) => Reply::Set { revision },
        (Op::Cas | Op::KeyDelete, Outcome::NotSet) => Reply::NotSet { revision },
        (Op::KeyGet, Outcome::Value) => Reply::Value { value: text_of(event)?, revision },
        (Op::KeyGet | Op::KeyDelete, Outcome::NotFound) => Reply::NotFound { revision },
        (Op::KeyDelete, Outcome::Deleted) => Reply::Deleted { revision },
        (Op::LockAcquire, Outcome::Acquired) => Reply::Acquired { token: token()? },
        (Op::LockAcquire | Op::LockInfo, Outcome::Held) => Reply::Held { owner: owner()?, token: token()? },
        (Op::LockExtend | Op::LockRelease | Op::LockInfo, Outcome::NotHeld) => Reply::NotHeld { token: event.token },
        (Op::LockExtend | Op::LockRelease, Outcome::NotOwner) => Reply::NotOwner { owner: owner()?, token: token()? },
        (Op::LockExtend, Outcome::LockExtended) => Reply::Extended { token: token()? },
        (Op::LockRelease, Outcome::Released) => Reply::Released,
        (Op::SequenceNext, Outcome::Next) => match event.value {
            Some(Datum::Integer(value)) => Reply::Drawn { incarnation, start: value, end: value },
            _ => return Err("next needs an integer as its value".into()),
        },
        (Op::SequenceReserve, Outcome::Reserved) => match (event.start, event.end) {
            (Some(start), Some(end)) => Reply::Drawn { incarnation, start, end },
            _ => return Err("reserved needs start and end".into()),
        },
        (Op::SequenceNext | Op::SequenceReserve, Outcome::Exhausted | Outcome::NotFound) => Reply::NothingDrawn,
        (op, outcome) => return Err(format!("{op:?} has no outcome {outcome:?}")),
    })
}

fn text_of(event: &Event) -> Result<String, String> {
    match &event.value {
        Some(Datum::Text(text)) => Ok(text.clone()),
        _ => Err("the value of a key is a string".into()),
    }
}
