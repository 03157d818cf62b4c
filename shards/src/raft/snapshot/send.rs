//! Sending a snapshot to another replica, part by part.

use std::time::Duration;

use openraft::errors::{StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::{AsyncRuntime, RPCTypes};

use super::fault::SnapshotFault;
use super::file::SnapshotFile;
use super::keeper::SnapshotKeeper;
use super::read::BlockReader;
use crate::env::Env;
use crate::raft::inbound::heeded;
use crate::raft::link::ReplicaLink;
use crate::raft::messages::{
    SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, SnapshotBegin, put_chunk_head, snapshot_reply,
};
use crate::raft::types::{Types, Vote};

/// How long a receiver may take over a part of a snapshot, and over its installation.
const CHUNK_LIMIT: Duration = Duration::from_secs(10);
const INSTALL_LIMIT: Duration = Duration::from_secs(60);

/// Sends `file` over `link` under `vote`; the answer is the receiver's vote if that is higher.
///
/// # Errors
/// When the link fails, the receiver refuses, or the file is damaged: that is reported to `keeper`.
pub async fn send_snapshot<E: Env>(
    link: &ReplicaLink<E>,
    vote: Vote,
    file: &SnapshotFile<E>,
    keeper: &SnapshotKeeper<E>,
) -> Result<SnapshotResponse<Types<E>>, StreamingError<Types<E>>> {
    let unreadable = |fault: SnapshotFault| {
        keeper.report_damage(file, &fault);
        // openraft comes again after a pause, and gets the snapshot that is newest then.
        Unreachable::from_string(fault.to_string())
    };
    let transfer = rand::Rng::next_u64(&mut E::Runtime::thread_rng());
    let header = file.header.encode().into();
    let begin = SnapshotBegin { vote, transfer, file_bytes: file.bytes, header };
    let mut higher = send_part(link, vote, SNAPSHOT_BEGIN, CHUNK_LIMIT, |out| begin.put(out)).await?;
    let mut reader = BlockReader::checking(file);
    while higher.is_none()
        && let Some((offset, blocks)) = reader.next().await.map_err(unreadable)?
    {
        let put = |out: &mut Vec<u8>| {
            put_chunk_head(out, transfer, offset);
            out.extend_from_slice(blocks);
        };
        higher = send_part(link, vote, SNAPSHOT_CHUNK, CHUNK_LIMIT, put).await?;
    }
    if higher.is_none() {
        let put = |out: &mut Vec<u8>| out.extend_from_slice(&transfer.to_le_bytes());
        higher = send_part(link, vote, SNAPSHOT_END, INSTALL_LIMIT, put).await?;
    }
    if higher.is_none() {
        link.acknowledge(vote, Some(file.header.last), None);
    }
    Ok(SnapshotResponse::new(higher.unwrap_or(vote)))
}

/// Sends one part of a snapshot under `vote`; returns the receiver's vote if that is higher.
async fn send_part<E: Env>(
    link: &ReplicaLink<E>,
    vote: Vote,
    kind: u16,
    limit: Duration,
    payload: impl FnOnce(&mut Vec<u8>),
) -> Result<Option<Vote>, StreamingError<Types<E>>> {
    let answer = link.call(kind, limit, payload).await;
    let theirs = link.answer(answer, RPCTypes::InstallSnapshot, limit, kind, snapshot_reply)?;
    if theirs <= vote {
        return Ok(None);
    }
    let theirs = heeded::<E>(vote, theirs, link.to()).map_err(|wrong| link.refuse(&wrong))?;
    if theirs > vote { Ok(Some(theirs)) } else { Err(link.malformed_reply("another leader of the same term").into()) }
}
