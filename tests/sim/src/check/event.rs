//! One line of a history, as it is written. The fields are flat and optional; [`History`](super::History) gives them
//! meaning and refuses what does not fit together.

use serde::{Deserialize, Serialize};

/// What a line says about its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The process is about to send the request.
    Invoke,
    /// The operation was answered.
    Ok,
    /// The operation has not taken effect and never will.
    Fail,
    /// Nobody knows whether it took, or will take, effect.
    Info,
}

/// The operation that was asked for: a request of the protocol, by its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the operations of the service, by name")]
pub enum Op {
    #[serde(rename = "set")]
    KeySet,
    /// A `KeySet` with a condition.
    Cas,
    #[serde(rename = "get")]
    KeyGet,
    #[serde(rename = "delete")]
    KeyDelete,
    LockAcquire,
    LockExtend,
    LockRelease,
    LockInfo,
    #[serde(rename = "seq_next")]
    SequenceNext,
    #[serde(rename = "seq_reserve")]
    SequenceReserve,
}

/// The answer of an operation that completed with [`Kind::Ok`], by its name in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are the outcomes of the service, by name")]
pub enum Outcome {
    Set,
    NotSet,
    Value,
    NotFound,
    Deleted,
    Acquired,
    Held,
    NotHeld,
    NotOwner,
    #[serde(rename = "extended")]
    LockExtended,
    Released,
    /// `Allocated` in answer to a `SequenceNext`.
    Next,
    /// `Allocated` in answer to a `SequenceReserve`.
    Reserved,
    Exhausted,
}

/// A value: text for keys, an integer for sequences.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Datum {
    /// The value of a sequence.
    Integer(i64),
    /// The value of a key.
    Text(String),
}

/// One line of a history. Start from [`Event::new`] and set the fields that the operation has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Who; a process has at most one operation open.
    pub process: u64,
    /// What the line says.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The operation; a completion repeats it.
    pub op: Op,
    /// The name of the key, lock or sequence; a completion repeats it.
    pub key: String,
    /// Nanoseconds on one monotonic clock: before sending, after the answer.
    pub at_ns: u64,
    /// Which answer (`ok` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The value to write, the value that was read, or the value drawn from a sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Datum>,
    /// The revision in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Condition: the key has this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_value: Option<String>,
    /// Condition: the key has this revision; 0 means absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Condition: the key is absent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub if_absent: bool,
    /// Condition: the key is present.
    #[serde(default, skip_serializing_if = "is_false")]
    pub if_present: bool,
    /// The owner that asks (`invoke`), or the holder that the answer names (`ok`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The fencing token in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The lease asked for, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How many values to reserve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The step of the sequence; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub increment: Option<i64>,
    /// The first value of a reserved range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<i64>,
    /// The last value of a reserved range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// The incarnation of the sequence; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u64>,
}

impl Event {
    /// An event with the fields that every line has; the others are absent.
    pub fn new(process: u64, kind: Kind, op: Op, key: impl Into<String>, at_ns: u64) -> Self {
        Self {
            process,
            kind,
            op,
            key: key.into(),
            at_ns,
            outcome: None,
            value: None,
            revision: None,
            if_value: None,
            if_revision: None,
            if_absent: false,
            if_present: false,
            owner: None,
            token: None,
            ttl_ms: None,
            count: None,
            increment: None,
            start: None,
            end: None,
            incarnation: None,
        }
    }

    /// The completion of this invocation: same process, operation and key, no other field.
    pub fn completion(&self, kind: Kind, at_ns: u64) -> Self {
        Self::new(self.process, kind, self.op, self.key.clone(), at_ns)
    }

    /// The line to write, without its line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("plain fields with string keys always serialise")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_documented() {
        let mut invoked = Event::new(3, Kind::Invoke, Op::Cas, "a", 1200);
        invoked.value = Some(Datum::Text("\"\u{1}\u{fc}".into()));
        (invoked.if_revision, invoked.if_present) = (Some(6), true);
        let fields = r#"{"process":3,"type":"invoke","op":"cas","key":"a","at_ns":1200"#;
        let line = format!(r#"{fields},"value":"\"\u0001ü","if_revision":6,"if_present":true}}"#);
        assert_eq!(invoked.to_line(), line);
        let mut completed = invoked.completion(Kind::Ok, 1900);
        (completed.outcome, completed.revision) = (Some(Outcome::Set), Some(7));
        let line = r#"{"process":3,"type":"ok","op":"cas","key":"a","at_ns":1900,"outcome":"set","revision":7}"#;
        assert_eq!(completed.to_line(), line);
        assert_eq!(serde_json::from_str::<Event>(line).expect("it reads what it writes"), completed);
    }
}
