//! The changes of one command: the state as its operations see it, and the writes that they have decided so far.
//!
//! An operation is decided against the state and the writes that are pending in the same command, and changes neither: it
//! adds writes. [`commit`](super::commit) applies all of them at once, or none is applied.

use bytes::Bytes;
use kahuna_protocol::{Hlc, Position};

use crate::state::{Draw, DrawKey, Keep, Lock, Meta, Sequence, State, Version, is_past, next_number};

/// One command's moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Its stamp, above every earlier one.
    pub stamp: Hlc,
    /// Unix milliseconds of the stamp.
    pub ms: u64,
    /// What the leader stamped its batch with, in milliseconds: machine time may be ahead of it.
    pub batch_ms: u64,
}

/// One change of the state.
#[derive(Debug)]
pub enum Write {
    /// A key gets a version, and drops those that need not be kept.
    Version {
        position: Position,
        version: Version,
        /// What to keep of the others.
        keep: Keep,
        /// There is no record of the key, dead or alive.
        fresh: bool,
    },
    /// The newest version of a key ends at another time, Unix milliseconds.
    Deadline {
        position: Position,
        /// When.
        deadline_ms: Option<u64>,
    },
    /// A key drops every version but the newest one.
    Forget { position: Position },
    /// A lock is as given.
    Lock {
        position: Position,
        /// Grant, extension or release to store.
        lock: Lock,
    },
    /// A sequence is as given.
    Sequence { position: Position, sequence: Sequence },
    /// A sequence ends; the floor rises to its incarnation.
    EndSequence {
        position: Position,
        /// The incarnation, as it counts after a restore.
        incarnation: u64,
    },
    /// A draw is kept under its idempotency key.
    Draw {
        /// Position of the sequence, and the idempotency key.
        key: DrawKey,
        /// What was drawn.
        draw: Draw,
    },
    /// Machine time is this, or later.
    Time(Hlc),
    /// What the meta group keeps.
    Meta(Meta),
}

/// A key as an operation finds it.
pub struct FoundKey<'a> {
    /// The newest version's revision, or the floor.
    pub revision: u64,
    /// There is no record, dead or alive.
    pub fresh: bool,
    /// Its value, if it is alive.
    pub value: Option<&'a Bytes>,
    /// When it ends, Unix milliseconds, if it is alive.
    pub deadline_ms: Option<u64>,
}

impl FoundKey<'_> {
    /// Whether it is alive.
    pub fn is_live(&self) -> bool {
        self.value.is_some()
    }
}

/// The state, and the writes of one command in the making.
#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a State,
    now: Now,
    writes: &'a mut Vec<Write>,
}

impl<'a> Draft<'a> {
    /// No writes besides `writes`.
    pub fn new(state: &'a State, now: Now, writes: &'a mut Vec<Write>) -> Self {
        Self { state, now, writes }
    }

    pub fn now(&self) -> Now {
        self.now
    }

    /// How much later than its deadline a lease ends, in milliseconds.
    pub fn skew_ms(&self) -> u64 {
        self.state.skew_ms()
    }

    /// Adds a write.
    pub fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Adds a version of a key; its revision. A command makes one version of a key: another one takes its place, and has its
    /// revision.
    pub fn write_version(&mut self, position: Position, version: Version, keep: Keep, fresh: bool) -> u64 {
        if let Some(pending) = self.pending_version(&position) {
            *pending = Version { revision: pending.revision, ..version };
            return pending.revision;
        }
        let revision = version.revision;
        self.write(Write::Version { position, version, keep, fresh });
        revision
    }

    /// Moves the deadline of a key's newest version.
    pub fn move_deadline(&mut self, position: Position, deadline_ms: Option<u64>) {
        match self.pending_version(&position) {
            Some(pending) => pending.deadline_ms = deadline_ms,
            None => self.write(Write::Deadline { position, deadline_ms }),
        }
    }

    fn pending_version(&mut self, position: &Position) -> Option<&mut Version> {
        self.writes.iter_mut().find_map(|write| match write {
            Write::Version { position: at, version, .. } if at == position => Some(version),
            _ => None,
        })
    }

    /// The key at `position`.
    pub fn key(&self, position: &Position) -> FoundKey<'_> {
        let Some((version, deadline_ms)) = self.newest(position) else {
            return FoundKey {
                revision: self.last_number(self.state.floors.revision),
                fresh: true,
                value: None,
                deadline_ms: None,
            };
        };
        let ended = deadline_ms.is_some_and(|deadline_ms| is_past(deadline_ms, self.skew_ms(), self.now.ms));
        let value = version.value.as_ref().filter(|_| !ended);
        let revision = if value.is_some() { version.revision } else { self.last_number(version.revision) };
        FoundKey { revision, fresh: false, value, deadline_ms: deadline_ms.filter(|_| !ended) }
    }

    /// The newest version of a key, and when it ends.
    fn newest(&self, position: &Position) -> Option<(&Version, Option<u64>)> {
        let mut moved = None;
        // A deadline that is pending is that of the version in the state, unless a version is pending too, which has its own.
        for write in self.writes.iter().rev() {
            match write {
                Write::Version { position: at, version, .. } if at == position => {
                    return Some((version, version.deadline_ms));
                }
                Write::Deadline { position: at, deadline_ms } if at == position => {
                    moved.get_or_insert(*deadline_ms);
                }
                _ => {}
            }
        }
        let newest = self.state.key(position)?.newest();
        Some((newest, moved.unwrap_or(newest.deadline_ms)))
    }

    /// The lock at `position`, held or not.
    pub fn lock(&self, position: &Position) -> Option<&Lock> {
        let pending = self.writes.iter().rev().find_map(|write| match write {
            Write::Lock { position: at, lock } if at == position => Some(lock),
            _ => None,
        });
        pending.or_else(|| self.state.lock(position))
    }

    /// Whether this lock is held now.
    pub fn is_held(&self, lock: &Lock) -> bool {
        lock.is_held(self.skew_ms(), self.now.ms)
    }

    /// The sequence at `position`.
    pub fn sequence(&self, position: &Position) -> Option<&Sequence> {
        let pending = self.writes.iter().rev().find_map(|write| match write {
            Write::Sequence { position: at, sequence } if at == position => Some(Some(sequence)),
            Write::EndSequence { position: at, .. } if at == position => Some(None),
            _ => None,
        });
        pending.unwrap_or_else(|| self.state.sequence(position))
    }

    /// What was drawn under an idempotency key.
    pub fn draw(&self, key: &DrawKey) -> Option<&Draw> {
        let pending = self.writes.iter().rev().find_map(|write| match write {
            Write::Draw { key: at, draw } if at == key => Some(draw),
            _ => None,
        });
        pending.or_else(|| self.state.rows.draws.get(key))
    }

    /// How many draws are kept, at most.
    pub fn draws(&self) -> usize {
        self.state.rows.draws.len() + self.writes.iter().filter(|write| matches!(write, Write::Draw { .. })).count()
    }

    /// What the meta group keeps; `None` in any other group.
    pub fn meta(&self) -> Option<&'a Meta> {
        self.state.is_of_meta().then_some(&self.state.meta)
    }

    /// The highest token of a lock that is gone.
    pub fn token_floor(&self) -> u64 {
        self.state.floors.token
    }

    /// The highest incarnation of a sequence that is gone.
    pub fn incarnation_floor(&self) -> u64 {
        let ended = self.writes.iter().filter_map(|write| match write {
            Write::EndSequence { incarnation, .. } => Some(*incarnation),
            _ => None,
        });
        ended.fold(self.state.floors.incarnation, u64::max)
    }

    /// The last number to report for a missing name whose last known number is `last`: in a restored partition a higher one
    /// may have been minted and lost.
    pub fn last_number(&self, last: u64) -> u64 {
        self.state.last_number(last)
    }

    /// The number after `last`.
    pub fn number_after(&self, last: u64) -> u64 {
        next_number(last, self.state.settings.restore_epoch)
    }

    /// What to keep of the versions that a write replaces.
    pub fn keep(&self, no_replaced: bool) -> Keep {
        let settings = &self.state.settings;
        let since_ms = match settings.history_retention_ms {
            0 => u64::MAX,
            retention_ms => self.now.ms.saturating_sub(retention_ms),
        };
        Keep { revisions: settings.history_revisions as usize, since_ms, no_replaced }
    }
}
