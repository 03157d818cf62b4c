//! One batch, command by command: the stamp, the gates, the decision.

use kahuna_protocol::batch::{Batch, Command};
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::{FrameError, Hlc, Limits, Outcome, RequestRef};

use crate::Machine;

/// What a batch came to.
#[derive(Debug)]
pub struct Applied {
    /// One outcome per command, in their order.
    pub outcomes: Vec<Outcome>,
}

/// Why a batch cannot be applied. The state may hold a part of it: the replica must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The batch, or a command's body, is not what it says.
    #[error("command {command} of the batch is damaged: {reason}")]
    Damaged {
        /// Which command, from 0.
        command: usize,
        /// What does not hold.
        reason: FrameError,
    },
    /// A kind that a newer version wrote.
    #[error("command {command} of the batch has the unknown kind {kind:#06x}: it needs a newer version")]
    UnknownKind {
        /// Which command, from 0.
        command: usize,
        /// The kind.
        kind: u16,
    },
}

impl ApplyError {
    fn new(command: usize, reason: FrameError) -> Self {
        match reason {
            FrameError::UnknownKind(kind) => Self::UnknownKind { command, kind },
            reason => Self::Damaged { command, reason },
        }
    }
}

/// What the log accepts is bounded where it enters; applying must not depend on a node's own limits.
fn no_limits() -> Limits {
    Limits { max_value_bytes: u32::MAX, ..Limits::default() }
}

/// One command's moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Its stamp, above every earlier one.
    pub stamp: Hlc,
    /// The stamp's milliseconds.
    pub ms: u64,
    /// What the leader stamped its batch with, in milliseconds: machine time may be ahead of it.
    pub batch_ms: u64,
}

/// Whether a batch can be applied, whatever the state is.
///
/// # Errors
/// When it is malformed or holds a kind this version does not know.
pub fn check(batch: &Batch) -> Result<(), ApplyError> {
    let commands = batch.commands().map_err(|reason| ApplyError::new(0, reason))?;
    for (at, command) in commands.enumerate() {
        let access = |command: Command<'_>| RequestRef::access(command.kind, command.body).map(drop);
        command.and_then(access).map_err(|reason| ApplyError::new(at, reason))?;
    }
    Ok(())
}

impl Machine {
    /// Applies one entry of the log.
    ///
    /// # Errors
    /// When the batch is malformed or holds a kind this version does not know.
    pub fn apply(&mut self, batch: &Batch) -> Result<Applied, ApplyError> {
        let batch_stamp = batch.stamp().map_err(|reason| ApplyError::new(0, reason))?;
        let commands = batch.commands().map_err(|reason| ApplyError::new(0, reason))?;
        let limits = no_limits();
        let mut outcomes = Vec::new();
        for (at, command) in commands.enumerate() {
            let fail = |reason| ApplyError::new(at, reason);
            let command = command.map_err(fail)?;
            let request = RequestRef::access(command.kind, command.body).map_err(fail)?;
            let now = self.advance(batch_stamp);
            let outcome = self.execute(&command, request, &limits, now);
            self.acknowledge(&command);
            self.sweep(self.state.time.millis());
            outcomes.push(outcome);
        }
        Ok(Applied { outcomes })
    }

    /// Takes the next command's stamp: the leader's, unless machine time is already there.
    fn advance(&mut self, batch_stamp: Hlc) -> Now {
        let stamp = batch_stamp.max(self.state.time.next());
        self.state.time = stamp;
        Now { stamp, ms: stamp.millis(), batch_ms: batch_stamp.millis() }
    }

    fn execute(&mut self, command: &Command<'_>, request: RequestRef<'_>, limits: &Limits, now: Now) -> Outcome {
        let digest = if command.session == 0 { 0 } else { command.digest() };
        if let Some(outcome) = self.recorded(command, digest) {
            return outcome;
        }
        let decided = self.admit(command, request, limits, now).and_then(|()| self.decide(command, request, now));
        match decided {
            Ok(outcome) => {
                self.record(command, digest, &outcome);
                outcome
            }
            Err(refused) => refused.into(),
        }
    }

    /// What must hold before anything is decided; none of these refusals is recorded. Only the partition that a request
    /// belongs to can say that it never was applied.
    fn admit(
        &self,
        command: &Command<'_>,
        request: RequestRef<'_>,
        limits: &Limits,
        now: Now,
    ) -> Result<(), ErrorReply> {
        if let Some(position) = request.route()
            && !self.owns(&position)
        {
            return Err(self.moved());
        }
        self.is_in_time(command, now)?;
        request.check(limits)?;
        self.admit_session(command)?;
        self.admit_answer(command)
    }

    /// Decides one command. An `Err` is a refusal that leaves no trace; it may be repeated under the same number.
    fn decide(&mut self, command: &Command<'_>, request: RequestRef<'_>, now: Now) -> Result<Outcome, ErrorReply> {
        match request {
            RequestRef::LockAcquire(body) => self.lock_acquire(body, now),
            RequestRef::LockExtend(body) => Ok(self.lock_extend(body, now)),
            RequestRef::LockRelease(body) => Ok(self.lock_release(body, now)),
            RequestRef::KeySet(body) => Ok(self.key_set(body, now)),
            RequestRef::KeyDelete(body) => Ok(self.key_delete(body, command.flags, now)),
            RequestRef::KeyExtend(body) => Ok(self.key_extend(body, now)),
            RequestRef::KeyPersist(body) => Ok(self.key_persist(body, now)),
            RequestRef::SequenceCreate(body) => Ok(self.sequence_create(body)),
            RequestRef::SequenceNext(body) => self.sequence_draw(&body.name, 1, &body.idempotency_key, now),
            RequestRef::SequenceReserve(body) => {
                self.sequence_draw(&body.name, body.count.to_native(), &body.idempotency_key, now)
            }
            RequestRef::SequenceDelete(body) => Ok(self.sequence_delete(body)),
            RequestRef::Tick(body) => self.tick(Hlc(body.to.to_native()), now),
            RequestRef::PlaceGroups(body) => self.place_groups(body),
            RequestRef::SetLed(body) => self.set_led(body),
            RequestRef::UpsertNode(body) => self.upsert_node(body),
            RequestRef::ReplaceReplica(body) => self.replace_replica(body),
            RequestRef::FinishReplacement(body) => self.finish_replacement(body),
            RequestRef::LockInfo(_)
            | RequestRef::KeyGet(_)
            | RequestRef::KeyExists(_)
            | RequestRef::KeyScan(_)
            | RequestRef::SequenceGet(_)
            | RequestRef::MapGet(_)
            | RequestRef::StatusGet(_) => Err(ErrorReply::new(
                ErrorCode::BadRequest,
                format!("kind {:#06x} is a read: it does not go through the log", command.kind),
            )),
        }
    }
}
