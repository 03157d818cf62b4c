//! Outcomes and errors in the names that the outside sees.

use kahuna_client::ClientError;
use kahuna_client::protocol::key::Unmet;
use kahuna_client::protocol::{Hlc, Outcome};

use super::output::Record;

/// The record of an outcome. Deadlines are Unix milliseconds, spans milliseconds, `modified` is a stamp that
/// `--as-of` takes.
pub fn record(outcome: Outcome) -> Record {
    match outcome {
        Outcome::Acquired(body) => Record::new("acquired")
            .field("token", body.token)
            .field("deadline", body.deadline_ms)
            .raw(digits(body.token)),
        Outcome::Held(body) => Record::new("held")
            .bytes("owner", "owner_base64", &body.owner)
            .field("token", body.token)
            .field("remaining", body.remaining_ms),
        Outcome::LockExtended(body) => Record::new("extended")
            .field("token", body.token)
            .field("deadline", body.deadline_ms)
            .raw(digits(body.token)),
        Outcome::NotHeld(body) => Record::new("not_held").field("last_token", body.last_token),
        Outcome::NotOwner(body) => {
            Record::new("not_owner").bytes("owner", "owner_base64", &body.owner).field("token", body.token)
        }
        Outcome::Released(body) => Record::new("released").field("token", body.token),
        Outcome::LockState(body) => Record::new("held")
            .bytes("owner", "owner_base64", &body.owner)
            .field("token", body.token)
            .field("deadline", body.deadline_ms)
            .field("waiters", body.waiters)
            .raw(body.owner),
        Outcome::Set(body) => Record::new("set").field("revision", body.revision).raw(digits(body.revision)),
        Outcome::NotSet(body) => Record::new("not_set").field("revision", body.revision).field("why", unmet(body.why)),
        Outcome::Value(body) => Record::new("value")
            .bytes("value", "value_base64", &body.value)
            .field("revision", body.revision)
            .field("modified", Hlc(body.modified).to_string())
            .optional("deadline", body.deadline_ms)
            .value(body.value),
        Outcome::Exists(body) => Record::new("exists")
            .field("revision", body.revision)
            .field("modified", Hlc(body.modified).to_string())
            .optional("deadline", body.deadline_ms),
        Outcome::NotFound(body) => Record::new("not_found").field("revision", body.revision),
        Outcome::Deleted(body) => Record::new("deleted").field("revision", body.revision).raw(digits(body.revision)),
        Outcome::KeyExtended(body) => {
            let outcome = if body.deadline_ms.is_some() { "extended" } else { "persisted" };
            Record::new(outcome).field("revision", body.revision).optional("deadline", body.deadline_ms)
        }
        Outcome::Compacted(body) => Record::new("compacted").field("oldest", body.oldest),
        Outcome::SequenceCreated(body) => Record::new("created").field("incarnation", body.incarnation),
        Outcome::SequenceExists(body) => {
            Record::new("exists").field("incarnation", body.incarnation).field("value", body.value)
        }
        Outcome::Allocated(body) => {
            let shown = match body.count {
                1 => digits(body.start),
                _ => format!("{} {}", body.start, body.end),
            };
            Record::new("allocated")
                .field("start", body.start)
                .field("end", body.end)
                .field("count", body.count)
                .field("incarnation", body.incarnation)
                .value(shown)
        }
        Outcome::SequenceState(body) => Record::new("value")
            .field("value", body.value)
            .field("increment", body.increment)
            .optional("max", body.max)
            .field("incarnation", body.incarnation)
            .value(digits(body.value)),
        Outcome::SequenceDeleted(body) => Record::new("deleted").field("incarnation", body.incarnation),
        Outcome::SequenceNotFound(body) => Record::new("not_found").field("last_incarnation", body.last_incarnation),
        Outcome::Exhausted(body) => Record::new("exhausted")
            .field("value", body.value)
            .field("remaining", body.remaining)
            .field("incarnation", body.incarnation),
        Outcome::Error(reply) => error_record(&ClientError::Refused(reply)),
        Outcome::Done(_) => Record::new("done"),
        Outcome::Replacement(body) => Record::new("replacement").field("replica", body.replica.0),
        // These have commands of their own, which never come here.
        Outcome::Page(_) => Record::new("page"),
        Outcome::Map(_) => Record::new("map"),
        Outcome::Status(_) => Record::new("status"),
    }
}

/// The record of a request without an outcome.
pub fn error_record(error: &ClientError) -> Record {
    match error {
        ClientError::Refused(reply) => Record::new("error")
            .field("code", reply.code().name())
            .optional("retry_after_ms", Some(reply.retry_after_ms).filter(|ms| *ms > 0))
            .field("text", reply.text.clone()),
        ClientError::Unknown { text } => Record::new("unknown").field("text", text.clone()),
        ClientError::Unavailable { text } => Record::new("unavailable").field("text", text.clone()),
        ClientError::Protocol(text) => Record::new("error").field("code", "internal").field("text", text.clone()),
    }
}

fn unmet(why: Unmet) -> &'static str {
    match why {
        Unmet::Present => "present",
        Unmet::Absent => "absent",
        Unmet::Value => "value",
        Unmet::Revision => "revision",
        Unmet::Lock => "lock",
    }
}

fn digits(number: impl ToString) -> String {
    number.to_string()
}
