//! Key commands.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::batch::COMMAND_RECLAIM;
use kahuna_protocol::key::{
    ArchivedCondition, ArchivedKeyDelete, ArchivedKeyExtend, ArchivedKeyPersist, ArchivedKeySet, Deleted, KeyExtended,
    NotFound, NotSet, Set, Unmet,
};
use kahuna_protocol::position::Kind;
use kahuna_protocol::{Outcome, Position};

use super::Now;
use crate::Machine;
use crate::state::{Keep, Key, Record, Version};

/// A key as a command finds it.
struct Found {
    /// The newest version's revision, or the floor.
    revision: u64,
    /// Whether there is a record, dead or alive.
    recorded: bool,
    /// Whether it is alive.
    live: bool,
}

impl Machine {
    /// Writes a new version if the condition holds.
    pub(super) fn key_set(&mut self, body: &ArchivedKeySet, now: Now) -> Outcome {
        let position = Position::new(&body.key, Kind::Key);
        let found = self.find_key(&position, now);
        if let Some(why) = self.unmet(&position, &body.key, &found, &body.condition, now) {
            return NotSet { revision: found.revision, why }.into();
        }
        let deadline_ms = body.ttl_ms.as_ref().map(|ttl_ms| now.ms.saturating_add(ttl_ms.to_native()));
        // The value is copied, so that a small one cannot pin the batch it came in.
        let value = Some(Bytes::copy_from_slice(&body.value));
        let revision = self.write_version(position, &found, value, deadline_ms, body.no_history, now);
        Set { revision }.into()
    }

    /// Writes a tombstone over a live key if the condition holds.
    pub(super) fn key_delete(&mut self, body: &ArchivedKeyDelete, flags: u16, now: Now) -> Outcome {
        let position = Position::new(&body.key, Kind::Key);
        let found = self.find_key(&position, now);
        let unmet = self.unmet(&position, &body.key, &found, &body.condition, now);
        match unmet {
            // A stale holder learns that it is one, whether or not there is something to delete.
            Some(why @ Unmet::Lock) => return NotSet { revision: found.revision, why }.into(),
            _ if !found.live => return NotFound { revision: found.revision }.into(),
            Some(why) => return NotSet { revision: found.revision, why }.into(),
            None => {}
        }
        let revision = self.write_version(position.clone(), &found, None, None, false, now);
        if flags & COMMAND_RECLAIM != 0 {
            self.edit_key(&position, Key::forget_history);
        }
        Deleted { revision }.into()
    }

    /// Sets a live key's deadline to now + ttl.
    pub(super) fn key_extend(&mut self, body: &ArchivedKeyExtend, now: Now) -> Outcome {
        let deadline_ms = now.ms.saturating_add(body.ttl_ms.to_native());
        self.move_deadline(&body.key, Some(deadline_ms), now)
    }

    /// Takes a live key's deadline away.
    pub(super) fn key_persist(&mut self, body: &ArchivedKeyPersist, now: Now) -> Outcome {
        self.move_deadline(&body.key, None, now)
    }

    /// Moving the deadline in place keeps earlier times right: it is only moved while the key lives, and to a time
    /// ahead, so the key was alive before by either deadline.
    fn move_deadline(&mut self, key: &[u8], deadline_ms: Option<u64>, now: Now) -> Outcome {
        let position = Position::new(key, Kind::Key);
        let Found { revision, live, .. } = self.find_key(&position, now);
        if !live {
            return NotFound { revision }.into();
        }
        self.edit_key(&position, |key| key.newest_mut().deadline_ms = deadline_ms);
        KeyExtended { revision, deadline_ms }.into()
    }

    fn find_key(&self, position: &Position, now: Now) -> Found {
        let newest = self.state.key(position).map(Key::newest);
        let live = newest.is_some_and(|version| version.is_live(self.state.skew_ms(), now.ms));
        let revision = newest.map_or(self.state.floors.revision, |version| version.revision);
        let revision = if live { revision } else { self.last_number(revision) };
        Found { revision, recorded: newest.is_some(), live }
    }

    /// The first condition that does not hold, the lock's before those of the key.
    fn unmet(
        &self,
        position: &Position,
        name: &[u8],
        found: &Found,
        condition: &ArchivedCondition,
        now: Now,
    ) -> Option<Unmet> {
        if let Some(guard) = condition.if_lock.as_ref() {
            let lock = self.state.lock(&Position::new(name, Kind::Lock));
            let held = lock.is_some_and(|lock| {
                lock.is_held(self.state.skew_ms(), now.ms) && lock.token == guard.token.to_native()
            });
            if !held {
                return Some(Unmet::Lock);
            }
        }
        if condition.absent && found.live {
            return Some(Unmet::Present);
        }
        if condition.present && !found.live {
            return Some(Unmet::Absent);
        }
        if let Some(revision) = condition.revision.as_ref() {
            let current = if found.live { found.revision } else { 0 };
            if current != revision.to_native() {
                return Some(Unmet::Revision);
            }
        }
        let expected = condition.value.as_ref()?;
        let current = self.state.key(position).and_then(|key| key.newest().value.as_ref());
        let equal = found.live && current.is_some_and(|value| value[..] == expected[..]);
        (!equal).then_some(Unmet::Value)
    }

    /// Writes the version after the one that was found; its revision.
    fn write_version(
        &mut self,
        position: Position,
        found: &Found,
        value: Option<Bytes>,
        deadline_ms: Option<u64>,
        no_history: bool,
        now: Now,
    ) -> u64 {
        let revision = self.number_after(found.revision);
        let version = Version { revision, value, stamp: now.stamp, commit_stamp: now.stamp, deadline_ms, gap: false };
        if found.recorded {
            let keep = self.keep(no_history, now);
            self.edit_key(&position, |key| key.push(version, keep));
        } else {
            self.insert(position, Record::Key(Rc::new(Key::new(version))));
        }
        revision
    }

    fn keep(&self, no_replaced: bool, now: Now) -> Keep {
        let settings = &self.state.settings;
        let since_ms = match settings.history_retention_ms {
            0 => u64::MAX,
            retention_ms => now.ms.saturating_sub(retention_ms),
        };
        Keep { revisions: settings.history_revisions as usize, since_ms, no_replaced }
    }
}
