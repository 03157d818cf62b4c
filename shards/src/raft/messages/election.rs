//! Votes, transfers of the leadership, and whether a replica is ready for one.

use openraft::raft::{TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};

use crate::env::Env;
use crate::raft::encoding::{Malformed, Reader, put_log_id, put_vote};
use crate::raft::types::{LogId, Types};

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

/// Appends a transfer of the leadership.
pub fn put_transfer_leader_request<E: Env>(out: &mut Vec<u8>, request: &TransferLeaderRequest<Types<E>>) {
    put_vote(out, request.from_leader());
    out.extend_from_slice(&request.to_node_id().to_le_bytes());
    put_log_id(out, request.last_log_id());
}

/// Reads a transfer of the leadership.
pub fn transfer_leader_request<E: Env>(body: &[u8]) -> Result<TransferLeaderRequest<Types<E>>, Malformed> {
    let mut reader = Reader::new(body, "hand-over");
    let request = TransferLeaderRequest::new(reader.vote()?, reader.u64()?, reader.log_id()?);
    reader.end()?;
    Ok(request)
}

/// The answer to a transfer of the leadership.
pub fn transfer_leader_response_bytes<E: Env>(response: &TransferLeaderResponse<Types<E>>) -> Vec<u8> {
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

/// Reads the answer to a transfer of the leadership.
pub fn transfer_leader_response<E: Env>(body: &[u8]) -> Result<TransferLeaderResponse<Types<E>>, Malformed> {
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

/// The term that a replica is asked about whether it leads in it.
pub fn asked_term(body: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(body, "question for the leader");
    let term = reader.u64()?;
    reader.end()?;
    Ok(term)
}

/// The answer to that question.
pub fn leads_bytes(leads: bool) -> Vec<u8> {
    vec![u8::from(leads)]
}

/// Reads that answer.
pub fn leads(body: &[u8]) -> Result<bool, Malformed> {
    let mut reader = Reader::new(body, "word of a leader");
    let leads = reader.flag()?;
    reader.end()?;
    Ok(leads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::Linux;
    use crate::raft::types::{Vote, log_id};

    #[test]
    fn requests_and_answers_come_back() {
        let expected = Some(log_id(3, 4));
        let (old, new) = (Vote::new_committed(1, 2), Vote::new(2, 3));
        let refusals = [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: old, actual: new }),
            Err(TransferLeaderError::LogNotFlushed { expected, actual: None }),
        ];
        for sent in refusals {
            assert_eq!(transfer_leader_response::<Linux>(&transfer_leader_response_bytes::<Linux>(&sent)), Ok(sent));
        }
        let sent = VoteResponse::new(old, expected, true);
        assert_eq!(vote_response::<Linux>(&vote_response_bytes::<Linux>(&sent)), Ok(sent));
        let mut sent = VoteRequest::new(new, None);
        sent.leadership_transfer = true;
        let mut out = Vec::new();
        put_vote_request::<Linux>(&mut out, &sent);
        assert_eq!(vote_request::<Linux>(&out), Ok(sent));
        assert_eq!(readiness(&readiness_bytes(true, expected)), Ok((true, expected)));
        assert_eq!((asked_term(&7_u64.to_le_bytes()), leads(&leads_bytes(true))), (Ok(7), Ok(true)));
        assert!(asked_term(&[7; 9]).is_err() && leads(&[2]).is_err() && leads(&[]).is_err());
    }
}
