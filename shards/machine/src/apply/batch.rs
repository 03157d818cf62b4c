//! One batch, command by command: the stamp, the gates, the decision, what follows from it.

use kahuna_protocol::batch::{Batch, Command};
use kahuna_protocol::error::ErrorReply;
use kahuna_protocol::{FrameError, Hlc, Limits, Outcome, RequestRef, SessionId};

use super::commit::Store;
use super::decide::{How, Refused, decide};
use super::dedupe::{acknowledge, admit_answer, admit_session, is_in_time, record, recorded};
use super::draft::{Draft, Now};
use super::effects::{Effects, Interest};
use crate::Machine;

/// Result of a batch.
#[derive(Debug)]
pub struct Applied {
    /// One outcome per command, in their order.
    pub outcomes: Vec<Outcome>,
    /// Effects of the batch, as far as a listener asked for them.
    pub effects: Effects,
}

/// Why a batch cannot be applied. The state may hold a part of it: the replica must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The batch, or a command's body, is malformed.
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
        /// Frame kind of the command.
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

/// Whether a batch can be applied to any state.
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
    /// What to note of what batches bring about from now on.
    pub fn set_interest(&mut self, interest: Interest) {
        self.interest = interest;
    }

    /// Applies one entry of the log.
    ///
    /// # Errors
    /// When the batch is malformed or holds a kind this version does not know.
    pub fn apply(&mut self, batch: &Batch) -> Result<Applied, ApplyError> {
        let batch_stamp = batch.stamp().map_err(|reason| ApplyError::new(0, reason))?;
        let commands = batch.commands().map_err(|reason| ApplyError::new(0, reason))?;
        let limits = no_limits();
        let mut applied = Applied { outcomes: Vec::new(), effects: Effects::default() };
        for (at, command) in commands.enumerate() {
            let fail = |reason| ApplyError::new(at, reason);
            let command = command.map_err(fail)?;
            let request = RequestRef::access(command.kind, command.body).map_err(fail)?;
            let now = self.advance(batch_stamp);
            let outcome = self.execute(&command, request, &limits, now, &mut applied.effects);
            applied.outcomes.push(outcome);
            let mut store = self.store();
            acknowledge(&mut store, &command);
            store.sweep(store.state.time.millis());
        }
        Ok(applied)
    }

    /// Takes the next command's stamp: the leader's, unless machine time is already there.
    fn advance(&mut self, batch_stamp: Hlc) -> Now {
        let stamp = batch_stamp.max(self.state.time.next());
        self.state.time = stamp;
        Now { stamp, ms: stamp.millis(), batch_ms: batch_stamp.millis() }
    }

    fn store(&mut self) -> Store<'_> {
        Store { state: &mut self.state, index: &mut self.index }
    }

    fn execute(
        &mut self,
        command: &Command<'_>,
        request: RequestRef<'_>,
        limits: &Limits,
        now: Now,
        effects: &mut Effects,
    ) -> Outcome {
        let digest = if command.session == SessionId(0) { 0 } else { command.digest() };
        if let Some(outcome) = recorded(&self.state, command, digest) {
            return outcome;
        }
        if let Err(refused) = self.admit(command, request, limits, now) {
            return refused.into();
        }
        let mut writes = std::mem::take(&mut self.writes);
        let decided = decide(request, &mut Draft::new(&self.state, now, &mut writes), How::of(command));
        assert!(decided.is_ok() || writes.is_empty(), "a refused command leaves nothing behind");
        let interest = self.interest;
        let mut store = self.store();
        store.commit(&mut writes, interest, effects);
        let outcome = match decided {
            Ok(outcome) => {
                record(&mut store, command, digest, &outcome);
                outcome
            }
            Err(Refused::Recorded(error)) => {
                let outcome = error.into();
                record(&mut store, command, digest, &outcome);
                outcome
            }
            Err(Refused::Untraced(error)) => error.into(),
        };
        self.writes = writes;
        outcome
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
            return Err(self.state.moved());
        }
        is_in_time(&self.state, command, now)?;
        request.check(limits)?;
        admit_session(&self.state, command)?;
        admit_answer(&self.index, command)
    }
}
