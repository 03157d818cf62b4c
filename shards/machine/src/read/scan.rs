//! One page of one bucket, in name order, as of one time.

use std::ops::Bound;

use bytes::Bytes;
use kahuna_protocol::answer::ScanAnswer;
use kahuna_protocol::key::{ArchivedKeyScan, Compacted, Page, PageItem};
use kahuna_protocol::position::Kind;
use kahuna_protocol::{Hlc, Position};

use super::pick::{Pick, key_as_of, reach};
use super::{Look, Miss, View};
use crate::Machine;
use crate::state::{Lookup, Range, Record, State};

/// The most bytes of names and values in a page with more than one item.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// What an item takes beside its name and value, in bytes, rounded up.
const ITEM_BYTES: usize = 48;
/// The most records that one page looks at: a bucket full of locks or of the dead must not hold up the shard.
const MAX_VISITED: usize = 8_192;

/// A page in the making.
struct Gathering<'a> {
    body: &'a ArchivedKeyScan,
    view: View,
    as_of: Hlc,
    items: Vec<PageItem>,
    bytes: usize,
}

impl Look for ArchivedKeyScan {
    fn look(&self, machine: &Machine, now: View) -> Result<ScanAnswer, Miss> {
        let state = &machine.state;
        let given = self.as_of.as_ref().map(|as_of| Hlc(as_of.to_native()));
        if let Some(as_of) = given {
            reach(state, as_of, now)?;
            if as_of < state.horizon {
                return Ok(Compacted { oldest: state.floors.revision.saturating_add(1) }.into());
            }
        }
        let as_of = given.unwrap_or(state.time);
        let view = given.map_or(now, |as_of| View::as_of(now, as_of));
        let mut page = Gathering { body: self, view, as_of, items: Vec::new(), bytes: 0 };
        let more = match gather(state, &mut page)? {
            Gathered::More(name) => Some(name),
            Gathered::All => None,
            Gathered::Compacted(oldest) => return Ok(Compacted { oldest }.into()),
        };
        if let (None, Some(_), Some(to)) = (given, &more, ended_since(machine, now)) {
            return Err(Miss::NeedsTick(to));
        }
        Ok(Page { items: page.items, more, as_of: as_of.0 }.into())
    }
}

/// What a page was filled to.
enum Gathered {
    /// There is more after this name.
    More(Vec<u8>),
    /// There is nothing more.
    All,
    /// The versions of that time are not kept any more: the oldest revision that is.
    Compacted(u64),
}

/// The tick that a scan of several pages needs before its first one: all pages are read as of one time, and at that time
/// nothing may be alive that the clock has ended already.
fn ended_since(machine: &Machine, now: View) -> Option<Hlc> {
    let clock_ms = now.clock_ms.filter(|&clock_ms| !now.stale && clock_ms > now.time_ms)?;
    let bound = |ms| (ms, Position::of_hash(0));
    let mut ended = machine.index.records.range(bound(now.time_ms)..bound(clock_ms));
    ended.next().map(|_| Hlc::from_millis(clock_ms))
}

/// Fills the page.
fn gather(state: &State, page: &mut Gathering<'_>) -> Result<Gathered, Miss> {
    let body = page.body;
    let Some(start) = first_bound(body) else { return Ok(Gathered::All) };
    let bucket = Position::of_space(&body.space);
    let after = |name: Option<Vec<u8>>| name.map_or(Gathered::All, Gathered::More);
    let mut last_visited: Option<&Position> = None;
    let range = (Bound::Included(&start), Bound::<&Position>::Unbounded);
    for (visited, (position, record)) in state.rows.records.range::<_, Position>(range).enumerate() {
        if !position.encoded().starts_with(bucket.encoded()) {
            return Ok(Gathered::All);
        }
        if visited == MAX_VISITED {
            return Ok(after(last_visited.and_then(Position::name_and_kind).map(|(name, _)| name)));
        }
        last_visited = Some(position);
        let (Record::Key(key), Some((name, Kind::Key))) = (record, position.name_and_kind()) else { continue };
        if !name.starts_with(&body.prefix) {
            return Ok(Gathered::All);
        }
        let version = match key_as_of(state, key, page.as_of) {
            Lookup::At(version) => version,
            Lookup::Never(_) => continue,
            Lookup::Gone(oldest) => return Ok(Gathered::Compacted(oldest)),
        };
        let value = match page.view.show(version)? {
            Pick::Shown(_, value) => value,
            Pick::NotFound(_) => continue,
            Pick::Compacted(oldest) => return Ok(Gathered::Compacted(oldest)),
        };
        let item = PageItem {
            key: name,
            value: if body.keys_only { Vec::new() } else { value.to_vec() },
            revision: version.revision,
            modified: version.commit_stamp.0,
            deadline_ms: version.deadline_ms,
        };
        if !page.push(item) {
            return Ok(after(page.last_name()));
        }
    }
    behind_the_records(&state.range, body)
}

/// The partition holds nothing more of the bucket; the next one may.
fn behind_the_records(range: &Range, body: &ArchivedKeyScan) -> Result<Gathered, Miss> {
    if !range.ends_inside(&body.space) {
        return Ok(Gathered::All);
    }
    let cut = range.last_name_of(&body.space).ok_or(Miss::Uncrossed)?;
    let is_behind = !cut.starts_with(&body.prefix) && cut[..] > body.prefix[..];
    Ok(if is_behind { Gathered::All } else { Gathered::More(cut) })
}

impl Gathering<'_> {
    /// Takes an item in; not when the page is full.
    fn push(&mut self, item: PageItem) -> bool {
        let bytes = item.key.len() + item.value.len() + ITEM_BYTES;
        let limit = self.body.limit.to_native() as usize;
        if !self.items.is_empty() && (self.items.len() >= limit || self.bytes + bytes > MAX_PAGE_BYTES) {
            return false;
        }
        self.bytes += bytes;
        self.items.push(item);
        true
    }

    fn last_name(&self) -> Option<Vec<u8>> {
        self.items.last().map(|item| item.key.clone())
    }
}

/// Where the page starts: at its first name, or where the prefix does. `None` when no name of the bucket has the prefix.
fn first_bound(body: &ArchivedKeyScan) -> Option<Position> {
    let (space, prefix) = (&body.space[..], &body.prefix[..]);
    let bucket = Position::of_space(space);
    let by_prefix = if space.starts_with(prefix) {
        bucket
    } else {
        let rest = prefix.strip_prefix(space)?;
        Position::from_encoded(Bytes::from([&bucket.encoded()[..], rest].concat()))
    };
    let by_name = match (&body.from[..], body.after) {
        (b"", _) => return Some(by_prefix),
        (from, true) => Position::after_name(from),
        (from, false) => Position::of_name(from),
    };
    Some(by_prefix.max(by_name))
}
