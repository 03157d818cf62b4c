//! Appends in flight: several per follower, answered in order.
//!
//! openraft gives requests as entries come and wants the answers in the same order. A request is encoded onto the link
//! as soon as it is given, up to a bound on what is unanswered; answers are taken from the oldest on. The stream ends
//! behind the first answer that is not a full success: what is in flight behind it would be refused as well.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use openraft::RPCTypes;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};

use super::link::Link;
use super::messages::{APPEND, append_bytes, appended, put_append};
use super::types::{LogId, Types};
use crate::env::Env;
use crate::peer::Calling;

/// Most unanswered appends of one follower.
const MAX_REQUESTS: usize = 32;
/// Most bytes of them; one larger append goes alone.
const MAX_BYTES: usize = 8 << 20;

/// One append without its answer.
struct InFlight<E: Env> {
    previous: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
    answer: Calling<E>,
}

/// The answers to `input`, in order.
pub struct Pipeline<E: Env, S> {
    link: Link<E>,
    /// None when it has ended, or must not be asked any more.
    input: Option<S>,
    in_flight: VecDeque<InFlight<E>>,
    bytes: usize,
}

impl<E: Env, S> Pipeline<E, S> {
    /// Sends over `link` what `input` gives.
    pub fn new(link: Link<E>, input: S) -> Self {
        Self { link, input: Some(input), in_flight: VecDeque::new(), bytes: 0 }
    }

    fn has_room(&self) -> bool {
        self.in_flight.is_empty() || (self.in_flight.len() < MAX_REQUESTS && self.bytes < MAX_BYTES)
    }

    fn send(&mut self, request: &AppendEntriesRequest<Types<E>>) {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let bytes = append_bytes(request);
        let answer = self.link.call(APPEND, self.link.patience(), |out| put_append(out, request));
        self.bytes += bytes;
        self.in_flight.push_back(InFlight { previous, last, bytes, answer });
    }

    fn stop(&mut self) {
        self.input = None;
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
        while this.has_room()
            && let Some(input) = &mut this.input
        {
            match input.poll_next_unpin(cx) {
                Poll::Ready(Some(request)) => this.send(&request),
                Poll::Ready(None) => this.input = None,
                Poll::Pending => break,
            }
        }
        let Some(oldest) = this.in_flight.front_mut() else {
            return if this.input.is_some() { Poll::Pending } else { Poll::Ready(None) };
        };
        let answer = ready!(Pin::new(&mut oldest.answer).poll(cx));
        let InFlight { previous, last, bytes, .. } = this.in_flight.pop_front().expect("just looked at");
        this.bytes -= bytes;
        let answer =
            this.link.answer(answer, RPCTypes::AppendEntries, this.link.patience(), APPEND, |body| appended::<E>(body));
        let item = answer.and_then(|response| match response {
            AppendEntriesResponse::Conflict if previous.is_none() => {
                Err(this.link.nonsense("a conflict with the empty log"))
            }
            response => Ok(response.into_stream_result(previous, last)),
        });
        if !matches!(&item, Ok(Ok(reached)) if *reached == last) {
            this.stop();
        }
        Poll::Ready(Some(item))
    }
}
