//! One partition's replicated state: what can be asked of it without changing it.

use kahuna_protocol::meta::Settings;
use kahuna_protocol::{Hlc, Position};

use crate::apply::{Interest, Write};
use crate::snapshot::Frozen;
use crate::state::{Index, Meta, Range, State, in_epoch};

/// The state machine of one partition.
///
/// It is a function of the log: the same batches in the same order give the same state, the same outcomes and the same
/// hash on every replica. It lives on one shard and is not `Send`: its maps share nodes without atomic counts.
#[derive(Debug)]
pub struct Machine {
    pub(crate) state: State,
    pub(crate) index: Index,
    /// What to note of what batches bring about.
    pub(crate) interest: Interest,
    /// The writes of the command that is applied: empty between two, and kept for its memory.
    pub(crate) writes: Vec<Write>,
}

impl Machine {
    /// A fresh partition that owns `range`. Both arguments become part of the state, so all replicas must be given the
    /// same ones.
    pub fn new(settings: Settings, range: Range) -> Self {
        Self::of(State::new(settings, range), Index::default())
    }

    /// The machine in this state, whose indices are `index`.
    pub(crate) fn of(state: State, index: Index) -> Self {
        Self { state, index, interest: Interest::default(), writes: Vec::new() }
    }

    /// The highest stamp applied: the safe time up to which this replica can be read.
    pub fn time(&self) -> Hlc {
        self.state.time
    }

    /// The epoch of the range.
    pub fn epoch(&self) -> u64 {
        self.state.range.epoch
    }

    /// The positions this partition owns.
    pub fn range(&self) -> &Range {
        &self.state.range
    }

    /// What all replicas agreed on when the partition was made.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// Whether this partition owns `position`.
    pub fn owns(&self, position: &Position) -> bool {
        self.state.range.contains(position)
    }

    /// How many records it holds: keys, locks and sequences, dead ones that were not swept yet included.
    pub fn len(&self) -> usize {
        self.state.rows.records.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.state.rows.records.is_empty()
    }

    /// How many answers it keeps for repeats.
    pub fn answers(&self) -> usize {
        self.state.rows.answers.len()
    }

    /// What those answers count together, in bytes: see
    /// [`PARTITION_ANSWER_BYTES`](kahuna_protocol::limits::PARTITION_ANSWER_BYTES).
    pub fn answer_bytes(&self) -> u64 {
        self.index.answers.bytes
    }

    /// What the meta group keeps; empty in any other group.
    pub fn meta(&self) -> &Meta {
        &self.state.meta
    }

    /// Rises with every change of [`meta`](Self::meta), from 0.
    pub fn meta_version(&self) -> u64 {
        self.state.meta_version
    }

    /// Makes every number minted from now on higher than any number of an earlier epoch, also than those that were minted
    /// by commands this state never saw. A lower epoch than the one it has changes nothing.
    ///
    /// What is there keeps its numbers: a lock's holder its token, a value its revision.
    pub fn raise_restore_epoch(&mut self, epoch: u16) {
        let State { settings, floors, .. } = &mut self.state;
        settings.restore_epoch = settings.restore_epoch.max(epoch);
        for floor in [&mut floors.revision, &mut floors.token, &mut floors.incarnation] {
            *floor = in_epoch(*floor, settings.restore_epoch);
        }
    }

    /// The state as it is now, in O(1); later commands do not change it.
    pub fn freeze(&self) -> Frozen {
        Frozen::new(self.state.clone())
    }

    /// A hash of the whole state, equal on all replicas that applied the same log: it takes as long as a snapshot.
    pub fn hash(&self) -> u64 {
        self.freeze().into_blocks().hash_all()
    }
}
