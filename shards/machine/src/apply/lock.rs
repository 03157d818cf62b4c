//! Lock commands.

use bytes::Bytes;
use kahuna_protocol::Position;
use kahuna_protocol::answer::{AcquireAnswer, LockExtendAnswer, ReleaseAnswer};
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::lock::{
    Acquired, ArchivedLockAcquire, ArchivedLockExtend, ArchivedLockRelease, Held, LockExtended, NotHeld, NotOwner,
    Released,
};
use kahuna_protocol::position::Kind;

use super::decide::{Decide, How, Refused};
use super::draft::{Draft, Write};
use crate::state::Lock;

/// Grants the lock when it is free. The holder gets its grant again, unchanged.
impl Decide for ArchivedLockAcquire {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<AcquireAnswer, Refused> {
        if self.wait_ms.to_native() > 0 {
            let text =
                format!("wait_ms is {}; queueing for a lock is not offered: ask with 0, again and again", self.wait_ms);
            return Err(ErrorReply::new(ErrorCode::Unsupported, text).into());
        }
        let position = Position::new(&self.name, Kind::Lock);
        let lock = draft.lock(&position);
        if let Some(lock) = lock.filter(|lock| draft.is_held(lock)) {
            let (token, deadline_ms) = (lock.token, lock.deadline_ms);
            return Ok(if lock.owner[..] == self.owner[..] {
                Acquired { token, deadline_ms }.into()
            } else {
                let remaining_ms = deadline_ms.saturating_sub(draft.now().ms);
                Held { owner: lock.owner.to_vec(), token, remaining_ms }.into()
            });
        }
        let token = draft.number_after(lock.map_or(draft.token_floor(), |lock| lock.token));
        let deadline_ms = draft.now().ms.saturating_add(self.ttl_ms.to_native());
        let lock = Lock { token, owner: Bytes::copy_from_slice(&self.owner), deadline_ms, released_ms: None };
        draft.write(Write::Lock { position, lock });
        Ok(Acquired { token, deadline_ms }.into())
    }
}

/// Sets the holder's deadline to now + ttl, also when that is earlier.
impl Decide for ArchivedLockExtend {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<LockExtendAnswer, Refused> {
        let position = Position::new(&self.name, Kind::Lock);
        let lock = match holding(draft, &position, &self.owner) {
            Ok(lock) => lock.clone(),
            Err(Other::Nobody(not_held)) => return Ok(not_held.into()),
            Err(Other::Holder(not_owner)) => return Ok(not_owner.into()),
        };
        let (token, deadline_ms) = (lock.token, draft.now().ms.saturating_add(self.ttl_ms.to_native()));
        draft.write(Write::Lock { position, lock: Lock { deadline_ms, ..lock } });
        Ok(LockExtended { token, deadline_ms }.into())
    }
}

/// Ends the holder's grant.
impl Decide for ArchivedLockRelease {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<ReleaseAnswer, Refused> {
        let position = Position::new(&self.name, Kind::Lock);
        let lock = match holding(draft, &position, &self.owner) {
            Ok(lock) => lock.clone(),
            Err(Other::Nobody(not_held)) => return Ok(not_held.into()),
            Err(Other::Holder(not_owner)) => return Ok(not_owner.into()),
        };
        let (token, released_ms) = (lock.token, Some(draft.now().ms));
        draft.write(Write::Lock { position, lock: Lock { owner: Bytes::new(), released_ms, ..lock } });
        Ok(Released { token }.into())
    }
}

/// Who holds a lock in place of the asker.
enum Other {
    Nobody(NotHeld),
    Holder(NotOwner),
}

/// The lock that `owner` holds now, or who does.
fn holding<'a>(draft: &'a Draft<'_>, position: &Position, owner: &[u8]) -> Result<&'a Lock, Other> {
    match draft.lock(position) {
        Some(lock) if !draft.is_held(lock) => Err(Other::Nobody(NotHeld { last_token: draft.last_number(lock.token) })),
        Some(lock) if lock.owner[..] == *owner => Ok(lock),
        Some(lock) => Err(Other::Holder(NotOwner { owner: lock.owner.to_vec(), token: lock.token })),
        None => Err(Other::Nobody(NotHeld { last_token: draft.token_floor() })),
    }
}
