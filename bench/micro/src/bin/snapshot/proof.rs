//! What the probe says of turns that are known.

use std::error::Error;
use std::time::{Duration, Instant};

use kahuna_microbench::ThreadClock;
use kahuna_shards::env::Env;
use kahuna_shards::linux::{Linux, ShardOptions, spawn_shard};
use rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};

use crate::phases::Measured;
use crate::probe::{Probe, Running, nanoseconds};

/// Each kind of turn, so often, so long, so far apart.
const TURNS: usize = 40;
const WHILE: Duration = Duration::from_millis(3);
const APART: Duration = Duration::from_millis(100);

/// A shard with nothing to do; with turns that run, and with turns that wait in a system call, for 3 ms each.
pub fn measure() -> Result<Vec<Measured>, Box<dyn Error>> {
    let shard = spawn_shard(ShardOptions::new(0), || async {
        let running = Running(Probe::start());
        let kinds: [(_, fn()); 3] = [("nothing", || ()), ("runs for 3 ms", run), ("waits for 3 ms", wait)];
        let mut measured = Vec::new();
        for (name, turn) in kinds {
            running.0.forget().await;
            let began = Instant::now();
            for _ in 0..TURNS {
                Linux::sleep(APART).await;
                turn();
            }
            Linux::sleep(APART).await;
            let (seconds, turns) = (began.elapsed().as_secs_f64(), running.0.take());
            measured.push(Measured { name, seconds, turns, writes: nanoseconds() });
        }
        measured
    })?;
    Ok(shard.join())
}

fn run() {
    let clock = ThreadClock::start();
    while clock.elapsed() < WHILE {}
}

fn wait() {
    let asked = Timespec { tv_sec: 0, tv_nsec: WHILE.as_nanos() as i64 };
    assert!(matches!(nanosleep(&asked), NanosleepRelativeResult::Ok), "no signal comes here");
}
