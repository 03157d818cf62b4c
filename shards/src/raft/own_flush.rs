//! What follows when entries become durable here.
//!
//! openraft's core learns of the end of every flush by a message of its own. Each wakes it, which costs a group with many
//! others more than the entry itself, so the word is *kept back* where nothing waits for it:
//!
//! - **A leader's own disk** is one voice of the majority, and mostly the first. Where it does not suffice, it is told together
//!   with the next answer to an append, whatever that is.
//! - **A follower's answer** needs the core only to take the entries. Once the last of them is durable, under the leader's vote,
//!   the append is answered from here, with what the core would answer; the core is told before the next message that it gets.
//!
//! What is told of a later flush holds for all before it.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use openraft::rt::WatchReceiver as _;
use openraft::storage::IOFlushed;

use super::types::{Entry, LogId, ServerMetrics, Types, Vote};
use crate::env::Env;

/// The flushes of one replica.
pub struct OwnFlush<E: Env> {
    /// Knows the voters; none before the replica is open.
    server: OnceCell<ServerMetrics<E>>,
    kept_back: RefCell<Option<IOFlushed<Types<E>>>>,
    /// Appends to others without an answer.
    unanswered: Cell<u32>,
    /// Messages of others without an answer.
    asked: Cell<u32>,
    /// Those of them that are appends whose last entry was not given to the log yet.
    to_come: RefCell<Vec<Rc<Asked>>>,
}

/// An append of a leader.
struct Asked {
    vote: Vote,
    last: LogId,
    is_durable: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The appends of a leader whose last entry is being written.
pub struct Written(Vec<Rc<Asked>>);

impl<E: Env> Default for OwnFlush<E> {
    fn default() -> Self {
        Self {
            server: OnceCell::new(),
            kept_back: RefCell::default(),
            unanswered: Cell::new(0),
            asked: Cell::new(0),
            to_come: RefCell::default(),
        }
    }
}

impl<E: Env> OwnFlush<E> {
    /// The replica is open.
    pub fn set_server(&self, server: ServerMetrics<E>) {
        let first = self.server.set(server);
        debug_assert!(first.is_ok(), "a replica is opened once");
    }

    /// Whether a commit takes the voice of another replica.
    fn needs_others(&self) -> bool {
        self.server.get().is_some_and(|server| {
            let server = server.borrow_watched();
            server.membership_config.membership().get_joint_config().iter().any(|voters| voters.len() > 1)
        })
    }

    /// Tells the core what was kept back.
    pub fn tell(&self) {
        let kept_back = self.kept_back.take();
        if let Some(flushed) = kept_back {
            flushed.io_completed(Ok(()));
        }
    }

    /// An append is on its way to a replica whose answer may complete a majority. What is returned is dropped with the answer.
    pub fn unanswered(self: &Rc<Self>) -> Unanswered<E> {
        self.unanswered.set(self.unanswered.get() + 1);
        Unanswered(self.clone())
    }

    /// The core is about to get a message of another replica: an `append` that brings entries, by its vote and the last of
    /// them, or another one, which may wait for any flush until it is answered.
    pub fn asked(&self, append: Option<(Vote, LogId)>) -> Answerable<'_, E> {
        self.tell();
        self.asked.set(self.asked.get() + 1);
        let asked = append
            .map(|(vote, last)| Rc::new(Asked { vote, last, is_durable: Cell::new(false), waker: RefCell::new(None) }));
        self.to_come.borrow_mut().extend(asked.clone());
        Answerable { flushes: self, asked }
    }

    /// The core gives `entry` to the log: the appends that end with it.
    pub fn begins(&self, entry: &Entry, written: &mut Written) {
        let mut to_come = self.to_come.borrow_mut();
        if !to_come.is_empty() {
            written.0.extend(to_come.extract_if(.., |asked| asked.last == entry.log_id));
        }
    }

    /// The flush of what was `written` has ended, and `vote` is durable. An append under another vote is left to the core.
    pub fn ended(&self, written: Written, vote: Option<Vote>, flushed: IOFlushed<Types<E>>, outcome: io::Result<()>) {
        let mut has_answered = false;
        if outcome.is_ok() {
            for asked in written.0.iter().filter(|asked| Some(asked.vote) == vote) {
                has_answered |= self.answers(asked);
            }
        }
        let is_half = self.unanswered.get() > 0 && self.needs_others();
        let nobody_waits = is_half || (has_answered && self.asked.get() == 0);
        if outcome.is_ok() && nobody_waits {
            drop(self.kept_back.replace(Some(flushed)));
        } else {
            flushed.io_completed(outcome);
        }
    }

    /// Whether it was still to be answered.
    fn answers(&self, asked: &Rc<Asked>) -> bool {
        // The other holder is who waits for it.
        if Rc::strong_count(asked) == 1 {
            return false;
        }
        asked.is_durable.set(true);
        self.asked.set(self.asked.get() - 1);
        let waker = asked.waker.take();
        waker.into_iter().for_each(Waker::wake);
        true
    }
}

impl Written {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Vec::new())
    }
}

/// An append to another replica, without an answer.
pub struct Unanswered<E: Env>(Rc<OwnFlush<E>>);

impl<E: Env> Drop for Unanswered<E> {
    fn drop(&mut self) {
        let Self(flushes) = self;
        flushes.unanswered.set(flushes.unanswered.get() - 1);
        flushes.tell();
    }
}

/// A message of another replica, until it is answered.
pub struct Answerable<'a, E: Env> {
    flushes: &'a OwnFlush<E>,
    asked: Option<Rc<Asked>>,
}

impl<E: Env> Answerable<'_, E> {
    /// Returns once the last entry of the append is durable under its vote; never, if the core has to answer.
    pub async fn durable(&self) {
        poll_fn(|cx| match &self.asked {
            Some(asked) if asked.is_durable.get() => Poll::Ready(()),
            Some(asked) => {
                drop(asked.waker.replace(Some(cx.waker().clone())));
                Poll::Pending
            }
            None => Poll::Pending,
        })
        .await;
    }
}

impl<E: Env> Drop for Answerable<'_, E> {
    fn drop(&mut self) {
        let is_durable = self.asked.as_ref().is_some_and(|asked| asked.is_durable.get());
        if is_durable {
            return;
        }
        self.flushes.asked.set(self.flushes.asked.get() - 1);
        if let Some(asked) = &self.asked {
            self.flushes.to_come.borrow_mut().retain(|other| !Rc::ptr_eq(other, asked));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::Context;

    use openraft::ServerState;
    use openraft::metrics::RaftServerMetrics;
    use openraft::rt::Watch;

    use super::super::types::{Member, Membership, Payload, StoredMembership, log_id};
    use super::*;
    use crate::env::local::{LocalOneshot, LocalWatch, OneshotReceiver};
    use crate::linux::Linux;

    type Told = OneshotReceiver<io::Result<()>>;

    fn flush() -> (IOFlushed<Types<Linux>>, Told) {
        let (sender, told) = LocalOneshot::pair();
        (IOFlushed::signal(sender), told)
    }

    /// The flushes of a replica of a group with so many voters.
    fn of_voters(count: u64) -> Rc<OwnFlush<Linux>> {
        let flushes = Rc::new(OwnFlush::<Linux>::default());
        let voters: BTreeSet<u64> = (1..=count).collect();
        let nodes: BTreeMap<u64, Member> = voters.iter().map(|&id| (id, Member::default())).collect();
        let membership = Membership::new(vec![voters], nodes).expect("every voter is known");
        let stored = Arc::new(StoredMembership::new(None, membership));
        let server = RaftServerMetrics {
            id: 1,
            vote: vote(1),
            state: ServerState::Leader,
            current_leader: Some(1),
            membership_config: stored.clone(),
            committed_membership_config: stored,
        };
        flushes.set_server(LocalWatch::channel(server).1);
        flushes
    }

    /// What the core was told of a flush.
    fn told(told: &mut Told) -> Option<bool> {
        match Pin::new(told).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome.expect("kept or told").is_ok()),
            Poll::Pending => None,
        }
    }

    fn is_answered(asked: &Answerable<'_, Linux>) -> bool {
        pin!(asked.durable()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn vote(term: u64) -> Vote {
        Vote::new_committed(term, 1)
    }

    fn written(flushes: &OwnFlush<Linux>, indices: impl IntoIterator<Item = u64>) -> Written {
        let mut written = Written::new();
        for index in indices {
            flushes.begins(&Entry { log_id: log_id(1, index), payload: Payload::Blank }, &mut written);
        }
        written
    }

    fn up_to(index: u64) -> Option<(Vote, LogId)> {
        Some((vote(1), log_id(1, index)))
    }

    #[test]
    fn a_leader_is_told_of_its_own_flush_with_the_next_answer() {
        for (flushes, asks) in [(of_voters(3), false), (of_voters(1), true), (Rc::default(), true)] {
            let _answer = asks.then(|| flushes.unanswered());
            let (alone, mut core) = flush();
            flushes.ended(Written::new(), Some(vote(1)), alone, Ok(()));
            assert_eq!(told(&mut core), Some(true), "nobody was asked, or nobody's answer is needed");
        }

        let flushes = of_voters(3);
        let answers = [flushes.unanswered(), flushes.unanswered()];
        let (kept, mut second) = flush();
        flushes.ended(Written::new(), Some(vote(1)), kept, Ok(()));
        assert_eq!(told(&mut second), None);
        let [one, other] = answers;
        drop(one);
        assert_eq!(told(&mut second), Some(true));

        let (failed, mut third) = flush();
        flushes.ended(Written::new(), Some(vote(1)), failed, Err(io::Error::other("damaged")));
        assert_eq!(told(&mut third), Some(false));
        drop(other);
    }

    #[test]
    fn an_append_is_answered_when_its_last_entry_is_durable_and_the_core_is_told_before_the_next_message() {
        let flushes = OwnFlush::<Linux>::default();
        let (short, long) = (flushes.asked(up_to(3)), flushes.asked(up_to(5)));
        let first = written(&flushes, 2..=4);
        let (flushed, mut core) = flush();
        flushes.ended(first, Some(vote(1)), flushed, Ok(()));
        assert_eq!((is_answered(&short), is_answered(&long)), (true, false));
        assert_eq!(told(&mut core), Some(true), "the other append may wait for it");
        drop(short);

        let (flushed, mut core) = flush();
        flushes.ended(written(&flushes, [5]), Some(vote(1)), flushed, Ok(()));
        assert_eq!((is_answered(&long), told(&mut core)), (true, None));
        drop(long);
        assert_eq!(told(&mut core), None);
        let next = flushes.asked(None);
        assert_eq!(told(&mut core), Some(true));
        assert!(!is_answered(&next));
    }

    #[test]
    fn what_is_not_durable_under_the_vote_of_the_append_is_left_to_the_core() {
        let flushes = OwnFlush::<Linux>::default();
        for (vote, outcome) in [(None, Ok(())), (Some(vote(2)), Ok(())), (Some(vote(1)), Err(io::Error::other("full")))]
        {
            let asked = flushes.asked(up_to(7));
            let is_ok = outcome.is_ok();
            let (flushed, mut core) = flush();
            flushes.ended(written(&flushes, [7]), vote, flushed, outcome);
            assert_eq!((is_answered(&asked), told(&mut core)), (false, Some(is_ok)), "{vote:?}");
        }
        // An entry of the same index and another term is another entry.
        let asked = flushes.asked(Some((vote(1), log_id(2, 7))));
        let (flushed, mut core) = flush();
        flushes.ended(written(&flushes, [7]), Some(vote(1)), flushed, Ok(()));
        assert_eq!((is_answered(&asked), told(&mut core)), (false, Some(true)));
    }

    #[test]
    fn who_waits_no_longer_leaves_nothing_behind() {
        let flushes = OwnFlush::<Linux>::default();
        drop(flushes.asked(up_to(1)));
        let gone = flushes.asked(up_to(2));
        let begun = written(&flushes, 1..=2);
        drop(gone);
        let (flushed, mut core) = flush();
        flushes.ended(begun, Some(vote(1)), flushed, Ok(()));
        assert_eq!(told(&mut core), Some(true));
        assert_eq!((flushes.asked.get(), flushes.to_come.borrow().len()), (0, 0));
    }
}
