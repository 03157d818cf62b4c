//! The first block's payload: everything that is there once.

use std::rc::Rc;

use bytes::Bytes;
use kahuna_protocol::Hlc;
use kahuna_protocol::frame::{access, archive_into, to_owned};
use kahuna_protocol::meta::{
    ArchivedPlaceGroups, ArchivedSettings, ArchivedUpsertNode, PlaceGroups, Settings, UpsertNode,
};

use super::bytes::{Reader, Writer};
use super::format::{Fault, MAGIC, VERSION};
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
    let Meta { settings, map, placements, nodes, next_replica } = &*state.meta;
    writer.u64(state.meta_version);
    writer.u64(*next_replica);
    let groups = PlaceGroups { settings: *settings, map: map.clone(), placements: placements.clone() };
    writer.counted(|out| archive_into(&groups, out));
    writer.u32(u32::try_from(nodes.len()).expect("a cluster has far fewer nodes"));
    for info in nodes {
        writer.counted(|out| archive_into(&UpsertNode { info: info.clone() }, out));
    }
}

/// # Errors
/// `Magic`, `Version`, `Content`.
pub fn read(mut reader: Reader<'_>) -> Result<State, Fault> {
    if reader.array() != Some(MAGIC) {
        return Err(Fault::Magic);
    }
    match reader.u16() {
        Some(VERSION) => {}
        version => return Err(Fault::Version(version.unwrap_or(0))),
    }
    let state = read_fields(&mut reader).ok_or(Fault::Content("head"))?;
    if reader.is_empty() { Ok(state) } else { Err(Fault::Content("head")) }
}

fn read_fields(reader: &mut Reader<'_>) -> Option<State> {
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
    let meta = Rc::new(read_meta(reader)?);
    let range = Range { start, end, epoch };
    Some(State { time, horizon, floors, meta, meta_version, ..State::new(settings, range) })
}

fn read_meta(reader: &mut Reader<'_>) -> Option<Meta> {
    let next_replica = reader.u64()?;
    let groups: PlaceGroups = to_owned(access::<ArchivedPlaceGroups>(0, reader.bytes()?).ok()?);
    let PlaceGroups { settings, map, placements } = groups;
    let mut nodes = Vec::new();
    for _ in 0..reader.u32()? {
        let node: UpsertNode = to_owned(access::<ArchivedUpsertNode>(0, reader.bytes()?).ok()?);
        nodes.push(node.info);
    }
    Some(Meta { settings, map, placements, nodes, next_replica })
}
