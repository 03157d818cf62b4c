//! Appends in flight: several per follower, answered in order.
//!
//! openraft gives requests as entries come and wants the answers in the same order. A request is encoded onto the link
//! as soon as it is given, up to a bound on what is unanswered; answers are taken from the oldest on. The stream ends
//! behind the first answer that is not a full success: what is in flight behind it would be refused as well.
//!
//! ```text
//!   entries a ─▶ sent     commit a ─▶ held ┬─ entries b before the next COMMIT_MARK ─▶ one append: entries b, commit a
//!                                          └─ nothing comes ──────────────────────▶ sent alone
//! ```
//! openraft sends a request of its own for every commit. Under load the next entries carry it anyway, and the messages
//! that this saves are half of all. Those that nothing carries leave at marks of the clock, of all groups together: one write
//! to each node, and one to wake it. openraft matches answers to requests by log id, so the answer to the append that
//! carried a commit answers for both; [`unacked`](super::unacked) describes what that means for leases.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};

use super::link::{Appending, ReplicaLink};
use super::messages::append_bytes;
use super::types::{LogId, Types, Vote};
use super::unacked::{UnackedAppend, UnackedAppends};
use crate::env::local::{keep_quiet, speak_up};
use crate::env::{Env, until_mark};

/// Most unanswered appends of one follower.
const MAX_REQUESTS: usize = 32;
/// Most bytes of them; one larger append goes alone.
const MAX_BYTES: usize = 8 << 20;
/// A commit waits for entries to go with until the boot clock is at a multiple of this, or of the heartbeat interval if that is
/// shorter: so much later followers apply what a group that comes to rest has committed.
const COMMIT_MARK: Duration = Duration::from_millis(50);

/// The answers to `input`, in order.
pub struct Pipeline<E: Env, S> {
    link: ReplicaLink<E>,
    /// None when it has ended, or must not be asked any more.
    input: Option<S>,
    in_flight: UnackedAppends<Appending<E>>,
    /// The leader's vote and the last log id that was sent; `None` before the first request.
    sent: Option<(Vote, Option<LogId>)>,
    /// A commit that waits for entries to go with.
    held: Option<AppendEntriesRequest<Types<E>>>,
    /// Runs while something is held, and to its end when that has gone earlier: one timer, not one per commit.
    linger: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl<E: Env, S> Pipeline<E, S> {
    /// Sends over `link` what `input` gives.
    pub fn new(link: ReplicaLink<E>, input: S) -> Self {
        let in_flight = UnackedAppends::new(link.lease_margin());
        Self { link, input: Some(input), in_flight, sent: None, held: None, linger: None }
    }

    fn has_room(&self) -> bool {
        self.in_flight.is_empty() || (self.in_flight.len() < MAX_REQUESTS && self.in_flight.bytes() < MAX_BYTES)
    }

    /// Takes a request from openraft: a mere commit is held back, anything else is sent and carries what was held.
    fn take(&mut self, request: AppendEntriesRequest<Types<E>>) {
        self.held = None;
        self.in_flight.given(last_of(&request), E::boot_clock());
        // What does not continue where the last request ended is a probe: its answer is waited for.
        if request.entries.is_empty() && self.sent == Some((request.vote, request.prev_log_id)) {
            self.held = Some(request);
        } else {
            self.send(&request);
        }
    }

    /// Sends what is held at the next mark.
    fn poll_linger(&mut self, cx: &mut Context<'_>) {
        let mark = COMMIT_MARK.min(self.link.heartbeat());
        while self.held.is_some() || self.linger.is_some() {
            let linger = self.linger.get_or_insert_with(|| Box::pin(E::sleep(until_mark(E::boot_clock(), mark))));
            if linger.as_mut().poll(cx).is_pending() {
                return;
            }
            self.linger = None;
            if let Some(request) = self.held.take() {
                self.send(&request);
            }
        }
    }

    fn send(&mut self, request: &AppendEntriesRequest<Types<E>>) {
        let (now, last) = (E::boot_clock(), last_of(request));
        let answer = self.link.append(request);
        self.sent = Some((request.vote, last));
        let range = (request.prev_log_id, last);
        self.in_flight.push(range, request.leader_commit, append_bytes(request), answer, now);
    }

    /// Whether the success of `append` is left to the answer of a later one, which is on its way from now on at least.
    fn leaves_out(&mut self, append: &UnackedAppend<Appending<E>>) -> bool {
        if !self.in_flight.is_counted_too_late(append) {
            return false;
        }
        if let Some(held) = self.held.take() {
            self.send(&held);
        }
        !self.in_flight.is_empty()
    }

    fn stop(&mut self) {
        self.input = None;
        self.held = None;
        self.in_flight.clear();
    }
}

impl<E: Env, S> Stream for Pipeline<E, S>
where
    S: Stream<Item = AppendEntriesRequest<Types<E>>> + Unpin,
{
    type Item = Result<StreamAppendResult<Types<E>>, RPCError<Types<E>>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        speak_up();
        loop {
            while this.has_room()
                && let Some(input) = &mut this.input
            {
                match input.poll_next_unpin(cx) {
                    Poll::Ready(Some(request)) => this.take(request),
                    Poll::Ready(None) => this.input = None,
                    Poll::Pending => break,
                }
            }
            this.poll_linger(cx);
            let Some(oldest) = this.in_flight.oldest() else {
                return if this.input.is_some() || this.held.is_some() { Poll::Pending } else { Poll::Ready(None) };
            };
            let answer = ready!(Pin::new(&mut oldest.answer).poll(cx));
            let append = this.in_flight.pop().expect("just looked at");
            let UnackedAppend { previous, last, committed, .. } = append;
            let (vote, _) = this.sent.expect("what is answered was sent");
            let response = this.link.appended(vote, committed, (previous, last), answer);
            let item = response.map(|response| response.into_stream_result(previous, last));
            if !matches!(&item, Ok(Ok(reached)) if *reached == last) {
                this.stop();
            } else if this.leaves_out(&append) {
                continue;
            } else if this.in_flight.is_empty() && this.held.is_none() && this.link.is_old_news(last) {
                keep_quiet();
            }
            return Poll::Ready(Some(item));
        }
    }
}

/// The last log id that the follower has once it took `request`.
fn last_of<E: Env>(request: &AppendEntriesRequest<Types<E>>) -> Option<LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}
