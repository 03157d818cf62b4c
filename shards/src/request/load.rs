//! How much is in flight, against a limit: one count for a connection, one for the shard.

use std::cell::Cell;
use std::rc::Rc;

use crate::env::local::Signal;

/// Unanswered requests and their bytes.
#[derive(Debug)]
pub struct Load {
    requests: Cell<u32>,
    bytes: Cell<u64>,
    max_requests: u32,
    max_bytes: u64,
    idle: Signal,
}

impl Load {
    /// Nothing in flight, and at most this much at any time.
    pub fn new(max_requests: u32, max_bytes: u64) -> Rc<Self> {
        Rc::new(Self { requests: Cell::new(0), bytes: Cell::new(0), max_requests, max_bytes, idle: Signal::default() })
    }

    /// Counts a request until the charge is dropped; `None` if there is no room. An idle owner takes any request, so
    /// that a limit below one request's size delays it but never shuts it out.
    pub fn admit(self: &Rc<Self>, bytes: usize) -> Option<Charge> {
        let bytes = bytes as u64;
        let full = self.requests.get() >= self.max_requests || self.bytes.get() + bytes > self.max_bytes;
        if full && self.requests.get() > 0 {
            return None;
        }
        self.requests.set(self.requests.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        Some(Charge { load: self.clone(), bytes })
    }

    /// Unanswered requests.
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// Bytes of unanswered requests.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Returns once nothing is in flight. For one waiter at a time.
    pub async fn drained(&self) {
        while self.requests.get() > 0 {
            self.idle.wait().await;
        }
    }
}

/// One request's part of a [`Load`]; dropping it takes the part back.
#[derive(Debug)]
pub struct Charge {
    load: Rc<Load>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let load = &self.load;
        load.requests.set(load.requests.get() - 1);
        load.bytes.set(load.bytes.get() - self.bytes);
        if load.requests.get() == 0 {
            load.idle.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_dropping_frees() {
        let load = Load::new(2, 100);
        let first = load.admit(60).expect("room");
        assert!(load.admit(41).is_none(), "bytes are bounded");
        let second = load.admit(40).expect("room");
        assert!(load.admit(0).is_none(), "requests are bounded");
        drop(first);
        assert_eq!((load.requests(), load.bytes()), (1, 40));
        drop(second);
        assert_eq!((load.requests(), load.bytes()), (0, 0));
    }

    #[test]
    fn an_idle_owner_takes_a_request_over_the_limit() {
        let load = Load::new(8, 10);
        let _large = load.admit(1000).expect("nothing else is in flight");
        assert!(load.admit(1).is_none());
    }
}
