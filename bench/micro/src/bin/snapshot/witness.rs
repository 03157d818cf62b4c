//! Somebody else on the same machine, who sees its bad times.
//!
//! A host may take memory away from a virtual machine and give it back when it is touched, page by page. The guest hears
//! nothing: no fault of its own, no stolen time, and its timers go on between two pages. Its thread seems to work, and
//! everything that touches memory is slow at once, whatever it does. So a thread that does nothing but touch memory of its own,
//! which has been there for long, is slow at the same time, and a turn of the shard that is slow alone is the shard's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use kahuna_microbench::ThreadClock;
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::thread::{Timespec, nanosleep};

/// Memory that it touches.
const BYTES: usize = 256 << 20;
/// Places touched in one step, and the rest behind it: the witness takes less than a twentieth of a processor.
const PLACES: usize = 100;
const REST: Duration = Duration::from_micros(500);
/// Steps that tell how long one takes, before anything is measured.
const USUAL: usize = 1_000;
/// A step is slow that takes so many times as much processor time.
const SLOW: u32 = 10;
/// What began or ended so near to a slow step happened at the same time.
const NEAR: Duration = Duration::from_millis(5);

/// A thread that touches memory.
pub struct Witness {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What it saw.
pub struct Seen {
    /// Processor time of a step, the median of those before anything was measured.
    pub usual: Duration,
    /// The slow steps, in their order.
    pub slow: Vec<Slow>,
}

/// A slow step. Times are since boot.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    began: Duration,
    ended: Duration,
    /// Processor time.
    pub ran: Duration,
}

impl Witness {
    /// Begins when it knows how long a step takes.
    pub fn start() -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = flume::bounded(1);
        let until = stopped.clone();
        let thread = std::thread::spawn(move || {
            let mut memory = Memory { bytes: vec![1; BYTES], random: SmallRng::seed_from_u64(1) };
            let mut first: Vec<Duration> = (0..USUAL).map(|_| memory.step().ran).collect();
            first.sort();
            let usual = first[USUAL / 2];
            ready.send(()).expect("somebody waits");
            let mut slow = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let step = memory.step();
                if step.ran > SLOW * usual {
                    slow.push(step);
                }
            }
            Seen { usual, slow }
        });
        is_ready.recv().expect("it says so");
        Self { stopped, thread }
    }

    /// Ends it.
    pub fn end(self) -> Seen {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only touches memory")
    }
}

impl Seen {
    /// The slowest step at the time of what took `whole` and ended at `ended`.
    pub fn beside(&self, ended: Duration, whole: Duration) -> Option<Slow> {
        let (from, to) = (ended.saturating_sub(whole + NEAR), ended + NEAR);
        self.slow.iter().filter(|step| step.began < to && step.ended > from).max_by_key(|step| step.ran).copied()
    }

    /// All of the time that counts as a slow step's.
    pub fn covered(&self) -> Duration {
        let mut until = Duration::ZERO;
        self.slow.iter().fold(Duration::ZERO, |sum, step| {
            let from = step.began.saturating_sub(NEAR).max(until);
            until = step.ended + NEAR;
            sum + until.saturating_sub(from)
        })
    }
}

struct Memory {
    bytes: Vec<u8>,
    random: SmallRng,
}

impl Memory {
    fn step(&mut self) -> Slow {
        let rest = Timespec { tv_sec: 0, tv_nsec: REST.as_nanos() as i64 };
        // Whether a signal ended it early does not matter.
        let _ = nanosleep(&rest);
        let (began, clock) = (Linux::boot_clock(), ThreadClock::start());
        for _ in 0..PLACES {
            let place = &mut self.bytes[self.random.random_range(0..BYTES)];
            *place = std::hint::black_box(place.wrapping_add(1));
        }
        let ran = clock.elapsed();
        Slow { began, ended: Linux::boot_clock(), ran }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happens_beside_a_slow_step_is_excused() {
        let ms = Duration::from_millis;
        let slow = |began, ended| Slow { began: ms(began), ended: ms(ended), ran: ms(ended - began) };
        let seen = Seen { usual: ms(1), slow: vec![slow(100, 120), slow(121, 125), slow(300, 330)] };
        let beside = |ended, whole| seen.beside(ms(ended), ms(whole)).map(|step| step.ran);
        assert_eq!([beside(95, 50), beside(96, 50), beside(132, 3)], [None, Some(ms(20)), Some(ms(4))]);
        assert_eq!([beside(133, 2), beside(133, 4), beside(310, 3)], [None, Some(ms(4)), Some(ms(30))]);
        assert_eq!([beside(400, 280), beside(400, 65), beside(290, 100)], [Some(ms(30)), None, None]);
        assert_eq!(seen.covered(), ms(35 + 40));
    }
}
