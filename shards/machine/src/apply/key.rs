//! Key commands.

use bytes::Bytes;
use kahuna_protocol::answer::{AppendAnswer, DeleteAnswer, KeyExtendAnswer, SetAnswer};
use kahuna_protocol::key::{
    ArchivedCondition, ArchivedKeyAppend, ArchivedKeyDelete, ArchivedKeyExtend, ArchivedKeyPersist, ArchivedKeySet,
    Deleted, KeyExtended, MAX_APPENDED_BYTES, NotFound, NotSet, Set, Unmet,
};
use kahuna_protocol::position::Kind;
use kahuna_protocol::{ErrorCode, ErrorReply, Position};

use super::decide::{Decide, How, Refused};
use super::draft::{Draft, FoundKey, Write};
use crate::state::Version;

/// Writes a new version if the condition holds.
impl Decide for ArchivedKeySet {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<SetAnswer, Refused> {
        let position = Position::new(&self.key, Kind::Key);
        let found = draft.key(&position);
        if let Some(why) = unmet(draft, &self.key, &found, &self.condition) {
            return Ok(NotSet { revision: found.revision, why }.into());
        }
        let deadline_ms = self.ttl_ms.as_ref().map(|ttl_ms| draft.now().ms.saturating_add(ttl_ms.to_native()));
        // The value is copied, so that a small one cannot pin the batch it came in.
        let value = Some(Bytes::copy_from_slice(&self.value));
        let (last, fresh) = (found.revision, found.fresh);
        let revision = write_version(draft, position, (last, fresh), value, deadline_ms, self.no_history);
        Ok(Set { revision }.into())
    }
}

/// Writes a new version with more bytes behind the value if the condition holds.
impl Decide for ArchivedKeyAppend {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<AppendAnswer, Refused> {
        let position = Position::new(&self.key, Kind::Key);
        let found = draft.key(&position);
        if let Some(why) = unmet(draft, &self.key, &found, &self.condition) {
            return Ok(NotSet { revision: found.revision, why }.into());
        }
        let before = found.value.map_or(&[][..], |value| &value[..]);
        let bytes = before.len() + self.suffix.len();
        if bytes > MAX_APPENDED_BYTES {
            let text = format!("the value would have {bytes} bytes; an append makes at most {MAX_APPENDED_BYTES}");
            return Err(Refused::Recorded(ErrorReply::new(ErrorCode::TooLarge, text)));
        }
        let value = Some(Bytes::from([before, &self.suffix[..]].concat()));
        let (last, fresh, deadline_ms) = (found.revision, found.fresh, found.deadline_ms);
        let revision = write_version(draft, position, (last, fresh), value, deadline_ms, self.no_history);
        Ok(Set { revision }.into())
    }
}

/// Writes a tombstone over a live key if the condition holds.
impl Decide for ArchivedKeyDelete {
    fn decide(&self, draft: &mut Draft<'_>, how: How) -> Result<DeleteAnswer, Refused> {
        let position = Position::new(&self.key, Kind::Key);
        let found = draft.key(&position);
        let revision = found.revision;
        match unmet(draft, &self.key, &found, &self.condition) {
            // A stale holder learns that it is one, whether or not there is something to delete.
            Some(why @ Unmet::Lock) => return Ok(NotSet { revision, why }.into()),
            _ if !found.is_live() => return Ok(NotFound { revision }.into()),
            Some(why) => return Ok(NotSet { revision, why }.into()),
            None => {}
        }
        let revision = write_version(draft, position.clone(), (revision, false), None, None, false);
        if how.reclaim {
            draft.write(Write::Forget { position });
        }
        Ok(Deleted { revision }.into())
    }
}

/// Sets a live key's deadline to now + ttl.
impl Decide for ArchivedKeyExtend {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<KeyExtendAnswer, Refused> {
        let deadline_ms = draft.now().ms.saturating_add(self.ttl_ms.to_native());
        Ok(move_deadline(draft, &self.key, Some(deadline_ms)))
    }
}

/// Takes a live key's deadline away.
impl Decide for ArchivedKeyPersist {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<KeyExtendAnswer, Refused> {
        Ok(move_deadline(draft, &self.key, None))
    }
}

/// Moving the deadline in place keeps earlier times right: it is only moved while the key lives, and to a time ahead, so the
/// key was alive before by either deadline.
fn move_deadline(draft: &mut Draft<'_>, key: &[u8], deadline_ms: Option<u64>) -> KeyExtendAnswer {
    let position = Position::new(key, Kind::Key);
    let found = draft.key(&position);
    let revision = found.revision;
    if !found.is_live() {
        return NotFound { revision }.into();
    }
    draft.move_deadline(position, deadline_ms);
    KeyExtended { revision, deadline_ms }.into()
}

/// The first condition that does not hold, the lock's before those of the key.
fn unmet(draft: &Draft<'_>, name: &[u8], found: &FoundKey<'_>, condition: &ArchivedCondition) -> Option<Unmet> {
    if let Some(guard) = condition.if_lock.as_ref() {
        let lock = draft.lock(&Position::new(name, Kind::Lock));
        if !lock.is_some_and(|lock| draft.is_held(lock) && lock.token == guard.token.to_native()) {
            return Some(Unmet::Lock);
        }
    }
    if condition.absent && found.is_live() {
        return Some(Unmet::Present);
    }
    if condition.present && !found.is_live() {
        return Some(Unmet::Absent);
    }
    if let Some(revision) = condition.revision.as_ref() {
        let current = if found.is_live() { found.revision } else { 0 };
        if current != revision.to_native() {
            return Some(Unmet::Revision);
        }
    }
    let expected = condition.value.as_ref()?;
    let equal = found.value.is_some_and(|value| value[..] == expected[..]);
    (!equal).then_some(Unmet::Value)
}

/// Writes the version after the one that was found, which had the revision `last`; its revision.
fn write_version(
    draft: &mut Draft<'_>,
    position: Position,
    (last, fresh): (u64, bool),
    value: Option<Bytes>,
    deadline_ms: Option<u64>,
    no_history: bool,
) -> u64 {
    let (revision, stamp) = (draft.number_after(last), draft.now().stamp);
    let version = Version { revision, value, stamp, commit_stamp: stamp, deadline_ms, gap: false };
    let keep = draft.keep(no_history);
    draft.write_version(position, version, keep, fresh)
}
