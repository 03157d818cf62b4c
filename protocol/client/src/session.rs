//! Drawing a session id.

use std::hash::{BuildHasher, RandomState};

use kahuna_protocol::SessionId;

/// A unique session id: 64 bits from the operating system's randomness, through the standard library's keyed
/// hash, and never 0.
pub(crate) fn random_session() -> SessionId {
    loop {
        let id = RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()));
        if id != 0 {
            return SessionId(id);
        }
    }
}
