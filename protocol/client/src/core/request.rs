//! One submitted request: its content, the fate of its attempts, and the answer that they allow at the end.

use std::time::Duration;

use kahuna_protocol::limits::{MAX_BODY_BYTES, MAX_VALID_FOR_MS};
use kahuna_protocol::request::Class;
use kahuna_protocol::{Advice, ErrorCode, ErrorReply, Fate, Hlc, NodeId, Position, Request, RequestRef};

use super::output::ConnectionId;
use super::time::Reading;
use crate::options::LONGEST;
use crate::{CallOptions, ClientError, Now};

/// A partition's time does not move while a request is on its way: one new number is enough, unless the map is stale.
const MAX_RENEWALS: u32 = 3;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for a connection, or for room on one.
    Waiting,
    /// Pauses before a repeat.
    Pausing,
    /// One attempt is out.
    Sent { connection: ConnectionId, request_id: u64, at: Duration },
}

/// What an error reply means for its request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It ends here.
    Final(ClientError),
    /// Ask again: the same node, or rather another one.
    Again { elsewhere: bool },
}

/// A request from `submit` to its end.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) write: bool,
    /// The core's own request for the map.
    pub(crate) internal: bool,
    pub(crate) position: Option<Position>,
    pub(crate) options: CallOptions,
    /// Endpoint index of `options.endpoint`.
    pub(crate) pin: Option<usize>,
    /// In the session; 0 for a read. A renewed request has a new one.
    pub(crate) number: u64,
    /// Fixed with the first attempt under `number`, the same for all.
    pub(crate) valid_until_ms: u64,
    pub(crate) timeout: Duration,
    pub(crate) deadline: Duration,
    /// How long the server may queue it on top of an attempt's time.
    pub(crate) wait: Duration,
    /// Of the lease it asks for.
    pub(crate) ttl: Option<Duration>,
    /// Under `number`.
    pub(crate) first_sent: Option<Now>,
    pub(crate) attempts: u32,
    /// The partition's time as the refusal showed it that made this a new request.
    pub(crate) refused_at: Option<Reading>,
    /// How often it got a new number.
    renewals: u32,
    /// An earlier attempt may have been applied.
    pub(crate) unknown: bool,
    pub(crate) refusal: Option<ErrorReply>,
    /// A node that could not serve it: ask another one if there is one.
    pub(crate) avoid: Option<NodeId>,
    pub(crate) stage: Stage,
    /// When the core must look at it again; its key in the timer queue.
    pub(crate) wake_at: Duration,
}

impl Tracked {
    pub(crate) fn new(
        request: &Request,
        options: CallOptions,
        default_timeout: Duration,
        now: Duration,
    ) -> Result<Self, ClientError> {
        let mut body = Vec::new();
        request
            .encode_body_at_most(MAX_BODY_BYTES, &mut body)
            .map_err(|error| ClientError::refused(ErrorCode::TooLarge, format!("the request is too large: {error}")))?;
        let view = RequestRef::access(request.kind(), &body).expect("what was just encoded validates");
        let write = match view.class() {
            Class::Write => true,
            Class::Read | Class::Node => false,
            Class::System => {
                let text = "commands of the system itself are not accepted from clients";
                return Err(ClientError::refused(ErrorCode::BadRequest, text));
            }
        };
        let (wait, ttl) = match request {
            Request::LockAcquire(body) => (body.wait_ms, Some(body.ttl_ms)),
            Request::LockExtend(body) => (0, Some(body.ttl_ms)),
            _ => (0, None),
        };
        let wait = Duration::from_millis(wait);
        let timeout = options.timeout.unwrap_or(default_timeout).min(LONGEST).saturating_add(wait);
        let deadline = now.saturating_add(timeout);
        let position = view.route();
        Ok(Self {
            kind: request.kind(),
            body,
            write,
            internal: false,
            position,
            options,
            pin: None,
            number: 0,
            valid_until_ms: 0,
            timeout,
            deadline,
            wait,
            ttl: ttl.map(Duration::from_millis),
            first_sent: None,
            attempts: 0,
            refused_at: None,
            renewals: 0,
            unknown: false,
            refusal: None,
            avoid: None,
            stage: Stage::Waiting,
            wake_at: deadline,
        })
    }

    /// The attempt in flight was lost: no answer will come, and it may have been applied.
    pub(crate) fn attempt_lost(&mut self) {
        self.unknown |= self.write;
    }

    /// Whether it may be sent again under a new number. It was refused because of its `valid_until`, by a partition whose time
    /// `stamp` shows, and nothing of it was or will be applied: `Expired` proves that for all attempts, other
    /// refusals only for their own.
    pub(crate) fn may_renew(&self, refusal: &ErrorReply, stamp: Hlc) -> bool {
        let is_too_early = || self.valid_until_ms > stamp.millis().saturating_add(MAX_VALID_FOR_MS);
        let is_for_time = match refusal.code() {
            ErrorCode::Expired => true,
            ErrorCode::Forgotten => !self.unknown,
            ErrorCode::BadRequest => !self.unknown && is_too_early(),
            _ => false,
        };
        self.write && self.renewals < MAX_RENEWALS && stamp != Hlc::ZERO && is_for_time
    }

    /// Makes it a request that was never sent, under `number`, to a partition that goes by `time`; the number that it had.
    pub(crate) fn renew(&mut self, number: u64, time: Reading) -> u64 {
        self.refused_at = Some(time);
        (self.first_sent, self.unknown) = (None, false);
        self.renewals += 1;
        std::mem::replace(&mut self.number, number)
    }

    /// Judges a refusal. "Not applied" concerns one attempt only: once another one is unknown, only a recorded outcome
    /// or `Expired` (it never was and never will be applied) makes the answer certain again.
    pub(crate) fn judge_refusal(&mut self, reply: ErrorReply) -> Verdict {
        let code = reply.code();
        let verdict = match code.advice() {
            Advice::Never if code == ErrorCode::Expired || !self.unknown => {
                Verdict::Final(ClientError::Refused(reply.clone()))
            }
            Advice::Never => Verdict::Final(ClientError::Unknown {
                text: format!("an earlier attempt had no answer; the last one said {code}: {}", reply.text),
            }),
            Advice::SameNode => Verdict::Again { elsewhere: false },
            Advice::OtherNode => Verdict::Again { elsewhere: true },
        };
        self.unknown |= self.write && code.fate() == Fate::Unknown;
        self.refusal = Some(reply);
        verdict
    }

    /// The error when time is up; `troubles` describes the endpoints.
    pub(crate) fn out_of_time(self, troubles: &str) -> ClientError {
        let out = self.write && matches!(self.stage, Stage::Sent { .. });
        let last = self.refusal.as_ref().map(|reply| format!("; last refusal {}: {}", reply.code(), reply.text));
        let text = format!(
            "no outcome within {:?} and {} attempts{}{}{troubles}",
            self.timeout,
            self.attempts,
            last.unwrap_or_default(),
            if troubles.is_empty() { "" } else { "; " },
        );
        match self.refusal {
            _ if self.unknown || out => ClientError::Unknown { text },
            Some(reply) if reply.code().fate() == Fate::NotApplied => ClientError::Refused(reply),
            _ => ClientError::Unavailable { text },
        }
    }
}
