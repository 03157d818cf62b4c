//! A client connection's outgoing side: answers gather while earlier ones are being written.
//!
//! What waits for a client that does not read is bounded three times:
//!
//! ```text
//!   more than PAUSE_BYTES wait here            no further request is read from the connection
//!   more than the shard's budget leaves to     values, pages, maps and states are answered with `Busy`, before they are
//!   each of its connections                    looked for if that is known then
//!   hardly anything of the budget is left      a client that takes nothing for PRESSED_LIMIT is closed
//! ```
//! Other answers are short, and no more than the requests in flight: they are held even if no budget is left.

use std::cell::Cell;
use std::net::Shutdown;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use kahuna_protocol::frame::encode_frame;
use kahuna_protocol::{Header, Hlc};

use crate::budget::Budget;
use crate::clock::Clock;
use crate::env::local::Signal;
use crate::env::{Env, WriteHalf};
use crate::request::{Answer, AnswerTo, Load, Token};
use crate::unsent::Unsent;

/// No more requests are read from a connection while this many bytes wait to be written to it.
const PAUSE_BYTES: usize = 1 << 20;
/// A connection that does not take a part of this length within the time limit is closed.
const PART_BYTES: usize = 64 << 10;
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// The limit while the shard's budget is pressed, for connections that hold more than [`LITTLE_BYTES`]. Shorter than most
/// clients wait: a repeated request finds room.
const PRESSED_LIMIT: Duration = Duration::from_secs(2);
const LITTLE_BYTES: usize = 4 << 10;

/// What waits to be written to one client. One task, [`Outbox::write_to`], empties it.
pub struct Outbox<E: Env> {
    clock: Rc<Clock<E>>,
    load: Rc<Load>,
    unsent: Unsent,
    ready: Signal,
    written: Signal,
    /// Nothing more is read from the client: the connection ends when everything is answered and written.
    ending: Cell<bool>,
    /// Requests still in flight are not waited for.
    cut: Cell<bool>,
    closed: Cell<bool>,
}

impl<E: Env> Outbox<E> {
    /// An empty one; `load` counts the connection's unanswered requests, `budget` what waits for all of the shard's clients.
    pub fn new(clock: Rc<Clock<E>>, load: Rc<Load>, budget: &Rc<Budget>) -> Rc<Self> {
        Rc::new(Self {
            clock,
            load,
            unsent: Unsent::new(budget),
            ready: Signal::default(),
            written: Signal::default(),
            ending: Cell::new(false),
            cut: Cell::new(false),
            closed: Cell::new(false),
        })
    }

    /// The count of the connection's unanswered requests.
    pub fn load(&self) -> &Rc<Load> {
        &self.load
    }

    /// Queues an answer of the node's own.
    pub fn push(&self, request_id: u64, answer: Answer) {
        self.push_at(request_id, Hlc::ZERO, answer);
    }

    /// Queues an answer that was decided at the machine time `at`, [`Hlc::ZERO`] for none; a long one only if it
    /// [would hold](AnswerTo::would_hold) it. On a connection that is closed it goes nowhere: the client has gone.
    pub fn push_at(&self, request_id: u64, at: Hlc, answer: Answer) {
        if self.closed.get() || self.cut.get() {
            return self.ready.notify();
        }
        let (kind, flags) = (answer.kind(), answer.flags());
        let stamp = self.clock.stamp().max(at);
        self.unsent.push(0, Header::BYTES + answer.bytes(), |out| {
            encode_frame(out, kind, flags, request_id, stamp, |out| answer.encode_body(out));
        });
        self.ready.notify();
    }

    /// Returns when the connection may be read again: at once, unless the client lags behind with reading. False once
    /// the connection is closed.
    pub async fn has_room(&self) -> bool {
        while !self.closed.get() && self.lags() {
            self.written.wait().await;
        }
        !self.closed.get()
    }

    /// Enough waits here; while little is left for the shard's connections, anything is enough.
    fn lags(&self) -> bool {
        let share = self.unsent.share();
        share.bytes() > PAUSE_BYTES || (share.bytes() > 0 && !share.fits(0))
    }

    /// Nothing more is read: write the outstanding answers, then close.
    pub fn end(&self) {
        self.ending.set(true);
        self.ready.notify();
    }

    /// Write what was queued so far, then close.
    pub fn cut(&self) {
        self.cut.set(true);
        self.end();
    }

    /// Writes what gathers until the connection ends, then closes it.
    pub async fn write_to(&self, mut half: impl WriteHalf) {
        // Which direction ends with the last answer: after a failed write both do, which ends a pending read too.
        let mut how = Shutdown::Both;
        loop {
            let Some((piece, _)) = self.unsent.take() else {
                if self.ending.get() && (self.cut.get() || self.load.requests() == 0) {
                    how = Shutdown::Write;
                    break;
                }
                self.ready.wait().await;
                continue;
            };
            let taken = self.write(&mut half, &piece).await;
            self.unsent.written(piece);
            self.written.notify();
            if !taken {
                break;
            }
        }
        self.closed.set(true);
        self.unsent.clear();
        self.written.notify();
        // A socket that is gone already is as good.
        let _ = half.shutdown(how);
    }

    /// Whether the client took all of `piece` in time.
    async fn write(&self, half: &mut impl WriteHalf, piece: &[u8]) -> bool {
        for part in piece.chunks(PART_BYTES) {
            let mut writing = pin!(half.write_all(part));
            let mut waited = Duration::ZERO;
            loop {
                match E::timeout(PRESSED_LIMIT, writing.as_mut()).await {
                    Some(Ok(())) => break,
                    Some(Err(_)) => return false,
                    None => waited += PRESSED_LIMIT,
                }
                let share = self.unsent.share();
                let pressed = share.budget().is_pressed() && share.bytes() > LITTLE_BYTES;
                if pressed || waited >= STALL_LIMIT {
                    return false;
                }
            }
        }
        true
    }
}

/// The client's own requests, by the numbers that it gave them.
impl<E: Env> AnswerTo for Outbox<E> {
    fn would_hold(&self, bytes: usize) -> bool {
        self.unsent.share().fits(Header::BYTES + bytes)
    }

    fn takes_many(&self) -> bool {
        true
    }

    fn answer(self: Rc<Self>, token: Token, stamp: Hlc, answer: Answer) {
        self.push_at(token.number, stamp, answer);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::linux::Linux;
    use crate::request::{Credit, Reply, Subscription};

    /// Claim: a subscriber that reads nothing costs a share of the shard's budget, is told that it is too slow, and what it
    /// held is given back with its connection.
    #[test]
    fn a_subscriber_that_reads_nothing_holds_no_more_than_its_share() {
        const LIMIT: usize = 1 << 20;
        const EVENT_BYTES: usize = 1000;
        let budget = Budget::new(LIMIT, LIMIT / 64);
        let load = Load::new(8, 1 << 20);
        let out = Outbox::<Linux>::new(Rc::new(Clock::new(250)), load.clone(), &budget);
        let reply = Reply::new(out.clone(), Token::numbered(7), [load.admit(100), None]);
        let mut open = Subscription::open(reply, Credit::MOST).ok();
        let mut events = 0;
        while let Some(subscription) = open {
            let event = Answer::Encoded { kind: 0x8203, body: Bytes::from(vec![0; EVENT_BYTES]) };
            open = subscription.send(Hlc::ZERO, event);
            events += 1;
        }
        let held = budget.held();
        assert!(events > 10 && held > 10 * EVENT_BYTES, "{events} events, {held} bytes");
        assert!(held <= LIMIT / 8, "{held} bytes are held for one that reads nothing");
        assert_eq!(load.requests(), 0, "it has ended");
        drop(out);
        assert_eq!(budget.held(), 0);
    }
}
