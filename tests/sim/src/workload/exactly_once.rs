//! Claim: a write that arrives twice is applied once, and both answers are the first one's.
//!
//! The client's core repeats what stays without answer all the time, and the history shows it when a repetition is applied
//! again. Here the same frame goes to two nodes at once on connections of their own, as no well-behaved client does: the
//! answers, if there are two, must be equal.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::future::join;
use kahuna_protocol::{
    ClusterId, Durability, FrameReader, Header, Hlc, Limits, Outcome as Answer, ReadLevel, Request, RequestPrelude,
    frame::{VERSIONS, archive_into, encode_frame},
    handshake::{ANY_SHARD, Hello, KIND_HELLO, KIND_WELCOME},
    sequence::SequenceNext,
};
use kahuna_shards::env::{Env, Net, ReadHalf, Stream, WriteHalf};

use super::{Process, process::now_ns, recorder::fill, sequences::sequence};
use crate::{
    Sim, SimNet,
    check::{Kind, Op},
    finding::{Finding, Judge},
    net::{SimReadHalf, SimWriteHalf},
};

/// How long such a request may be applied, and how long its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// The sequence that only duplicates draw from.
const NUMBER: u64 = 1;

impl Process {
    pub(super) async fn duplicate_step(&mut self) {
        let name = sequence(NUMBER);
        let request = Request::from(SequenceNext { name: name.clone().into(), idempotency_key: Vec::new() });
        let valid_for = u64::try_from(PATIENCE.as_millis()).expect("seconds");
        let prelude = RequestPrelude {
            // A session for this one request.
            session: self.rng.draw().max(1),
            number: 1,
            acknowledged: 1,
            valid_until_ms: Sim::wall_clock().as_millis() + valid_for,
            timeout_ms: u32::try_from(valid_for).expect("seconds"),
            read: ReadLevel::Linearizable,
            durability: Durability::Persistent,
        };
        let pick = || self.endpoints[self.rng.below(self.endpoints.len() as u64) as usize].clone();
        let (one, two) = (pick(), pick());
        let mut invoked = self.invocation(Op::SeqNext, &name);
        invoked.increment = Some(1);
        self.recorder.begin(&invoked, Sim::boot_clock());
        let (one, two) = join(ask(&one, &prelude, &request), ask(&two, &prelude, &request)).await;
        let decided = |answer: Option<Answer>| answer.filter(|answer| matches!(answer, Answer::Allocated(_)));
        let (one, two) = (decided(one), decided(two));
        if let (Some(one), Some(two)) = (&one, &two) {
            self.recorder.duplicates.set(self.recorder.duplicates.get() + 1);
            judge_answers(one, two).into_iter().for_each(|finding| self.recorder.find(finding));
        }
        // Without an answer nobody knows: the other node may still be at it.
        let mut completed = invoked.completion(Kind::Info, now_ns());
        if let Some(answer) = one.or(two) {
            completed.kind = Kind::Ok;
            fill(&mut completed, &answer);
        }
        self.recorder.end(completed);
    }
}

/// One request has one answer, whoever gives it.
pub(crate) fn judge_answers(one: &Answer, two: &Answer) -> Option<Finding> {
    let text = || format!("one request was answered {one:?} and {two:?}");
    (one != two).then(|| Finding::new(Judge::ExactlyOnce, text()))
}

/// The answer of one node, if it gives one in time.
async fn ask(endpoint: &str, prelude: &RequestPrelude, request: &Request) -> Option<Answer> {
    Sim::timeout(PATIENCE, exchange(endpoint, prelude, request)).await?.ok()
}

async fn exchange(endpoint: &str, prelude: &RequestPrelude, request: &Request) -> io::Result<Answer> {
    let address: SocketAddr = endpoint.parse().expect("simulated endpoints are written out");
    let (mut read, mut write) = SimNet::connect(address, PATIENCE).await?.split();
    let mut frames = FrameReader::new(Limits::default().max_frame_bytes);
    let hello = Hello {
        min_version: *VERSIONS.start(),
        max_version: *VERSIONS.end(),
        shard: ANY_SHARD,
        cluster: ClusterId::NONE.0,
        client_name: "kahuna-sim".into(),
    };
    send(&mut write, KIND_HELLO, 0, |out| archive_into(&hello, out)).await?;
    let (header, _) = receive(&mut read, &mut frames).await?;
    if header.kind != KIND_WELCOME {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    send(&mut write, request.kind(), 1, |out| {
        out.extend_from_slice(&prelude.encode());
        request.encode_body(out);
    })
    .await?;
    loop {
        let (header, payload) = receive(&mut read, &mut frames).await?;
        if header.request_id == 1 {
            return Answer::decode(header.kind, &payload).map_err(io::Error::other);
        }
    }
}

async fn send(write: &mut SimWriteHalf, kind: u16, id: u64, body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, 0, id, Hlc::ZERO, body);
    write.write_all(&bytes).await
}

async fn receive(read: &mut SimReadHalf, frames: &mut FrameReader) -> io::Result<(Header, Bytes)> {
    let mut buf = [0; 4096];
    loop {
        if let Some(frame) = frames.next().map_err(io::Error::other)? {
            return Ok(frame);
        }
        match read.read(&mut buf).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => frames.extend(&buf[..len]),
        }
    }
}
