//! Appends and their answers.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

use crate::env::Env;
use crate::raft::encoding::{Malformed, Reader, entry, entry_kind, entry_payload, put_log_id, put_vote};
use crate::raft::types::Types;

/// A payload up to this length is copied out of its frame, so that it does not keep a large read buffer alive.
const COPY_BYTES: usize = 16 << 10;
/// Term, kind, payload length.
const ENTRY_HEAD_BYTES: usize = 13;

/// Appends an append.
pub fn put_append<E: Env>(out: &mut Vec<u8>, request: &AppendEntriesRequest<Types<E>>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.prev_log_id.as_ref());
    put_log_id(out, request.leader_commit.as_ref());
    let count = u32::try_from(request.entries.len()).expect("a read of the log is bounded");
    out.extend_from_slice(&count.to_le_bytes());
    let payloads: Vec<Bytes> = request.entries.iter().map(|entry| entry_payload(&entry.payload)).collect();
    for (entry, payload) in request.entries.iter().zip(&payloads) {
        let length = u32::try_from(payload.len()).expect("an entry is bounded");
        out.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
        out.push(entry_kind(&entry.payload));
        out.extend_from_slice(&length.to_le_bytes());
    }
    payloads.iter().for_each(|payload| out.extend_from_slice(payload));
}

/// Length of an append on the wire, in bytes.
pub fn append_bytes<E: Env>(request: &AppendEntriesRequest<Types<E>>) -> usize {
    let payloads = request.entries.iter().map(|entry| ENTRY_HEAD_BYTES + entry_payload(&entry.payload).len());
    55 + payloads.sum::<usize>()
}

/// Reads an append. Large payloads stay in the frame's buffer.
pub fn append<E: Env>(body: &Bytes) -> Result<AppendEntriesRequest<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "append");
    let (vote, prev_log_id, leader_commit) = (reader.vote()?, reader.log_id()?, reader.log_id()?);
    let count = reader.u32()? as usize;
    let heads_bytes = count.checked_mul(ENTRY_HEAD_BYTES).ok_or(reader.malformed())?;
    let mut heads = Reader::new(reader.take(heads_bytes)?, "append");
    let mut at = body.len() - reader.left();
    let first = prev_log_id.map_or(0, |id| id.index + 1);
    let mut entries = Vec::with_capacity(count);
    for index in (first..).take(count) {
        let (term, kind, length) = (heads.count()?, heads.u8()?, heads.u32()? as usize);
        let payload = reader.take(length)?;
        let payload = if length <= COPY_BYTES { Bytes::copy_from_slice(payload) } else { body.slice(at..at + length) };
        at += length;
        entries.push(entry(term, index, kind, payload)?);
    }
    reader.end()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// The answer to an append, and whether the follower's disk is full.
pub fn appended_bytes<E: Env>(response: &AppendEntriesResponse<Types<E>>, disk_full: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(19);
    match response {
        AppendEntriesResponse::Success => out.push(0),
        AppendEntriesResponse::PartialSuccess(id) => {
            out.push(1);
            put_log_id(&mut out, id.as_ref());
        }
        AppendEntriesResponse::Conflict => out.push(2),
        AppendEntriesResponse::HigherVote(vote) => {
            out.push(3);
            put_vote(&mut out, vote);
        }
    }
    out.push(u8::from(disk_full));
    out
}

/// Reads the answer to an append, and whether the follower's disk is full.
pub fn appended<E: Env>(body: &[u8]) -> Result<(AppendEntriesResponse<Types<E>>, bool), Malformed> {
    let mut reader = Reader::new(body, "answer to an append");
    let response = match reader.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(reader.log_id()?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(reader.vote()?),
        _ => return Err(reader.malformed()),
    };
    let disk_full = reader.flag()?;
    reader.end()?;
    Ok((response, disk_full))
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::batch::Batch;

    use super::*;
    use crate::linux::Linux;
    use crate::raft::types::{Entry, Payload, Proposal, Vote, log_id};

    fn request(lengths: &[usize]) -> AppendEntriesRequest<Types<Linux>> {
        let entries = (8..).zip(lengths).map(|(index, &length)| {
            let batch = Batch::from_bytes(vec![index as u8; length].into());
            Entry { log_id: log_id(3, index), payload: Payload::Normal(Proposal(batch)) }
        });
        AppendEntriesRequest {
            vote: Vote::new_committed(4, 2),
            prev_log_id: Some(log_id(3, 7)),
            entries: entries.collect(),
            leader_commit: Some(log_id(2, 5)),
        }
    }

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        put_append(&mut out, &request(&[2, 0]));
        let vote = [4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1];
        let id = |term, index| [1, term, 0, 0, 0, 0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0];
        let entry = |length| [3, 0, 0, 0, 0, 0, 0, 0, 1, length, 0, 0, 0];
        let expected = [&vote[..], &id(3, 7), &id(2, 5), &[2, 0, 0, 0], &entry(2), &entry(0), &[8, 8]].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn appends_come_back() {
        let sent = request(&[10, COPY_BYTES + 1, 0]);
        let mut out = Vec::new();
        put_append(&mut out, &sent);
        assert_eq!(out.len(), append_bytes(&sent));
        let frame = Bytes::from(out);
        let got = append::<Linux>(&frame).expect("just written");
        assert_eq!((got.vote, got.prev_log_id, got.leader_commit), (sent.vote, sent.prev_log_id, sent.leader_commit));
        assert_eq!(got.entries, sent.entries);
        let is_inside = |entry: &Entry| frame.as_ptr_range().contains(&entry_payload(&entry.payload).as_ptr());
        assert!(!is_inside(&got.entries[0]), "a small payload does not pin its frame");
        assert!(is_inside(&got.entries[1]), "a large payload is not copied");
    }

    #[test]
    fn cut_appends_are_refused() {
        let mut out = Vec::new();
        put_append(&mut out, &request(&[3, 4]));
        let frame = Bytes::from(out);
        for cut in 0..frame.len() {
            assert!(append::<Linux>(&frame.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut many = frame.to_vec();
        many[51..55].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(append::<Linux>(&many.into()).is_err());
    }

    #[test]
    fn answers_come_back() {
        use AppendEntriesResponse::{Conflict, HigherVote, PartialSuccess, Success};
        for sent in [Success, PartialSuccess(Some(log_id(1, 2))), Conflict, HigherVote(Vote::new(9, 8))] {
            for full in [false, true] {
                assert_eq!(appended::<Linux>(&appended_bytes::<Linux>(&sent, full)), Ok((sent.clone(), full)));
            }
        }
    }
}
