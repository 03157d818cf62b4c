//! Ending early, and waiting that ends with it.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Whether a run shall end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Asks for the end.
    pub fn ask(&self) {
        let (asked, changed) = &*self.0;
        *asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Whether the end was requested.
    pub fn is_asked(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for so long; false if the end is asked for before.
    pub fn pause(&self, duration: Duration) -> bool {
        let (asked, changed) = &*self.0;
        let until = Instant::now() + duration;
        let mut over = asked.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return true;
            };
            over = changed.wait_timeout(over, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// Waits this long, also if the end is requested meanwhile.
pub(super) fn sleep(duration: Duration) {
    Stop::default().pause(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_the_end_is_asked_for() {
        let stop = Stop::default();
        assert!(stop.pause(Duration::from_millis(1)), "nobody asked");
        let other = stop.clone();
        let waiting = std::thread::spawn(move || other.pause(Duration::from_secs(3600)));
        stop.ask();
        assert!(!waiting.join().expect("it does not panic"));
        assert!(stop.is_asked());
    }
}
