//! One client: a thread that keeps its share of operations under way over all its connections.
//!
//! ```text
//!   begin what is due ─▶ queue on the leader's connection ─▶ one write per connection
//!          ▲                                                        │
//!          └──── judge every answer that one read brought ◀── poll ─┘
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kahuna_client::Clock;
use kahuna_client::core::ServerTime;
use kahuna_client::wire::WireError;
use kahuna_protocol::frame::FLAG_FORWARDED;
use kahuna_protocol::meta::MapGet;
use kahuna_protocol::{GroupId, Header, Outcome, Request, RequestPrelude, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::acknowledged::Acknowledged;
use crate::job::{Job, Verdict};
use crate::links::{Links, Place};
use crate::pace::{Next, Pace};
use crate::plan::Plan;
use crate::tally::{Late, Tally, histogram};

/// The request id of a question for the map; slots use their own numbers.
const MAP_REQUEST: u64 = u64::MAX;
/// Between two questions for the map.
const MAP_EVERY: Duration = Duration::from_millis(200);
/// A slot whose operation failed rests this long, so that refusals are not a busy loop.
const REST: Duration = Duration::from_millis(10);
/// How far ahead a write's last moment lies, in milliseconds.
const VALID_FOR_MS: u64 = 60_000;

/// One operation under way.
#[derive(Clone, Debug)]
struct Operation {
    due: Instant,
    key: u64,
    step: u8,
    number: u64,
    /// Whose time its answer shows.
    partition: Option<GroupId>,
    place: Place,
    counted: bool,
}

/// One client's session and connections; it lives through all phases.
pub(crate) struct Driver<'a> {
    plan: &'a Plan,
    links: Links,
    session: SessionId,
    acknowledged: Acknowledged,
    slots: Vec<Option<Operation>>,
    /// Unanswered operations per connection.
    waiting: BTreeMap<Place, usize>,
    map_asked: Option<Instant>,
    map_stale: bool,
    index: u64,
}

impl<'a> Driver<'a> {
    /// Client `index` with `slots` operations at once, and what is known of the servers' time by a clock of this machine.
    ///
    /// # Errors
    /// When no node answers.
    pub(crate) fn connect(
        plan: &'a Plan,
        index: usize,
        slots: usize,
        session: SessionId,
        (clock, time): (Clock, ServerTime),
    ) -> Result<Self, WireError> {
        Ok(Self {
            plan,
            links: Links::open(&plan.endpoints, plan.timeout, clock, time)?,
            session,
            acknowledged: Acknowledged::new(),
            slots: vec![None; slots],
            waiting: BTreeMap::new(),
            map_asked: None,
            map_stale: false,
            index: index as u64,
        })
    }

    /// Runs one phase to its end. Operations due before `counted_from` leave no trace in the tally.
    ///
    /// # Errors
    /// When no node can be reached, or none answers for long.
    pub(crate) fn run(&mut self, job: Job, mut pace: Pace<'_>, counted_from: Instant) -> Result<Tally, WireError> {
        let mut tally =
            Tally { latencies: histogram(), errors: BTreeMap::new(), last_answer: None, late: Late::default() };
        // Before the first operation that counts was due, however late this thread began.
        let start = counted_from.min(Instant::now());
        let mut free: Vec<(Instant, usize)> = (0..self.slots.len()).map(|slot| (start, slot)).collect();
        let mut freed = Vec::new();
        loop {
            let now = Instant::now();
            let mut wake = None;
            while let Some(at) = free.iter().rposition(|(rested, _)| *rested <= now) {
                match pace.next(now) {
                    Next::Begin { index, due } => {
                        let counted = due >= counted_from;
                        // A thread that wakes late is not meant: then a slot has been free since before.
                        if counted && free.iter().all(|(rested, _)| *rested > due) {
                            tally.late.add(Late { ops: 1, longest: now.saturating_duration_since(due) });
                        }
                        let (_, slot) = free.swap_remove(at);
                        let key = self.key(job, index, slot);
                        let (partition, place) = (None, Place::default());
                        let operation = Operation { due, key, step: 0, number: 0, partition, place, counted };
                        self.send(job, slot, operation)?;
                    }
                    Next::At(due) => {
                        wake = Some(due);
                        break;
                    }
                    Next::Over => {
                        free.retain(|(rested, _)| *rested > now);
                        break;
                    }
                }
            }
            let resting = free.iter().map(|(rested, _)| *rested).filter(|rested| *rested > now).min();
            wake = [wake, resting].into_iter().flatten().min();
            if self.waiting.values().all(|count| *count == 0) && wake.is_none() {
                return Ok(tally);
            }
            self.ask_for_map();
            self.flush(&mut tally, &mut freed);
            self.receive(job, wake, &mut tally, &mut freed)?;
            free.append(&mut freed);
        }
    }

    /// Which key an operation uses: the next one, and for locks one that no other slot uses.
    fn key(&self, job: Job, index: u64, slot: usize) -> u64 {
        if job != Job::LockCycle {
            return index % self.plan.keys;
        }
        let (slots, own) = (self.plan.in_flight as u64, self.index + slot as u64 * self.plan.connections as u64);
        let rounds = (self.plan.keys / slots).max(1);
        own + (index / slots % rounds) * slots
    }

    fn send(&mut self, job: Job, slot: usize, mut operation: Operation) -> Result<(), WireError> {
        let name = Job::name(operation.key);
        operation.place = self.links.route(&name)?;
        operation.partition = self.links.partition(&name);
        let mut prelude = RequestPrelude {
            timeout_ms: u32::try_from(self.plan.timeout.as_millis()).unwrap_or(u32::MAX),
            read: self.plan.read,
            ..RequestPrelude::default()
        };
        operation.number = 0;
        if job.writes() {
            operation.number = self.acknowledged.hand_out();
            prelude.session = self.session;
            prelude.number = operation.number;
            prelude.acknowledged = self.acknowledged.mark();
            prelude.valid_until_ms = self.links.unix_ms(operation.partition).saturating_add(VALID_FOR_MS);
        }
        let owner = self.session.0.wrapping_add(slot as u64);
        let request = job.request(self.plan, operation.step, name, owner);
        let connection = self.links.get(operation.place).expect("routed to an open connection");
        connection.queue(slot as u64, &prelude, &request);
        *self.waiting.entry(operation.place).or_default() += 1;
        self.slots[slot] = Some(operation);
        Ok(())
    }

    /// A forwarded answer said that the map is old: asks for a new one now and then.
    fn ask_for_map(&mut self) {
        if !self.map_stale || self.map_asked.is_some_and(|asked| asked.elapsed() < MAP_EVERY) {
            return;
        }
        let busy = self.waiting.iter().find(|(_, count)| **count > 0).map(|(place, _)| *place);
        if let Some(connection) = busy.and_then(|place| self.links.get(place)) {
            let prelude = RequestPrelude { timeout_ms: 1000, ..RequestPrelude::default() };
            connection.queue(MAP_REQUEST, &prelude, &Request::from(MapGet {}));
            self.map_asked = Some(Instant::now());
            self.map_stale = false;
        }
    }

    fn flush(&mut self, tally: &mut Tally, freed: &mut Vec<(Instant, usize)>) {
        let broken: Vec<Place> =
            self.links.iter_mut().filter_map(|(place, link)| link.flush().is_err().then_some(place)).collect();
        broken.into_iter().for_each(|place| self.lose(place, tally, freed));
    }

    /// Waits for answers, at most until `wake`, and judges all that came.
    fn receive(
        &mut self,
        job: Job,
        wake: Option<Instant>,
        tally: &mut Tally,
        freed: &mut Vec<(Instant, usize)>,
    ) -> Result<(), WireError> {
        let busy: Vec<Place> = self.waiting.iter().filter(|(_, count)| **count > 0).map(|(place, _)| *place).collect();
        let readable = match (busy.as_slice(), wake) {
            // The one connection that can bring something may block.
            ([only], None) => vec![*only],
            _ => self.poll(wake)?,
        };
        for place in readable {
            let Some(connection) = self.links.get(place) else { continue };
            let mut frame = Some(connection.recv());
            while let Some(received) = frame {
                let Ok((header, body)) = received else {
                    self.lose(place, tally, freed);
                    break;
                };
                self.map_stale |= header.flags & FLAG_FORWARDED != 0;
                if header.request_id == MAP_REQUEST {
                    self.links.heard(header.hlc, None);
                    if let Ok(Outcome::Map(map)) = Outcome::decode(header.kind, &body) {
                        self.links.adopt(map);
                    }
                } else {
                    self.answered(job, &header, &body, tally, freed)?;
                }
                frame = self.links.get(place).and_then(|connection| connection.recv_buffered().transpose());
            }
        }
        Ok(())
    }

    /// The connections that have something to read.
    fn poll(&self, wake: Option<Instant>) -> Result<Vec<Place>, WireError> {
        let (places, streams): (Vec<Place>, Vec<_>) =
            self.links.iter().map(|(place, connection)| (place, connection.stream())).unzip();
        let mut ready: Vec<PollFd<'_>> = streams.into_iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        // A node answers within the timeout; beyond twice that something is broken.
        let patience = wake.map_or(self.plan.timeout * 2, |wake| wake.saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(patience).expect("no timeout is that long");
        let count = match poll(&mut ready, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            polled => polled.map_err(std::io::Error::from)?,
        };
        if count == 0 && wake.is_none() {
            let text = format!("no answer within {patience:?}");
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text).into());
        }
        Ok(places.into_iter().zip(&ready).filter(|(_, fd)| !fd.revents().is_empty()).map(|(place, _)| place).collect())
    }

    fn answered(
        &mut self,
        job: Job,
        header: &Header,
        body: &[u8],
        tally: &mut Tally,
        freed: &mut Vec<(Instant, usize)>,
    ) -> Result<(), WireError> {
        let slot = usize::try_from(header.request_id).unwrap_or(usize::MAX);
        // A refusal of the connection itself answers no slot; the close that follows settles what was under way.
        let Some(operation) = self.slots.get_mut(slot).and_then(Option::take) else { return Ok(()) };
        self.settle(&operation);
        if operation.partition.is_some() {
            self.map_stale |= self.links.heard(header.hlc, operation.partition);
        }
        let now = Instant::now();
        match job.judge_answer(operation.step, header.kind, body) {
            Verdict::Continue => return self.send(job, slot, Operation { step: operation.step + 1, ..operation }),
            Verdict::Done => {
                if operation.counted {
                    let nanos = now.saturating_duration_since(operation.due).as_nanos();
                    tally.latencies.saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
                    tally.last_answer = Some(now);
                }
                freed.push((now, slot));
            }
            Verdict::Failed(why) => {
                self.map_stale = true;
                if operation.counted {
                    *tally.errors.entry(why).or_default() += 1;
                }
                freed.push((now + REST, slot));
            }
        }
        Ok(())
    }

    fn settle(&mut self, operation: &Operation) {
        if operation.number > 0 {
            self.acknowledged.settle(operation.number);
        }
        if let Some(count) = self.waiting.get_mut(&operation.place) {
            *count -= 1;
        }
    }

    /// A connection broke: everything under way on it failed.
    fn lose(&mut self, place: Place, tally: &mut Tally, freed: &mut Vec<(Instant, usize)>) {
        self.links.close(place);
        self.map_stale = true;
        self.map_asked = None;
        let rested = Instant::now() + REST;
        for slot in 0..self.slots.len() {
            if let Some(operation) = self.slots[slot].take_if(|operation| operation.place == place) {
                self.settle(&operation);
                if operation.counted {
                    *tally.errors.entry("connection_lost".to_owned()).or_default() += 1;
                }
                freed.push((rested, slot));
            }
        }
    }
}
