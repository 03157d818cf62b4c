//! Which version of a key a read shows.

use kahuna_protocol::position::Kind;
use kahuna_protocol::{Hlc, Position};

use super::{Life, Miss, View};
use crate::Machine;
use crate::state::{Key, Lookup, State, Version, is_past};

/// What there is to show of a key.
#[derive(Clone, Copy, Debug)]
pub enum Pick<'a> {
    /// This version, with its value.
    Shown(&'a Version, &'a [u8]),
    /// There is no value; the revision of the tombstone, or the floor.
    NotFound(u64),
    /// There may have been one: the oldest revision that is kept.
    Compacted(u64),
}

/// The version of the key `name` at `revision`, as of `as_of`, or now.
///
/// # Errors
/// [`Miss`].
pub fn pick<'a>(
    machine: &'a Machine,
    name: &[u8],
    revision: Option<u64>,
    as_of: Option<Hlc>,
    now: View,
) -> Result<Pick<'a>, Miss> {
    let state = &machine.state;
    if let Some(as_of) = as_of {
        reach(state, as_of, now)?;
    }
    let floor = state.floors.revision;
    let Some(key) = state.key(&Position::new(name, Kind::Key)) else {
        // Below the floor there may have been a key of this name that was collected.
        let gone = match (revision, as_of) {
            (Some(revision), _) => revision > 0 && revision <= floor,
            (None, Some(as_of)) => as_of < state.horizon,
            (None, None) => false,
        };
        return Ok(if gone { Pick::Compacted(floor.saturating_add(1)) } else { Pick::NotFound(floor) });
    };
    let (lookup, view) = match (revision, as_of) {
        (Some(revision), _) => (key.at_revision(revision), now),
        (None, Some(as_of)) => (key_as_of(state, key, as_of), View::as_of(now, as_of)),
        (None, None) => (Lookup::At(key.newest()), now),
    };
    let picked = match lookup {
        Lookup::Gone(oldest) => Pick::Compacted(oldest),
        Lookup::Never(revision) => Pick::NotFound(revision),
        Lookup::At(version) => view.show(version)?,
    };
    Ok(match picked {
        // Of a dead name; a later death may have been acknowledged and lost.
        Pick::NotFound(revision) if revision == key.newest().revision => Pick::NotFound(state.last_number(revision)),
        picked => picked,
    })
}

/// Whether `as_of` is in the past by machine time, or can be by a tick: no reader may drive machine time, and with it every
/// lease, further ahead than clocks may be apart.
///
/// # Errors
/// `NeedsTick`, `Ahead`.
pub fn reach(state: &State, as_of: Hlc, now: View) -> Result<(), Miss> {
    if as_of <= state.time {
        return Ok(());
    }
    let clock_ms = now.clock_ms.unwrap_or(now.time_ms).max(now.time_ms);
    if is_past(clock_ms, now.skew_ms, as_of.millis()) {
        return Err(Miss::Ahead { by_ms: as_of.millis() - clock_ms });
    }
    Err(Miss::NeedsTick(as_of))
}

/// The version current at `as_of`. Before its first one a key may have had an earlier life that was collected.
pub fn key_as_of<'a>(state: &State, key: &'a Key, as_of: Hlc) -> Lookup<'a> {
    match key.as_of(as_of) {
        Lookup::Never(before) if as_of < state.horizon => Lookup::Gone(before.saturating_add(1)),
        lookup => lookup,
    }
}

impl View {
    /// A view of the past, which depends on no clock.
    pub fn as_of(now: Self, as_of: Hlc) -> Self {
        Self { time_ms: as_of.millis(), clock_ms: None, ..now }
    }

    /// The version with its value if it may be shown.
    ///
    /// # Errors
    /// `NeedsTick`.
    pub fn show<'a>(&self, version: &'a Version) -> Result<Pick<'a>, Miss> {
        let Some(value) = version.value.as_ref() else { return Ok(Pick::NotFound(version.revision)) };
        match version.deadline_ms.map_or(Life::Live, |deadline_ms| self.life(deadline_ms)) {
            Life::Live => Ok(Pick::Shown(version, value)),
            Life::Dead => Ok(Pick::NotFound(version.revision)),
            Life::Unclear(to) => Err(Miss::NeedsTick(to)),
        }
    }
}
