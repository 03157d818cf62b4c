//! Reads of one record.

use kahuna_protocol::key::{ArchivedKeyExists, ArchivedKeyGet, Exists, Value};
use kahuna_protocol::lock::{LockState, NotHeld};
use kahuna_protocol::position::Kind;
use kahuna_protocol::sequence::{SequenceNotFound, SequenceState};
use kahuna_protocol::{Hlc, Outcome, Position};

use super::{Life, Miss, View};
use crate::Machine;
use crate::state::{Key, Lock, Lookup, Version, is_past};

/// The version to show, with its value.
type Pick<'a> = Result<(&'a Version, &'a [u8]), Miss>;

impl Machine {
    pub(super) fn lock_info(&self, name: &[u8], now: View) -> Result<Outcome, Miss> {
        let lock = match self.state.lock(&Position::new(name, Kind::Lock)) {
            None => return Ok(NotHeld { last_token: self.state.floors.token }.into()),
            Some(lock) if lock.released_ms.is_some() => return Ok(self.not_held(lock)),
            Some(lock) => lock,
        };
        match now.life(lock.deadline_ms) {
            Life::Dead => Ok(self.not_held(lock)),
            Life::Unclear(to) => Err(Miss::NeedsTick(to)),
            Life::Live => {
                let (owner, token, deadline_ms) = (lock.owner.to_vec(), lock.token, lock.deadline_ms);
                Ok(LockState { owner, token, deadline_ms, waiters: 0 }.into())
            }
        }
    }

    fn not_held(&self, lock: &Lock) -> Outcome {
        NotHeld { last_token: self.last_number(lock.token) }.into()
    }

    pub(super) fn sequence_get(&self, name: &[u8]) -> Outcome {
        match self.state.sequence(&Position::new(name, Kind::Sequence)) {
            None => SequenceNotFound { last_incarnation: self.state.floors.incarnation }.into(),
            Some(sequence) => SequenceState {
                incarnation: self.incarnation(sequence),
                value: sequence.value,
                increment: sequence.increment,
                max: sequence.max,
            }
            .into(),
        }
    }

    pub(super) fn key_get(&self, body: &ArchivedKeyGet, now: View) -> Result<Outcome, Miss> {
        let revision = body.revision.as_ref().map(|revision| revision.to_native());
        let as_of = body.as_of.as_ref().map(|as_of| Hlc(as_of.to_native()));
        let (version, value) = self.pick(&body.key, revision, as_of, now)?;
        let (revision, modified, deadline_ms) = (version.revision, version.commit_stamp.0, version.deadline_ms);
        Ok(Value { value: value.to_vec(), revision, modified, deadline_ms }.into())
    }

    pub(super) fn key_exists(&self, body: &ArchivedKeyExists, now: View) -> Result<Outcome, Miss> {
        let revision = body.revision.as_ref().map(|revision| revision.to_native());
        let as_of = body.as_of.as_ref().map(|as_of| Hlc(as_of.to_native()));
        let (version, _) = self.pick(&body.key, revision, as_of, now)?;
        let (revision, modified, deadline_ms) = (version.revision, version.commit_stamp.0, version.deadline_ms);
        Ok(Exists { revision, modified, deadline_ms }.into())
    }

    fn pick(&self, name: &[u8], revision: Option<u64>, as_of: Option<Hlc>, now: View) -> Pick<'_> {
        if let Some(as_of) = as_of {
            self.reach(as_of, now)?;
        }
        let floor = self.state.floors.revision;
        let Some(key) = self.state.key(&Position::new(name, Kind::Key)) else {
            // Below the floor there may have been a key of this name that was collected.
            let gone = match (revision, as_of) {
                (Some(revision), _) => revision > 0 && revision <= floor,
                (None, Some(as_of)) => as_of < self.state.horizon,
                (None, None) => false,
            };
            return Err(if gone { Miss::Compacted(floor.saturating_add(1)) } else { Miss::NotFound(floor) });
        };
        let (lookup, view) = match (revision, as_of) {
            (Some(revision), _) => (key.at_revision(revision), now),
            (None, Some(as_of)) => (self.key_as_of(key, as_of), View::as_of(now, as_of)),
            (None, None) => (Lookup::At(key.newest()), now),
        };
        let shown = match lookup {
            Lookup::Gone(oldest) => Err(Miss::Compacted(oldest)),
            Lookup::Never(revision) => Err(Miss::NotFound(revision)),
            Lookup::At(version) => view.show(version),
        };
        shown.map_err(|miss| match miss {
            // Of a dead name; a later death may have been acknowledged and lost.
            Miss::NotFound(revision) if revision == key.newest().revision => Miss::NotFound(self.last_number(revision)),
            miss => miss,
        })
    }

    /// Whether `as_of` is in the past by machine time, or can be by a tick: nobody may drive machine time, and with it
    /// every lease, further ahead than clocks may be apart.
    pub(super) fn reach(&self, as_of: Hlc, now: View) -> Result<(), Miss> {
        if as_of <= self.state.time {
            return Ok(());
        }
        let clock_ms = now.clock_ms.unwrap_or(now.time_ms).max(now.time_ms);
        if is_past(clock_ms, now.skew_ms, as_of.millis()) {
            return Err(Miss::Ahead { by_ms: as_of.millis() - clock_ms });
        }
        Err(Miss::NeedsTick(as_of))
    }

    /// The version current at `as_of`. Before its first one a key may have had an earlier life that was collected.
    pub(super) fn key_as_of<'a>(&self, key: &'a Key, as_of: Hlc) -> Lookup<'a> {
        match key.as_of(as_of) {
            Lookup::Never(before) if as_of < self.state.horizon => Lookup::Gone(before.saturating_add(1)),
            lookup => lookup,
        }
    }
}

impl View {
    /// A view of the past: no clock has a say in it.
    pub(super) fn as_of(now: Self, as_of: Hlc) -> Self {
        Self { time_ms: as_of.millis(), clock_ms: None, ..now }
    }

    /// The version with its value if it may be shown.
    pub(super) fn show<'a>(&self, version: &'a Version) -> Pick<'a> {
        let Some(value) = version.value.as_ref() else { return Err(Miss::NotFound(version.revision)) };
        match version.deadline_ms.map_or(Life::Live, |deadline_ms| self.life(deadline_ms)) {
            Life::Live => Ok((version, value)),
            Life::Dead => Err(Miss::NotFound(version.revision)),
            Life::Unclear(to) => Err(Miss::NeedsTick(to)),
        }
    }
}
