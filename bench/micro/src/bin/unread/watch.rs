//! The other clients: one gets a short value over and over, one a long one.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kahuna_protocol::{ErrorCode, Outcome};

use crate::connection::Connection;
use crate::pause;

/// Between two gets of the long value.
const PAUSE: Duration = Duration::from_millis(10);

/// The longest get that is told from longer ones, in microseconds.
const MOST_US: u64 = 60_000_000;

/// What they saw.
pub struct Seen {
    /// How long the gets of the short value took, in microseconds.
    pub short: Histogram<u64>,
    /// Gets of the long value that were answered with it.
    pub long: u32,
    /// And those that were answered with `Busy`.
    pub refused: u32,
}

/// The two clients at work.
pub struct Watch {
    ending: Arc<AtomicBool>,
    short: JoinHandle<io::Result<Histogram<u64>>>,
    long: JoinHandle<io::Result<(u32, u32)>>,
}

impl Watch {
    pub fn start(address: &str, long_key: &str) -> Result<Self, Box<dyn Error>> {
        let ending = Arc::new(AtomicBool::new(false));
        let mut connection = Connection::open(address)?;
        let ended = ending.clone();
        let short = std::thread::spawn(move || {
            let mut taken = Histogram::new_with_max(MOST_US, 3).map_err(io::Error::other)?;
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                match connection.get("short")? {
                    Outcome::Value(_) => {}
                    other => return Err(io::Error::other(format!("a value was expected: {other:?}"))),
                }
                taken.saturating_record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            }
            Ok(taken)
        });
        let mut connection = Connection::open(address)?;
        let (ended, key) = (ending.clone(), long_key.to_owned());
        let long = std::thread::spawn(move || {
            let (mut answered, mut refused) = (0, 0);
            while !ended.load(Ordering::Relaxed) {
                match connection.get(&key)? {
                    Outcome::Value(_) => answered += 1,
                    Outcome::Error(error) if error.code() == ErrorCode::Busy => refused += 1,
                    other => return Err(io::Error::other(format!("a value was expected: {other:?}"))),
                }
                pause(PAUSE);
            }
            Ok((answered, refused))
        });
        Ok(Self { ending, short, long })
    }

    pub fn end(self) -> Result<Seen, Box<dyn Error>> {
        self.ending.store(true, Ordering::Relaxed);
        let short = self.short.join().map_err(|_| "the first client panicked")??;
        let (long, refused) = self.long.join().map_err(|_| "the second client panicked")??;
        Ok(Seen { short, long, refused })
    }
}
