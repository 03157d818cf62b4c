//! The first block's payload: everything that is there once.

use bytes::Bytes;
use kahuna_protocol::frame::{access, archive_into, to_owned};
use kahuna_protocol::meta::{
    ArchivedPlaceGroups, ArchivedReplacement, ArchivedSettings, ArchivedUpsertNode, PlaceGroups, Replacement, Settings,
    UpsertNode,
};
use kahuna_protocol::{Hlc, ReplicaId};

use super::format::{Fault, MAGIC, VERSION};
use crate::codec::{Reader, Writer};
use crate::state::{Floors, Meta, Range, State};

const END_NONE: u8 = 0;
const END_SOME: u8 = 1;

pub fn write(state: &State, writer: &mut Writer) {
    writer.raw(&MAGIC);
    writer.u16(VERSION);
    writer.u16(0);
    writer.counted(|out| archive_into(&state.settings, out));
    writer.u64(state.time.0);
    writer.u64(state.horizon.0);
    writer.u64(state.floors.revision);
    writer.u64(state.floors.token);
    writer.u64(state.floors.incarnation);
    writer.u64(state.range.epoch);
    writer.bytes(&state.range.start);
    match &state.range.end {
        None => writer.u8(END_NONE),
        Some(end) => {
            writer.u8(END_SOME);
            writer.bytes(end);
        }
    }
    write_meta(state, writer);
}

fn write_meta(state: &State, writer: &mut Writer) {
    let meta = &state.meta;
    writer.u64(state.meta_version);
    writer.u64(meta.next_replica().0);
    let placements = meta.placements().cloned().collect();
    let groups = PlaceGroups { settings: *meta.settings(), map: meta.map().clone(), placements };
    writer.counted(|out| archive_into(&groups, out));
    writer.u32(u32::try_from(meta.nodes().count()).expect("a cluster has far fewer nodes"));
    for info in meta.nodes() {
        writer.counted(|out| archive_into(&UpsertNode { info: info.clone() }, out));
    }
    writer.u32(u32::try_from(meta.replacements().count()).expect("one per place at most"));
    for replacement in meta.replacements() {
        writer.counted(|out| archive_into(replacement, out));
    }
}

/// # Errors
/// `Magic`, `Version`, `Content`.
pub fn read(mut reader: Reader<'_>) -> Result<State, Fault> {
    if reader.array() != Some(MAGIC) {
        return Err(Fault::Magic);
    }
    let version = reader.u16().unwrap_or(0);
    if !(1..=VERSION).contains(&version) {
        return Err(Fault::Version(version));
    }
    let state = read_fields(&mut reader, version).ok_or(Fault::Content("head"))?;
    if reader.is_empty() { Ok(state) } else { Err(Fault::Content("head")) }
}

fn read_fields(reader: &mut Reader<'_>, version: u16) -> Option<State> {
    reader.u16()?;
    let settings: Settings = to_owned(access::<ArchivedSettings>(0, reader.bytes()?).ok()?);
    let time = Hlc(reader.u64()?);
    let horizon = Hlc(reader.u64()?);
    let floors = Floors { revision: reader.u64()?, token: reader.u64()?, incarnation: reader.u64()? };
    let epoch = reader.u64()?;
    let start = Bytes::copy_from_slice(reader.bytes()?);
    let end = match reader.u8()? {
        END_NONE => None,
        END_SOME => Some(Bytes::copy_from_slice(reader.bytes()?)),
        _ => return None,
    };
    let meta_version = reader.u64()?;
    let meta = read_meta(reader, version)?;
    let range = Range { start, end, epoch };
    Some(State { time, horizon, floors, meta, meta_version, ..State::new(settings, range) })
}

fn read_meta(reader: &mut Reader<'_>, version: u16) -> Option<Meta> {
    let next_replica = ReplicaId(reader.u64()?);
    let groups: PlaceGroups = to_owned(access::<ArchivedPlaceGroups>(0, reader.bytes()?).ok()?);
    let mut nodes = Vec::new();
    for _ in 0..reader.u32()? {
        let node: UpsertNode = to_owned(access::<ArchivedUpsertNode>(0, reader.bytes()?).ok()?);
        nodes.push(node.info);
    }
    let mut replacements = Vec::new();
    // The first version had none.
    let count = if version == 1 { 0 } else { reader.u32()? };
    for _ in 0..count {
        let replacement: Replacement = to_owned(access::<ArchivedReplacement>(0, reader.bytes()?).ok()?);
        replacements.push(replacement);
    }
    Meta::from_parts(groups, next_replica, nodes, replacements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_read_as_one_without_replacements() {
        let state = State::new(Settings::default(), Range::none());
        let mut writer = Writer::default();
        write(&state, &mut writer);
        let mut first = writer.into_bytes();
        first[4..6].copy_from_slice(&1_u16.to_le_bytes());
        assert!(matches!(read(Reader::new(&first)), Err(Fault::Content("head"))), "it had no count of replacements");
        first.truncate(first.len() - 4);
        let read_back = read(Reader::new(&first)).expect("an earlier version");
        assert_eq!((read_back.meta, read_back.settings), (state.meta, state.settings));
        first[4..6].copy_from_slice(&(VERSION + 1).to_le_bytes());
        assert!(matches!(read(Reader::new(&first)), Err(Fault::Version(version)) if version == VERSION + 1));
    }
}
