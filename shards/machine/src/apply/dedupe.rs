//! Exactly once: a repeat gets the first answer, and a command that arrives too late is not applied.
//!
//! For a command that is not in the table the order of the questions matters. Below the acknowledged mark its answer
//! was received and dropped: nothing can be said. Past `valid_until`, but within the grace, its record would still be
//! there if it had been applied: it never was, and as machine time only rises it never will be. After that nothing can
//! be said again.

use std::rc::Rc;

use kahuna_protocol::batch::Command;
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::limits::{MAX_VALID_FOR_MS, PARTITION_ANSWER_BYTES};
use kahuna_protocol::{Outcome, SessionId};

use super::commit::Store;
use super::draft::Now;
use crate::state::Index;
use crate::state::{Answer, Session, State};

/// The most acknowledged answers that one command drops.
const MAX_ACKNOWLEDGED: usize = 256;
/// The retry pause of a client while there is no room for its session or its answer.
const OVERLOADED_RETRY_MS: u32 = 1_000;

/// The recorded answer of a command that was applied before.
pub fn recorded(state: &State, command: &Command<'_>, digest: u64) -> Option<Outcome> {
    let (session, number) = (command.session, command.number);
    if session == SessionId(0) {
        return None;
    }
    let answer = state.rows.answers.get(&(session, number))?;
    Some(if answer.digest == digest {
        answer.outcome.clone()
    } else {
        let text = format!("number {number} of session {session:016x} was used for another request; draw a new one");
        ErrorReply::new(ErrorCode::Conflict, text).into()
    })
}

/// Whether a command without a recorded answer may still be applied.
pub fn is_in_time(state: &State, command: &Command<'_>, now: Now) -> Result<(), ErrorReply> {
    let (session, number) = (command.session, command.number);
    if session == SessionId(0) {
        return Ok(());
    }
    let refuse = |code, text| Err(ErrorReply::new(code, text));
    let acknowledged = state.rows.sessions.get(&session).map_or(0, |session| session.acknowledged);
    if number < acknowledged {
        let text = format!("number {number} is below {acknowledged}, which session {session:016x} acknowledged");
        return refuse(ErrorCode::Forgotten, text);
    }
    let valid_until_ms = command.valid_until_ms;
    if now.ms > valid_until_ms {
        let late_ms = now.ms - valid_until_ms;
        if now.ms <= state.answer_expiry_ms(valid_until_ms) {
            let text = format!("it came {late_ms} ms after valid_until; it was never applied");
            return refuse(ErrorCode::Expired, text);
        }
        let text = format!("it came {late_ms} ms after valid_until; an earlier attempt may have been applied");
        return refuse(ErrorCode::Forgotten, text);
    }
    let latest_ms = now.ms.saturating_add(MAX_VALID_FOR_MS).saturating_add(state.skew_ms());
    if valid_until_ms > latest_ms {
        let ahead_ms = valid_until_ms - now.ms;
        let text = format!(
            "valid_until is {ahead_ms} ms ahead of the partition's time; at most {MAX_VALID_FOR_MS} ms are allowed"
        );
        return refuse(ErrorCode::BadRequest, text);
    }
    Ok(())
}

/// Whether there is room for the answer that a command of a session leaves. The last one may exceed the limit.
pub fn admit_answer(index: &Index, command: &Command<'_>) -> Result<(), ErrorReply> {
    let kept = index.answers.bytes;
    if command.session == SessionId(0) || kept < PARTITION_ANSWER_BYTES {
        return Ok(());
    }
    Err(overloaded(format!(
        "the partition keeps {kept} bytes of answers for repeats, its limit is {PARTITION_ANSWER_BYTES} \
         (partition_answer_bytes); acknowledge answers, or wait until they expire"
    )))
}

/// Whether the command's session has, or gets, a place in the table.
pub fn admit_session(state: &State, command: &Command<'_>) -> Result<(), ErrorReply> {
    let limit = state.settings.max_sessions as usize;
    if command.session == SessionId(0)
        || state.rows.sessions.len() < limit
        || state.rows.sessions.contains_key(&command.session)
    {
        return Ok(());
    }
    Err(overloaded(format!("the partition has {limit} client sessions, the most it takes (max_sessions); wait")))
}

/// Keeps the answer for repeats.
pub fn record(store: &mut Store<'_>, command: &Command<'_>, digest: u64, outcome: &Outcome) {
    if command.session == SessionId(0) {
        return;
    }
    let (id, valid_until_ms) = (command.session, command.valid_until_ms);
    let mut session = store.state.rows.sessions.get(&id).copied().unwrap_or_default();
    unlist_idle(store, id, &session);
    session.answers += 1;
    session.valid_until_ms = session.valid_until_ms.max(valid_until_ms);
    store.state.rows.sessions.insert(id, session);
    let answer = Answer { digest, valid_until_ms, outcome: outcome.clone() };
    store.index.answers.bytes += answer.bytes();
    let before = store.state.rows.answers.insert((id, command.number), Rc::new(answer));
    debug_assert!(before.is_none(), "a recorded answer was decided again");
    store.index.answers.expiries.insert((store.state.answer_expiry_ms(valid_until_ms), id, command.number));
}

/// Drops the answers that the client acknowledged. A session that was never answered here has nothing to drop.
pub fn acknowledge(store: &mut Store<'_>, command: &Command<'_>) {
    let id = command.session;
    let Some(session) = store.state.rows.sessions.get_mut(&id) else { return };
    session.acknowledged = session.acknowledged.max(command.acknowledged);
    let acknowledged = session.acknowledged;
    // What one command leaves, the next one drops: start from the lowest number that is still there.
    for _ in 0..MAX_ACKNOWLEDGED {
        match store.state.rows.answers.range((id, 0)..).next() {
            Some((&(session, number), _)) if session == id && number < acknowledged => {
                drop_answer(store, id, number);
            }
            _ => break,
        }
    }
}

/// Removes one recorded answer.
pub fn drop_answer(store: &mut Store<'_>, id: SessionId, number: u64) {
    let Some(answer) = store.state.rows.answers.remove(&(id, number)) else { return };
    store.index.answers.bytes -= answer.bytes();
    store.index.answers.expiries.remove(&(store.state.answer_expiry_ms(answer.valid_until_ms), id, number));
    let Some(session) = store.state.rows.sessions.get_mut(&id) else { return };
    session.answers -= 1;
    if session.answers == 0 {
        let valid_until_ms = session.valid_until_ms;
        store.index.sessions.insert((store.state.answer_expiry_ms(valid_until_ms), id));
    }
}

/// Takes a session that gets an answer off the list of those that have none.
fn unlist_idle(store: &mut Store<'_>, id: SessionId, session: &Session) {
    if session.answers == 0 {
        store.index.sessions.remove(&(store.state.answer_expiry_ms(session.valid_until_ms), id));
    }
}

fn overloaded(text: String) -> ErrorReply {
    ErrorReply { retry_after_ms: OVERLOADED_RETRY_MS, ..ErrorReply::new(ErrorCode::Overloaded, text) }
}
