//! Many answers to one request.
//!
//! ```text
//!   open ─▶ send, send, ... ──┬─ end       there is nothing more to say
//!               ▲             ├─ Busy      the receiver is slow: its credit is used up, or its connection holds no more
//!         grant ┘             └─ Unknown   dropped
//! ```
//! Nothing waits here. An answer goes to the connection's outbox at once, as long as the receiver's credit covers it and
//! the outbox can hold it within its budget. The first answer that does not fit ends the subscription with an error as its
//! last answer. So a receiver that does not read costs at most its credit, at most what its connection may hold, and one
//! last answer per subscription, each of which counts as a request in flight.
//!
//! Only clients' connections take many answers. A slot of a lane, a call of a link and a task wait for one.

use kahuna_protocol::{ErrorCode, ErrorReply, Hlc};

use super::answer::Answer;
use super::reply::Reply;

/// When to ask again after a subscription that was too slow, in milliseconds.
const SLOW_RETRY_MS: u32 = 50;

/// How much more the receiver is ready to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// So many answers.
    pub answers: u32,
    /// So many bytes in them.
    pub bytes: usize,
}

impl Credit {
    /// The most credit that a subscription ever has, whatever its receiver grants.
    pub const MOST: Self = Self { answers: 1 << 16, bytes: 16 << 20 };

    const NONE: Self = Self { answers: 0, bytes: 0 };

    /// Both together, within the most.
    fn and(self, more: Self) -> Self {
        Self {
            answers: self.answers.saturating_add(more.answers).min(Self::MOST.answers),
            bytes: self.bytes.saturating_add(more.bytes).min(Self::MOST.bytes),
        }
    }

    /// What is left of it once an answer of `bytes` was sent; `None` if it does not cover that.
    fn less(self, bytes: usize) -> Option<Self> {
        Some(Self { answers: self.answers.checked_sub(1)?, bytes: self.bytes.checked_sub(bytes)? })
    }
}

/// The right to answer one request many times, and the duty to end it: dropping it answers [`ErrorCode::Unknown`]. The
/// holder ends it when the node drains, because it counts as in flight.
pub struct Subscription {
    reply: Reply,
    credit: Credit,
}

impl Subscription {
    /// Turns a reply, which takes one answer, into a subscription.
    ///
    /// # Errors
    /// The reply itself, if the place that waits takes one answer only.
    pub fn open(reply: Reply, credit: Credit) -> Result<Self, Reply> {
        if reply.takes_many() { Ok(Self { reply, credit: Credit::NONE.and(credit) }) } else { Err(reply) }
    }

    /// Adds to the receiver's credit, after it has taken some answers.
    pub fn grant(&mut self, more: Credit) {
        self.credit = self.credit.and(more);
    }

    /// What the receiver is still ready to take.
    pub fn credit(&self) -> Credit {
        self.credit
    }

    /// Sends one answer that was decided at the machine time `stamp`; others may follow. `None` if the receiver is too
    /// slow: then `Busy` was sent and the subscription has ended.
    #[must_use]
    pub fn send(mut self, stamp: Hlc, answer: Answer) -> Option<Self> {
        let bytes = answer.bytes();
        let Some(left) = self.credit.less(bytes).filter(|_| self.reply.would_hold(bytes)) else {
            let error = self.too_slow(bytes);
            self.end(error.into());
            return None;
        };
        self.credit = left;
        self.reply.send_one_of_many(stamp, answer);
        Some(self)
    }

    /// Sends the last answer.
    pub fn end(self, answer: Answer) {
        self.reply.send(answer);
    }

    fn too_slow(&self, bytes: usize) -> ErrorReply {
        let Credit { answers, bytes: left } = self.credit;
        let text = format!(
            "the subscription ended: its receiver is behind, with credit for {answers} answers and {left} bytes left, or too \
             many bytes unread on its connection (shard_unsent_bytes), and the next answer has {bytes}; read, and subscribe again"
        );
        ErrorReply { retry_after_ms: SLOW_RETRY_MS, ..ErrorReply::new(ErrorCode::Busy, text) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use bytes::Bytes;
    use kahuna_protocol::Outcome;

    use super::super::reply::{AnswerTo, Token};
    use super::*;

    /// Room for so many bytes of one client, who reads nothing.
    struct Client {
        room: Cell<usize>,
        many: bool,
        got: RefCell<Vec<(u64, Answer)>>,
    }

    impl AnswerTo for Client {
        fn would_hold(&self, bytes: usize) -> bool {
            bytes <= self.room.get()
        }

        fn takes_many(&self) -> bool {
            self.many
        }

        fn answer(self: Rc<Self>, token: Token, _: Hlc, answer: Answer) {
            self.room.set(self.room.get().saturating_sub(answer.bytes()));
            self.got.borrow_mut().push((token.number, answer));
        }
    }

    const EVENT_BYTES: usize = 100;

    fn client(room: usize, many: bool) -> (Rc<Client>, Reply) {
        let client = Rc::new(Client { room: Cell::new(room), many, got: RefCell::default() });
        (client.clone(), Reply::new(client, Token::numbered(7), [None, None]))
    }

    fn event() -> Answer {
        Answer::Encoded { kind: 0x8203, body: Bytes::from(vec![0; EVENT_BYTES]) }
    }

    /// How many events were sent before it ended, if it did.
    fn sent(mut subscription: Subscription, most: usize) -> (usize, Option<Subscription>) {
        for sent in 0..most {
            match subscription.send(Hlc::ZERO, event()) {
                Some(open) => subscription = open,
                None => return (sent, None),
            }
        }
        (most, Some(subscription))
    }

    fn last_error(client: &Client) -> Option<ErrorCode> {
        match client.got.borrow().last() {
            Some((7, Answer::Outcome(Outcome::Error(error)))) => Some(error.code()),
            _ => None,
        }
    }

    #[test]
    fn a_receiver_without_credit_is_told_so_and_gets_nothing_more() {
        for (answers, bytes) in [(3, usize::MAX), (u32::MAX, 3 * EVENT_BYTES)] {
            let (client, reply) = client(1 << 20, true);
            let subscription = Subscription::open(reply, Credit { answers, bytes }).ok().expect("it takes many");
            let (events, open) = sent(subscription, 10);
            assert!(open.is_none());
            assert_eq!((events, client.got.borrow().len()), (3, 4), "the fourth answer is the error");
            assert_eq!(last_error(&client), Some(ErrorCode::Busy));
        }
    }

    #[test]
    fn a_connection_that_holds_no_more_ends_it_whatever_the_credit() {
        let (client, reply) = client(2 * EVENT_BYTES, true);
        let subscription = Subscription::open(reply, Credit::MOST).ok().expect("it takes many");
        assert!(sent(subscription, 1000).1.is_none());
        assert_eq!((client.got.borrow().len(), last_error(&client)), (3, Some(ErrorCode::Busy)));
    }

    #[test]
    fn credit_that_is_granted_again_keeps_it_open_and_never_exceeds_the_most() {
        let (client, reply) = client(1 << 20, true);
        let first = Credit { answers: 2, bytes: 2 * EVENT_BYTES };
        let mut subscription = Subscription::open(reply, first).ok().expect("it takes many");
        for _ in 0..5 {
            let (events, open) = sent(subscription, 2);
            subscription = open.expect("within the credit");
            assert_eq!((events, subscription.credit()), (2, Credit { answers: 0, bytes: 0 }));
            subscription.grant(first);
        }
        subscription.grant(Credit { answers: u32::MAX, bytes: usize::MAX });
        assert_eq!(subscription.credit(), Credit::MOST);
        subscription.end(event());
        assert_eq!(client.got.borrow().len(), 11);
    }

    #[test]
    fn one_that_is_dropped_is_unknown_and_who_takes_one_answer_has_none() {
        let (dropped, reply) = client(1 << 20, true);
        drop(Subscription::open(reply, Credit::MOST).ok().expect("it takes many"));
        assert_eq!(last_error(&dropped), Some(ErrorCode::Unknown));
        let (single, reply) = client(1 << 20, false);
        let reply = Subscription::open(reply, Credit::MOST).err().expect("one answer only");
        reply.send(event());
        assert_eq!(single.got.borrow().len(), 1);
    }
}
