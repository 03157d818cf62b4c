//! Lock commands.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::lock::{
    Acquired, ArchivedLockAcquire, ArchivedLockExtend, ArchivedLockRelease, Held, LockExtended, NotHeld, NotOwner,
    Released,
};
use kahuna_protocol::position::Kind;
use kahuna_protocol::{Outcome, Position};

use super::Now;
use crate::Machine;
use crate::state::{Lock, Record};

impl Machine {
    /// Grants the lock when nobody holds it. The holder gets its grant again, unchanged.
    pub(super) fn lock_acquire(&mut self, body: &ArchivedLockAcquire, now: Now) -> Result<Outcome, ErrorReply> {
        if body.wait_ms.to_native() > 0 {
            return Err(ErrorReply::new(
                ErrorCode::Unsupported,
                format!("wait_ms is {}; queueing for a lock is not offered: ask with 0, again and again", body.wait_ms),
            ));
        }
        let position = Position::new(&body.name, Kind::Lock);
        let lock = self.state.lock(&position);
        if let Some(lock) = lock
            && lock.is_held(self.state.skew_ms(), now.ms)
        {
            let (token, deadline_ms) = (lock.token, lock.deadline_ms);
            return Ok(if lock.owner[..] == body.owner[..] {
                Acquired { token, deadline_ms }.into()
            } else {
                let remaining_ms = deadline_ms.saturating_sub(now.ms);
                Held { owner: lock.owner.to_vec(), token, remaining_ms }.into()
            });
        }
        let token = self.number_after(lock.map_or(self.state.floors.token, |lock| lock.token));
        let deadline_ms = now.ms.saturating_add(body.ttl_ms.to_native());
        let grant = Lock { token, owner: Bytes::copy_from_slice(&body.owner), deadline_ms, released_ms: None };
        if lock.is_some() {
            self.edit_lock(&position, |lock| *lock = grant);
        } else {
            self.insert(position, Record::Lock(Rc::new(grant)));
        }
        Ok(Acquired { token, deadline_ms }.into())
    }

    /// Sets the holder's deadline to now + ttl, also when that is earlier.
    pub(super) fn lock_extend(&mut self, body: &ArchivedLockExtend, now: Now) -> Outcome {
        let position = Position::new(&body.name, Kind::Lock);
        let token = match self.holding(&position, &body.owner, now) {
            Ok(token) => token,
            Err(other) => return other.into(),
        };
        let deadline_ms = now.ms.saturating_add(body.ttl_ms.to_native());
        self.edit_lock(&position, |lock| lock.deadline_ms = deadline_ms);
        LockExtended { token, deadline_ms }.into()
    }

    /// Ends the holder's grant.
    pub(super) fn lock_release(&mut self, body: &ArchivedLockRelease, now: Now) -> Outcome {
        let position = Position::new(&body.name, Kind::Lock);
        let token = match self.holding(&position, &body.owner, now) {
            Ok(token) => token,
            Err(other) => return other.into(),
        };
        self.edit_lock(&position, |lock| {
            lock.owner = Bytes::new();
            lock.released_ms = Some(now.ms);
        });
        Released { token }.into()
    }

    /// The token under which `owner` holds the lock now, or who does.
    fn holding(&self, position: &Position, owner: &[u8], now: Now) -> Result<u64, Other> {
        match self.state.lock(position) {
            Some(lock) if !lock.is_held(self.state.skew_ms(), now.ms) => {
                Err(Other::Nobody { last_token: self.last_number(lock.token) })
            }
            Some(lock) if lock.owner[..] == *owner => Ok(lock.token),
            Some(lock) => Err(Other::Holder { owner: lock.owner.clone(), token: lock.token }),
            None => Err(Other::Nobody { last_token: self.state.floors.token }),
        }
    }
}

/// Who holds a lock in place of the asker.
enum Other {
    Nobody { last_token: u64 },
    Holder { owner: Bytes, token: u64 },
}

impl From<Other> for Outcome {
    fn from(other: Other) -> Self {
        match other {
            Other::Nobody { last_token } => NotHeld { last_token }.into(),
            Other::Holder { owner, token } => NotOwner { owner: owner.to_vec(), token }.into(),
        }
    }
}
