//! A request on its way to the group that serves it.

use std::time::Duration;

use bytes::Bytes;
use kahuna_protocol::request::Class;
use kahuna_protocol::{GroupId, RequestPrelude, RequestRef};

/// The wait of a request that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest `timeout_ms` that is honoured; a longer one is cut to this.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// A request whose body validated, without the place its answer goes to: it may change threads.
#[derive(Clone, Debug)]
pub struct Call {
    /// The group that owns its name.
    pub group: GroupId,
    /// Frame kind of the request.
    pub kind: u16,
    /// How the dispatch treats it.
    pub class: Class,
    /// It is refused while the disk is full.
    pub grows: bool,
    /// As it came; `timeout_ms` is replaced by `deadline`.
    pub prelude: RequestPrelude,
    /// Archived request, validated.
    pub body: Bytes,
    /// When its sender stops waiting, as time since boot.
    pub deadline: Duration,
    /// It came from another node: it must not leave this one again.
    pub forwarded: bool,
    /// An earlier attempt may have been applied, so this one must not be answered "not applied".
    pub repeated: bool,
    /// Failed attempts so far; they decide the pause before the next one.
    pub attempts: u32,
}

impl Call {
    /// What is left until the deadline; `None` once it passed.
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        self.deadline.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Whether it is one that only the leader of a group proposes, for itself.
    pub fn is_leaders_own(&self) -> bool {
        self.class == Class::System
            && RequestRef::access(self.kind, &self.body).is_ok_and(|request| for_itself(&request))
    }
}

/// Whether only the leader of a group may propose `request`, for itself.
pub(crate) fn for_itself(request: &RequestRef<'_>) -> bool {
    matches!(request, RequestRef::Tick(_) | RequestRef::PlaceGroups(_))
}

/// How long the sender of a request waits.
pub(crate) fn timeout_of(prelude: &RequestPrelude) -> Duration {
    match prelude.timeout_ms {
        0 => DEFAULT_TIMEOUT,
        ms => Duration::from_millis(u64::from(ms)).min(MAX_TIMEOUT),
    }
}
