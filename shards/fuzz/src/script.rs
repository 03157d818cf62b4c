//! What is said to the replica, in terms of what it has: bytes alone would hardly ever hit its log.

use arbitrary::Arbitrary;

/// One run.
#[derive(Arbitrary, Debug)]
pub struct Script {
    pub seed: u8,
    /// Whether the group has begun.
    pub begun: bool,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What the puppets answer, one after the other, instead of honest answers.
    pub answers: Vec<Answer>,
}

/// Something that happens.
#[derive(Arbitrary, Clone, Debug)]
pub enum Step {
    Append { from: u8, vote: AVote, previous: AnId, entries: Vec<AnEntry>, commit: AnId },
    /// A request for a vote, or the question for one.
    Vote { from: u8, trial: bool, vote: AVote, last: AnId, appointed: bool },
    /// A leadership is handed over.
    TakeOver { from: u8, vote: AVote, to: u8, last: AnId },
    Snapshot { from: u8, vote: AVote, last: AnId, membership: AnId, voters: u8 },
    /// An append of an honest leader that has all that the replica has.
    Honest { entries: u8 },
    /// The same, bent.
    Bent { entries: u8, bends: [(u8, u8); 3] },
    /// Bytes.
    Raw { from: u8, kind: u8, body: Vec<u8> },
    /// All that was said is taken.
    Settle,
    /// Time passes, in tens of milliseconds.
    Wait(u8),
    Campaign,
    /// The replica is asked for a write.
    Propose,
    /// The replica takes a snapshot and purges.
    Compact,
}

/// A number near one that matters.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Number {
    pub near: Near,
    pub by: i8,
}

/// Numbers that matter: for indices and terms alike.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Near {
    Last,
    Committed,
    Purged,
    Zero,
    Far,
    Most,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum AnId {
    /// None.
    Nothing,
    /// The one that the replica has there.
    Right(Number),
    /// Another term.
    Wrong(Number, Number),
    /// Behind the previous one of the same message, of the vote's term.
    Behind(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AVote {
    pub term: Number,
    /// 0: the sender.
    pub replica: u8,
    /// Flips what is usual.
    pub odd: bool,
}

/// An entry, one behind the other.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnEntry {
    /// Its term is below the vote's by so much.
    pub below: i8,
    pub what: What,
}

/// What is in an entry.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum What {
    Blank,
    Batch,
    Members(u8),
    Noise(u8),
}

/// What a puppet answers.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Answer {
    /// As an honest replica would.
    Honest,
    /// To an append: the status, with an id and a vote.
    Appended { status: u8, index: i8, term: i8, vote: AnswerVote, full: bool },
    /// To a request for a vote.
    Voted { vote: AnswerVote, last: (i8, i8), granted: bool },
    /// To a part of a snapshot.
    Snapshot(AnswerVote),
    Refused,
    /// Bytes.
    Noise(u8),
}

/// A vote, seen from the one that came with the question.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct AnswerVote {
    pub by: i8,
    pub far: bool,
    pub replica: u8,
    pub committed: bool,
}
