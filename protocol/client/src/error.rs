//! How a call can end without an outcome.

use kahuna_protocol::{ErrorCode, ErrorReply};

/// Why there is no outcome, and the fate of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The request was not applied and never will be: every attempt was refused. The last refusal.
    #[error("{}: {}", .0.code(), .0.text)]
    Refused(ErrorReply),
    /// The request may have been applied, or may still be until its `valid_until`.
    #[error("outcome unknown: {text}")]
    Unknown {
        /// What was tried, for a person.
        text: String,
    },
    /// No node took the request, or none answered the read: nothing was changed.
    #[error("unavailable: {text}")]
    Unavailable {
        /// What was tried, for a person.
        text: String,
    },
    /// A node answered with an outcome that does not fit the request.
    #[error("protocol error: {0}")]
    Protocol(String),
}

impl ClientError {
    /// The refusal's code, if it is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(reply) => Some(reply.code()),
            Self::Unknown { .. } | Self::Unavailable { .. } | Self::Protocol(_) => None,
        }
    }

    /// A refusal by the client itself, before anything was sent.
    pub(crate) fn refused(code: ErrorCode, text: impl Into<String>) -> Self {
        Self::Refused(ErrorReply::new(code, text))
    }
}
