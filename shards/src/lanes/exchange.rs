//! One shard's side of the lanes: what it sends, and what it waits for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use kahuna_protocol::limits::SHARD_CROSSING_BYTES;
use kahuna_protocol::{Hlc, ShardId};

use super::control::Control;
use super::ends::{Crossings, Inlet, LaneEnds, LaneReply, LaneRequest, Outlet};
use super::slots::Slots;
use crate::env::Env;
use crate::env::local::behind_ready_tasks;
use crate::request::{Answer, AnswerTo, Reply, Token, Work};

/// Most unanswered requests of one shard at one other shard.
const LANE_REQUESTS: u32 = 16_384;
/// Most bytes of such requests.
const LANE_BYTES: usize = 64 << 20;

/// What gathers for one shard.
struct Outgoing {
    requests: Vec<LaneRequest>,
    replies: Vec<LaneReply>,
    /// Taken slots at this shard for answers of that one, and the bytes of their requests.
    taken: u32,
    taken_bytes: usize,
}

/// A request that another shard has.
struct Asked {
    reply: Reply,
    at: ShardId,
    bytes: usize,
}

/// One shard's side of all lanes.
pub struct Lanes<E: Env> {
    id: ShardId,
    inlets: Vec<Inlet<E>>,
    outgoing: RefCell<Vec<Outgoing>>,
    slots: RefCell<Slots<Asked>>,
    crossings: Crossings,
    /// A flush is about to run.
    flushing: Cell<bool>,
}

impl<E: Env> Lanes<E> {
    /// Takes the ends over on their shard's thread.
    pub fn open(ends: LaneEnds<E>) -> (Rc<Self>, Outlet<E>) {
        let outgoing = ends
            .inlets
            .iter()
            .map(|_| Outgoing { requests: Vec::new(), replies: Vec::new(), taken: 0, taken_bytes: 0 })
            .collect();
        let lanes = Self {
            id: ends.id,
            inlets: ends.inlets,
            outgoing: RefCell::new(outgoing),
            slots: RefCell::new(Slots::new()),
            crossings: Crossings::default(),
            flushing: Cell::new(false),
        };
        (Rc::new(lanes), ends.outlet)
    }

    /// The shards of this node.
    pub fn shards(&self) -> u16 {
        u16::try_from(self.inlets.len()).expect("made from a u16")
    }

    /// Sends a request to the shard `to`; gives it back when that shard's lane is full.
    #[expect(clippy::result_large_err, reason = "the refused request itself goes back to be answered")]
    pub fn request(self: &Rc<Self>, to: ShardId, work: Work) -> Result<(), Work> {
        debug_assert_ne!(to, self.id, "a shard serves its own groups itself");
        let bytes = work.call.body.len();
        {
            let mut outgoing = self.outgoing.borrow_mut();
            let out = &mut outgoing[usize::from(to.0)];
            if out.taken >= LANE_REQUESTS || (out.taken > 0 && out.taken_bytes + bytes > LANE_BYTES) {
                return Err(work);
            }
            out.taken += 1;
            out.taken_bytes += bytes;
            let Work { call, reply } = work;
            let slot = self.slots.borrow_mut().take(Asked { reply, at: to, bytes });
            out.requests.push(LaneRequest { from: self.id, slot, call });
        }
        self.flush_soon();
        Ok(())
    }

    /// Sends a control message to shard `to`. A stopped shard does not receive it.
    pub fn control(&self, to: ShardId, control: Control<E>) {
        // The receiving end is gone only when the node stops.
        let _ = self.inlets[usize::from(to.0)].control.send(control);
    }

    /// Sends a control message to every shard, this one included.
    pub fn broadcast(&self, control: impl Fn() -> Control<E>) {
        (0..self.shards()).for_each(|to| self.control(ShardId(to), control()));
    }

    /// The request that came over a lane, with its way back.
    pub(crate) fn receive(self: &Rc<Self>, request: LaneRequest) -> Work {
        let LaneRequest { from, slot, call } = request;
        Work { call, reply: Reply::new(self.clone(), token_of(from, slot), [None, None]) }
    }

    /// Delivers an answer that came over a lane.
    pub(crate) fn deliver(&self, reply: LaneReply) {
        let Asked { reply: mut waiting, at, bytes } = self.slots.borrow_mut().free(reply.slot);
        {
            let mut outgoing = self.outgoing.borrow_mut();
            let out = &mut outgoing[usize::from(at.0)];
            out.taken -= 1;
            out.taken_bytes -= bytes;
        }
        waiting.at(reply.stamp);
        waiting.send(reply.answer);
        drop(reply.crossing);
    }

    /// Lets the tasks that are ready now add to what is sent.
    fn flush_soon(self: &Rc<Self>) {
        if !self.flushing.replace(true) {
            let lanes = self.clone();
            E::spawn(async move {
                behind_ready_tasks().await;
                lanes.flush();
            });
        }
    }

    fn flush(&self) {
        self.flushing.set(false);
        let mut outgoing = self.outgoing.borrow_mut();
        for (out, inlet) in outgoing.iter_mut().zip(&self.inlets) {
            // A send fails only when the other shard has stopped, and then the whole node stops.
            if !out.requests.is_empty() {
                let _ = inlet.requests.send(std::mem::take(&mut out.requests));
            }
            if !out.replies.is_empty() {
                let _ = inlet.replies.send(std::mem::take(&mut out.replies));
            }
        }
    }
}

/// Requests that another shard sent over its lane.
impl<E: Env> AnswerTo for Lanes<E> {
    /// Askers take what arrives whether their clients read or not, so there is no room only while one of them does not run.
    fn would_hold(&self, bytes: usize) -> bool {
        self.crossings.bytes() + bytes <= SHARD_CROSSING_BYTES
    }

    fn answer(self: Rc<Self>, token: Token, stamp: Hlc, answer: Answer) {
        let (to, slot) = asker_of(token);
        let crossing = self.crossings.begin(answer.bytes());
        self.outgoing.borrow_mut()[usize::from(to.0)].replies.push(LaneReply { slot, stamp, answer, crossing });
        self.flush_soon();
    }
}

/// The shard that asks, and its slot, as one number.
fn token_of(from: ShardId, slot: u32) -> Token {
    Token::numbered(u64::from(from.0) << u32::BITS | u64::from(slot))
}

fn asker_of(token: Token) -> (ShardId, u32) {
    let Token { number, .. } = token;
    (ShardId((number >> u32::BITS) as u16), number as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use kahuna_protocol::meta::Done;
    use kahuna_protocol::request::Class;
    use kahuna_protocol::{ErrorCode, GroupId, Outcome, RequestPrelude};
    use openraft::AsyncRuntime;

    use super::super::ends::lanes;
    use super::*;
    use crate::linux::{Linux, Runtime};
    use crate::request::{Call, TaskAnswer};

    fn work(bytes: usize) -> (Work, TaskAnswer) {
        let (reply, answer) = Reply::to_task();
        let call = Call {
            group: GroupId(1),
            kind: 0x0501,
            class: Class::System,
            grows: false,
            prelude: RequestPrelude::default(),
            body: Bytes::from(vec![0; bytes]),
            deadline: Duration::MAX,
            forwarded: false,
            repeated: false,
            attempts: 0,
        };
        (Work { call, reply }, answer)
    }

    fn two() -> [(Rc<Lanes<Linux>>, Outlet<Linux>); 2] {
        let mut ends = lanes::<Linux>(2).into_iter().map(Lanes::open);
        std::array::from_fn(|_| ends.next().expect("two shards"))
    }

    async fn received(lanes: &Rc<Lanes<Linux>>, outlet: &Outlet<Linux>) -> Vec<Work> {
        let batch = outlet.requests.recv_async().await.expect("the other shard runs");
        batch.into_iter().map(|request| lanes.receive(request)).collect()
    }

    #[test]
    fn requests_cross_in_one_batch_and_answers_find_their_askers() {
        Runtime::new(1).block_on(async {
            let [(here, arrivals), (there, outlet)] = two();
            let answers: Vec<_> = (0..3)
                .map(|bytes| {
                    let (work, answer) = work(bytes);
                    assert!(here.request(ShardId(1), work).is_ok());
                    answer
                })
                .collect();
            let mut arrived = received(&there, &outlet).await;
            assert_eq!(arrived.iter().map(|work| work.call.body.len()).collect::<Vec<_>>(), [0, 1, 2]);
            // One is dropped, the others are answered in another order: nobody waits in vain, nobody gets another's.
            arrived.pop().expect("three").answer(Outcome::Done(Done {}));
            drop(arrived.remove(0));
            arrived.pop().expect("one").refuse(ErrorCode::Busy, "full");
            let batch = arrivals.replies.recv_async().await.expect("the other shard runs");
            batch.into_iter().for_each(|reply| here.deliver(reply));
            let mut codes = Vec::new();
            for answer in answers {
                codes.push(match answer.await {
                    Answer::Outcome(Outcome::Error(error)) => Some(error.code()),
                    _ => None,
                });
            }
            assert_eq!(codes, [Some(ErrorCode::Unknown), Some(ErrorCode::Busy), None]);
        });
    }

    #[test]
    fn a_full_lane_gives_the_request_back_until_an_answer_makes_room() {
        Runtime::new(1).block_on(async {
            let [(here, arrivals), (there, outlet)] = two();
            let half = LANE_BYTES / 2;
            let answers = [half, half].map(|bytes| {
                let (work, answer) = work(bytes);
                assert!(here.request(ShardId(1), work).is_ok());
                answer
            });
            let (third, _answer) = work(1);
            let third = here.request(ShardId(1), third).expect_err("the lane is full");
            received(&there, &outlet).await.into_iter().for_each(|work| work.answer(Outcome::Done(Done {})));
            let batch = arrivals.replies.recv_async().await.expect("the other shard runs");
            batch.into_iter().for_each(|reply| here.deliver(reply));
            for answer in answers {
                assert!(matches!(answer.await, Answer::Outcome(Outcome::Done(_))));
            }
            assert!(here.request(ShardId(1), third).is_ok());
        });
    }

    #[test]
    fn long_answers_that_the_other_shard_does_not_take_are_refused_until_it_does() {
        Runtime::new(1).block_on(async {
            let [(here, arrivals), (there, outlet)] = two();
            let long = || Answer::Encoded { kind: 0x8203, body: Bytes::from(vec![0; SHARD_CROSSING_BYTES / 2]) };
            let mut answers = Vec::new();
            for _ in 0..3 {
                let (work, answer) = work(1);
                assert!(here.request(ShardId(1), work).is_ok());
                answers.push(answer);
            }
            received(&there, &outlet).await.into_iter().for_each(|work| work.answer(long()));
            assert!(!there.would_hold(1), "nobody has taken them yet");
            let batch = arrivals.replies.recv_async().await.expect("the other shard runs");
            batch.into_iter().for_each(|reply| here.deliver(reply));
            assert!(there.would_hold(SHARD_CROSSING_BYTES), "all were taken");
            let mut codes = Vec::new();
            for answer in answers {
                codes.push(match answer.await {
                    Answer::Outcome(Outcome::Error(error)) => Some(error.code()),
                    _ => None,
                });
            }
            assert_eq!(codes, [None, None, Some(ErrorCode::Busy)]);
        });
    }
}
