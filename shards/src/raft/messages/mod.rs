//! Messages between the replicas of one group (a format). All integers little endian; a reply's kind is its request's
//! with the highest bit set. *vote* and *log id* are encoded as in [`encoding`](super::encoding), 17 bytes each.
//!
//! ```text
//! 0x1101 append          0 17 vote      17 17 log id before the entries   34 17 leader's commit   51 4 count
//!                        per entry: 8 term, 1 kind, 4 payload length; then all payloads, in order
//! 0x9101 appended        0 1 status: 0 all, 1 up to the log id, 2 conflict, 3 higher vote
//!                        1 17 log id (status 1) or vote (status 3); last 1 the disk is full (0 or 1)
//! 0x1102 vote            0 17 vote      17 17 last log id                 34 1 the leader handed over (0 or 1)
//! 0x9102 voted           0 17 vote      17 17 last log id                 34 1 granted (0 or 1)
//! 0x1103 pre-vote        as vote
//! 0x9103 pre-voted       as voted
//! 0x1104 transfer leader 0 17 leader's vote                17 8 to replica                25 17 last log id
//! 0x9104 transferred     0 1 status: 0 yes, 1 vote changed, 2 log not flushed
//!                        1 17 expected   18 17 actual   (votes for status 1, log ids for status 2)
//! 0x1105 snapshot begin  0 17 leader's vote   17 8 transfer   25 8 length of the file   33 the file's header
//! 0x1106 snapshot chunk  0 8 transfer          8 8 offset in the file   16 whole blocks of the file
//! 0x1107 snapshot end    0 8 transfer
//! 0x9105 .. 0x9107       0 17 vote of the receiver; a higher one than the leader's ends the transfer
//! 0x1108 ready?          0 0
//! 0x9108 readiness       0 1 may take over (0 or 1)    1 17 last log id
//! 0x1109 leads?          0 8 term
//! 0x9109 leading         0 1 leads in that term, and reaches a majority (0 or 1)
//! ```
//! The indices of an append's entries follow that of the log id before them, from 0 if there is none. A transfer is a
//! number that the sender draws; chunks come in order of offset, without gaps, the first behind the header.

mod append;
mod election;
mod snapshot;

pub use append::{append, append_bytes, appended, appended_bytes, put_append};
pub use election::{
    asked_term, leads, leads_bytes, put_transfer_leader_request, put_vote_request, readiness, readiness_bytes,
    transfer_leader_request, transfer_leader_response, transfer_leader_response_bytes, vote_request, vote_response,
    vote_response_bytes,
};
pub use kahuna_protocol::kinds::{
    APPEND, LEADS, PRE_VOTE, READY, REPLY, SNAPSHOT_BEGIN, SNAPSHOT_CHUNK, SNAPSHOT_END, TRANSFER_LEADER, VOTE,
};
pub use snapshot::{SnapshotBegin, chunk, put_chunk_head, snapshot_end, snapshot_reply, snapshot_reply_bytes};
