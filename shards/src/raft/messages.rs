//! What replicas of one group say to each other (a format). All integers little endian; a reply's kind is its request's
//! with the highest bit set. *vote* and *log id* are encoded as in [`encoding`](super::encoding), 17 bytes each.
//!
//! ```text
//! 0x1101 append          0 17 vote      17 17 log id before the entries   34 17 leader's commit   51 4 count
//!                        per entry: 8 term, 1 kind, 4 payload length; then all payloads, in order
//! 0x9101 appended        0 1 status: 0 all, 1 up to the log id, 2 conflict, 3 higher vote
//!                        1 17 log id (status 1) or vote (status 3)
//! 0x1102 vote            0 17 vote      17 17 last log id                 34 1 the leader handed over (0 or 1)
//! 0x9102 voted           0 17 vote      17 17 last log id                 34 1 granted (0 or 1)
//! 0x1103 pre-vote        as vote
//! 0x9103 pre-voted       as voted
//! 0x1104 take over       0 17 leader's vote                17 8 to replica                25 17 last log id
//! 0x9104 taken over      0 1 status: 0 yes, 1 vote changed, 2 log not flushed
//!                        1 17 expected   18 17 actual   (votes for status 1, log ids for status 2)
//! 0x1105 snapshot begin  0 17 leader's vote   17 8 transfer   25 8 length of the file   33 the file's header
//! 0x1106 snapshot chunk  0 8 transfer          8 8 offset in the file   16 whole blocks of the file
//! 0x1107 snapshot end    0 8 transfer
//! 0x9105 .. 0x9107       0 17 vote of the receiver; a higher one than the leader's ends the transfer
//! 0x1108 ready?          0 0
//! 0x9108 readiness       0 1 may take over (0 or 1)    1 17 last log id
//! ```
//! The indices of an append's entries follow that of the log id before them, from 0 if there is none. A transfer is a
//! number that the sender draws; chunks come in order of offset, without gaps, the first behind the header.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse};

use super::encoding::{Malformed, Reader, entry, entry_kind, entry_payload, put_log_id, put_vote};
use super::types::{LogId, Types, Vote};
use crate::env::Env;

/// Replicates entries, or none: a heartbeat.
pub const APPEND: u16 = 0x1101;
/// Asks for a vote.
pub const VOTE: u16 = 0x1102;
/// Asks whether a vote would be granted.
pub const PRE_VOTE: u16 = 0x1103;
/// Hands the leadership over.
pub const TAKE_OVER: u16 = 0x1104;
/// Begins to send a snapshot.
pub const SNAPSHOT_BEGIN: u16 = 0x1105;
/// A part of it.
pub const SNAPSHOT_CHUNK: u16 = 0x1106;
/// All parts are sent: install it.
pub const SNAPSHOT_END: u16 = 0x1107;
/// Asks whether this replica may take the leadership over.
pub const READY: u16 = 0x1108;
/// The bit that makes a request's kind its reply's.
pub const REPLY: u16 = 0x8000;

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

/// What an append amounts to on the wire, in bytes.
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
        let (term, kind, length) = (heads.u64()?, heads.u8()?, heads.u32()? as usize);
        let payload = reader.take(length)?;
        let payload = if length <= COPY_BYTES { Bytes::copy_from_slice(payload) } else { body.slice(at..at + length) };
        at += length;
        entries.push(entry(term, index, kind, payload)?);
    }
    reader.end()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// The answer to an append.
pub fn appended_bytes<E: Env>(response: &AppendEntriesResponse<Types<E>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(18);
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
    out
}

/// Reads the answer to an append.
pub fn appended<E: Env>(body: &[u8]) -> Result<AppendEntriesResponse<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "answer to an append");
    let response = match reader.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(reader.log_id()?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(reader.vote()?),
        _ => return Err(reader.malformed()),
    };
    reader.end()?;
    Ok(response)
}

/// Appends a vote request.
pub fn put_vote_request<E: Env>(out: &mut Vec<u8>, request: &VoteRequest<Types<E>>) {
    put_vote(out, &request.vote);
    put_log_id(out, request.last_log_id.as_ref());
    out.push(u8::from(request.leadership_transfer));
}

/// Reads a vote request.
pub fn vote_request<E: Env>(body: &[u8]) -> Result<VoteRequest<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "vote request");
    let mut request = VoteRequest::new(reader.vote()?, reader.log_id()?);
    request.leadership_transfer = reader.flag()?;
    reader.end()?;
    Ok(request)
}

/// The answer to a vote request.
pub fn vote_response_bytes<E: Env>(response: &VoteResponse<Types<E>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(35);
    put_vote(&mut out, &response.vote);
    put_log_id(&mut out, response.last_log_id.as_ref());
    out.push(u8::from(response.vote_granted));
    out
}

/// Reads the answer to a vote request.
pub fn vote_response<E: Env>(body: &[u8]) -> Result<VoteResponse<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "answer to a vote request");
    let (vote, last_log_id) = (reader.vote()?, reader.log_id()?);
    let granted = reader.flag()?;
    reader.end()?;
    Ok(VoteResponse::new(vote, last_log_id, granted))
}

/// Appends a hand-over.
pub fn put_take_over<E: Env>(out: &mut Vec<u8>, request: &TransferLeaderRequest<Types<E>>) {
    put_vote(out, request.from_leader());
    out.extend_from_slice(&request.to_node_id().to_le_bytes());
    put_log_id(out, request.last_log_id());
}

/// Reads a hand-over.
pub fn take_over<E: Env>(body: &[u8]) -> Result<TransferLeaderRequest<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "hand-over");
    let request = TransferLeaderRequest::new(reader.vote()?, reader.u64()?, reader.log_id()?);
    reader.end()?;
    Ok(request)
}

/// The answer to a hand-over.
pub fn taken_over_bytes<E: Env>(response: &TransferLeaderResponse<Types<E>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(35);
    match response {
        Ok(()) => out.push(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.push(1);
            put_vote(&mut out, expected);
            put_vote(&mut out, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.push(2);
            put_log_id(&mut out, expected.as_ref());
            put_log_id(&mut out, actual.as_ref());
        }
    }
    out
}

/// Reads the answer to a hand-over.
pub fn taken_over<E: Env>(body: &[u8]) -> Result<TransferLeaderResponse<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "answer to a hand-over");
    let response = match reader.u8()? {
        0 => Ok(()),
        1 => Err(TransferLeaderError::VoteChanged { expected: reader.vote()?, actual: reader.vote()? }),
        2 => Err(TransferLeaderError::LogNotFlushed { expected: reader.log_id()?, actual: reader.log_id()? }),
        _ => return Err(reader.malformed()),
    };
    reader.end()?;
    Ok(response)
}

/// The head of a snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// The sender's claim to lead.
    pub vote: Vote,
    /// The number of this attempt.
    pub transfer: u64,
    /// The whole file in bytes, header included.
    pub file_bytes: u64,
    /// The file's header.
    pub header: Bytes,
}

impl SnapshotBegin {
    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_vote(out, &self.vote);
        out.extend_from_slice(&self.transfer.to_le_bytes());
        out.extend_from_slice(&self.file_bytes.to_le_bytes());
        out.extend_from_slice(&self.header);
    }

    /// Reads it.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body, "snapshot head");
        let (vote, transfer, file_bytes) = (reader.vote()?, reader.u64()?, reader.u64()?);
        let header = Bytes::copy_from_slice(reader.take(reader.left())?);
        Ok(Self { vote, transfer, file_bytes, header })
    }
}

/// Appends the head of a chunk; the blocks follow it.
pub fn put_chunk_head(out: &mut Vec<u8>, transfer: u64, offset: u64) {
    out.extend_from_slice(&transfer.to_le_bytes());
    out.extend_from_slice(&offset.to_le_bytes());
}

/// Reads a chunk: transfer, offset, blocks.
pub fn chunk(body: &[u8]) -> Result<(u64, u64, &[u8]), Malformed> {
    let mut reader = Reader::new(body, "snapshot chunk");
    let (transfer, offset) = (reader.u64()?, reader.u64()?);
    let blocks = reader.take(reader.left())?;
    Ok((transfer, offset, blocks))
}

/// Reads the end of a snapshot: its transfer.
pub fn snapshot_end(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body, "snapshot end");
    let transfer = reader.u64()?;
    reader.end()?;
    Ok(transfer)
}

/// The answer to a part of a snapshot.
pub fn snapshot_reply_bytes(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::with_capacity(17);
    put_vote(&mut out, vote);
    out
}

/// Reads the answer to a part of a snapshot.
pub fn snapshot_reply(body: &[u8]) -> Result<Vote, Malformed> {
    let mut reader = Reader::new(body, "answer to a snapshot");
    let vote = reader.vote()?;
    reader.end()?;
    Ok(vote)
}

/// The answer to the question whether a replica may take over.
pub fn readiness_bytes(ready: bool, last: Option<LogId>) -> Vec<u8> {
    let mut out = vec![u8::from(ready)];
    put_log_id(&mut out, last.as_ref());
    out
}

/// Reads whether the replica may take over, and its last log id.
pub fn readiness(body: &[u8]) -> Result<(bool, Option<LogId>), Malformed> {
    let mut reader = Reader::new(body, "readiness");
    let (ready, last) = (reader.flag()?, reader.log_id()?);
    reader.end()?;
    Ok((ready, last))
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::batch::Batch;

    use super::super::types::{Entry, Payload, Proposal, log_id};
    use super::*;
    use crate::linux::Linux;

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
            assert_eq!(appended::<Linux>(&appended_bytes::<Linux>(&sent)), Ok(sent));
        }
        let expected = Some(log_id(3, 4));
        let (old, new) = (Vote::new_committed(1, 2), Vote::new(2, 3));
        let refusals = [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: old, actual: new }),
            Err(TransferLeaderError::LogNotFlushed { expected, actual: None }),
        ];
        for sent in refusals {
            assert_eq!(taken_over::<Linux>(&taken_over_bytes::<Linux>(&sent)), Ok(sent));
        }
        let sent = VoteResponse::new(old, expected, true);
        assert_eq!(vote_response::<Linux>(&vote_response_bytes::<Linux>(&sent)), Ok(sent));
        let mut sent = VoteRequest::new(new, None);
        sent.leadership_transfer = true;
        let mut out = Vec::new();
        put_vote_request::<Linux>(&mut out, &sent);
        assert_eq!(vote_request::<Linux>(&out), Ok(sent));
        assert_eq!(readiness(&readiness_bytes(true, expected)), Ok((true, expected)));
    }
}
