//! Reads of one record.

use kahuna_protocol::answer::{ExistsAnswer, GetAnswer, InfoAnswer, SequenceAnswer};
use kahuna_protocol::key::{ArchivedKeyExists, ArchivedKeyGet, Compacted, Exists, NotFound, Value};
use kahuna_protocol::lock::{ArchivedLockInfo, LockState, NotHeld};
use kahuna_protocol::position::Kind;
use kahuna_protocol::sequence::{ArchivedSequenceGet, SequenceNotFound, SequenceState};
use kahuna_protocol::{Hlc, Position};

use super::pick::{Pick, pick};
use super::{Life, Look, Miss, View};
use crate::Machine;

impl Look for ArchivedLockInfo {
    fn look(&self, machine: &Machine, now: View) -> Result<InfoAnswer, Miss> {
        let state = &machine.state;
        let lock = match state.lock(&Position::new(&self.name, Kind::Lock)) {
            None => return Ok(NotHeld { last_token: state.floors.token }.into()),
            Some(lock) => lock,
        };
        let not_held = NotHeld { last_token: state.last_number(lock.token) };
        if lock.released_ms.is_some() {
            return Ok(not_held.into());
        }
        match now.life(lock.deadline_ms) {
            Life::Dead => Ok(not_held.into()),
            Life::Unclear(to) => Err(Miss::NeedsTick(to)),
            Life::Live => {
                let (owner, token, deadline_ms) = (lock.owner.to_vec(), lock.token, lock.deadline_ms);
                Ok(LockState { owner, token, deadline_ms, waiters: 0 }.into())
            }
        }
    }
}

impl Look for ArchivedSequenceGet {
    fn look(&self, machine: &Machine, _: View) -> Result<SequenceAnswer, Miss> {
        let state = &machine.state;
        let Some(sequence) = state.sequence(&Position::new(&self.name, Kind::Sequence)) else {
            return Ok(SequenceNotFound { last_incarnation: state.floors.incarnation }.into());
        };
        let (incarnation, value) = (state.last_number(sequence.incarnation), sequence.value);
        Ok(SequenceState { incarnation, value, increment: sequence.increment, max: sequence.max }.into())
    }
}

impl Look for ArchivedKeyGet {
    fn look(&self, machine: &Machine, now: View) -> Result<GetAnswer, Miss> {
        let revision = self.revision.as_ref().map(|revision| revision.to_native());
        let as_of = self.as_of.as_ref().map(|as_of| Hlc(as_of.to_native()));
        Ok(match pick(machine, &self.key, revision, as_of, now)? {
            Pick::Shown(version, value) => {
                let (revision, modified, deadline_ms) = (version.revision, version.commit_stamp.0, version.deadline_ms);
                Value { value: value.to_vec(), revision, modified, deadline_ms }.into()
            }
            Pick::NotFound(revision) => NotFound { revision }.into(),
            Pick::Compacted(oldest) => Compacted { oldest }.into(),
        })
    }
}

impl Look for ArchivedKeyExists {
    fn look(&self, machine: &Machine, now: View) -> Result<ExistsAnswer, Miss> {
        let revision = self.revision.as_ref().map(|revision| revision.to_native());
        let as_of = self.as_of.as_ref().map(|as_of| Hlc(as_of.to_native()));
        Ok(match pick(machine, &self.key, revision, as_of, now)? {
            Pick::Shown(version, _) => {
                let (revision, modified, deadline_ms) = (version.revision, version.commit_stamp.0, version.deadline_ms);
                Exists { revision, modified, deadline_ms }.into()
            }
            Pick::NotFound(revision) => NotFound { revision }.into(),
            Pick::Compacted(oldest) => Compacted { oldest }.into(),
        })
    }
}
