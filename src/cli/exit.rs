//! The exit codes of the process.

use std::process::ExitCode;

use kahuna_client::ClientError;
use kahuna_client::protocol::{ErrorCode, Outcome, Verdict};
use kahuna_shards::env::ExitCode as Fault;

/// One number per reason; those of a node's faults are the node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Internal = Fault::Internal as u8,
    Usage = 2,
    /// Not found, or a condition was false.
    NotFound = 3,
    /// The lock is held by another.
    Held = 4,
    Unavailable = 5,
    /// The outcome is unknown.
    Unknown = 6,
    NotAllowed = 7,
    Conflict = 9,
    /// Stored data is damaged.
    DataDamaged = Fault::DataDamaged as u8,
    HostNotFit = Fault::HostNotFit as u8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The exit code of a command with this outcome.
    pub fn of_outcome(outcome: &Outcome) -> Self {
        match (outcome, outcome.verdict()) {
            (Outcome::Error(reply), _) => Self::of_code(reply.code()),
            (_, Verdict::Done) => Self::Ok,
            (_, Verdict::Unmet) => Self::NotFound,
            (_, Verdict::Taken) => Self::Held,
            (_, Verdict::Error) => Self::Internal,
        }
    }

    /// How a command ends that got no outcome.
    pub fn of_error(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(reply) => Self::of_code(reply.code()),
            ClientError::Unknown { .. } => Self::Unknown,
            ClientError::Unavailable { .. } => Self::Unavailable,
            ClientError::Protocol(_) => Self::Internal,
        }
    }

    /// How a command ends that was refused with `code`.
    pub fn of_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::BadRequest | ErrorCode::TooLarge | ErrorCode::Unsupported => Self::Usage,
            ErrorCode::BadFrame | ErrorCode::BadVersion => Self::Internal,
            ErrorCode::WrongCluster => Self::NotAllowed,
            ErrorCode::Busy
            | ErrorCode::Overloaded
            | ErrorCode::NotReady
            | ErrorCode::NoLeader
            | ErrorCode::NotLeader
            | ErrorCode::Moved
            | ErrorCode::Draining
            | ErrorCode::TimedOut
            | ErrorCode::DiskFull
            | ErrorCode::Expired => Self::Unavailable,
            ErrorCode::Unknown | ErrorCode::Forgotten => Self::Unknown,
            ErrorCode::Conflict => Self::Conflict,
        }
    }

    /// What the code means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Internal => "internal",
            Self::Usage => "usage",
            Self::NotFound => "not found, or a condition was false",
            Self::Held => "lock held by another",
            Self::Unavailable => "unavailable",
            Self::Unknown => "outcome unknown",
            Self::NotAllowed => "not allowed",
            Self::Conflict => "conflict",
            Self::DataDamaged => "data damaged",
            Self::HostNotFit => "host not fit",
        }
    }
}

/// Why a verb ends without an answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments cannot be what was meant.
    #[error("{0}")]
    Usage(String),
    /// The cluster did not decide the request.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// The output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    /// Anything else, with its code.
    #[error("{1}")]
    Other(Exit, String),
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Client(error) => Exit::of_error(error),
            // The reader of the output has seen enough.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) => Exit::Internal,
            Self::Other(exit, _) => *exit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fate_never_looks_like_a_refusal() {
        for code in ErrorCode::ALL {
            let unknown = Exit::of_code(*code) == Exit::Unknown;
            let fate = code.fate() == kahuna_client::protocol::Fate::Unknown;
            assert_eq!(unknown, fate || *code == ErrorCode::Forgotten, "{code}");
        }
    }
}
