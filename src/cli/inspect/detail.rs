//! The content of records, for the kinds that this program knows.

use kahuna_shards::node::creation::Creation;
use kahuna_shards::raft::encoding::{Malformed, Reader, stored_entry};
use kahuna_shards::raft::snapshot::Pointer;
use kahuna_shards::raft::types::{LogId, Payload};
use kahuna_wal::ENTRY_META_BYTES;
use kahuna_wal::inspect::RecordView;

/// One line; empty for a kind without further content.
pub fn detail(record: &RecordView<'_>) -> String {
    described(record).unwrap_or_else(|error| error.to_string())
}

fn described(record: &RecordView<'_>) -> Result<String, Malformed> {
    match record.kind_name {
        "entry" | "moved" => entry(record),
        "vote" => {
            let mut reader = Reader::new(record.body, "vote");
            let vote = reader.vote()?;
            reader.end()?;
            let committed = if vote.committed { ", elected" } else { "" };
            Ok(format!("term {} for replica {}{committed}", vote.leader_id.term, vote.leader_id.voted_for))
        }
        "committed" | "purge" => {
            let mut reader = Reader::new(record.body, "log id");
            let id = reader.log_id()?;
            reader.end()?;
            Ok(id.map_or_else(|| "none".to_owned(), |id| log_id(&id)))
        }
        "snapshot" => {
            let pointer = Pointer::read(record.body)?;
            Ok(format!("{}, {} bytes", log_id(&pointer.last), pointer.file_bytes))
        }
        "group_created" => {
            let creation = Creation::decode(record.body).map_err(|_| Malformed("creation"))?;
            Ok(format!("replica {} of {} voters", creation.replica, creation.members.len()))
        }
        _ => Ok(String::new()),
    }
}

fn entry(record: &RecordView<'_>) -> Result<String, Malformed> {
    let (meta, payload) = record.body.split_first_chunk::<ENTRY_META_BYTES>().ok_or(Malformed("entry"))?;
    let entry = stored_entry(record.index, meta, payload.to_vec().into())?;
    let kind = match entry.payload {
        Payload::Blank => "blank",
        Payload::Normal(_) => "commands",
        Payload::Membership(_) => "membership",
    };
    Ok(format!("term {}, {kind}", entry.log_id.leader_id.term))
}

fn log_id(id: &LogId) -> String {
    format!("term {} index {}", id.leader_id.term, id.index)
}
