//! The fate of each packet: dropped, or sent on once or twice, each time after a delay.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    time::{Duration, Instant},
};

use crate::SimRng;

/// How the wires behave. The default lets all pass at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chaos) struct Manner {
    /// Of a thousand packets so many are lost.
    pub lost: u64,
    /// Of a thousand packets so many arrive twice.
    pub doubled: u64,
    /// How long a packet takes, in microseconds: packets overtake each other.
    pub takes_us: (u64, u64),
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.takes_us;
        write!(f, "{least} to {most} us, {} of 1000 lost, {} doubled", self.lost, self.doubled)
    }
}

/// Packets on their way.
#[derive(Debug)]
pub(super) struct Queue {
    rng: SimRng,
    /// By when each is due, then in the order they came.
    waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    count: u64,
}

impl Queue {
    pub(super) fn new(rng: SimRng) -> Self {
        Self { rng, waiting: BinaryHeap::new(), count: 0 }
    }

    pub(super) fn push(&mut self, packet: &[u8], manner: &Manner, now: Instant) {
        if self.rng.below(1000) < manner.lost {
            return;
        }
        for _ in 0..1 + u64::from(self.rng.below(1000) < manner.doubled) {
            let takes = Duration::from_micros(self.rng.between(manner.takes_us.0, manner.takes_us.1));
            self.count += 1;
            self.waiting.push(Reverse((now + takes, self.count, packet.to_vec())));
        }
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }

    /// A packet that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.next_due().filter(|due| *due <= now)?;
        self.waiting.pop().map(|Reverse((_, _, packet))| packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(manner: Manner, count: u16) -> Vec<u16> {
        let now = Instant::now();
        let mut queue = Queue::new(SimRng::new(1, 1));
        (0..count).for_each(|number| queue.push(&number.to_be_bytes(), &manner, now));
        let later = now + Duration::from_secs(1);
        let popped = std::iter::from_fn(|| queue.pop(later));
        popped.map(|packet| u16::from_be_bytes([packet[0], packet[1]])).collect()
    }

    #[test]
    fn a_clear_wire_keeps_count_and_order() {
        assert_eq!(pass(Manner::default(), 100), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn packets_are_lost_doubled_and_overtaken() {
        let lossy = pass(Manner { lost: 200, ..Manner::default() }, 1000);
        assert!((700..900).contains(&lossy.len()), "{}", lossy.len());
        let doubled = pass(Manner { doubled: 200, ..Manner::default() }, 1000);
        assert!((1100..1300).contains(&doubled.len()), "{}", doubled.len());
        let slow = pass(Manner { takes_us: (0, 10_000), ..Manner::default() }, 1000);
        assert_eq!(slow.len(), 1000);
        assert!(!slow.is_sorted());
    }

    #[test]
    fn nothing_comes_before_it_is_due() {
        let now = Instant::now();
        let mut queue = Queue::new(SimRng::new(1, 1));
        queue.push(&[1], &Manner { takes_us: (500, 500), ..Manner::default() }, now);
        assert_eq!(queue.pop(now), None);
        assert_eq!(queue.next_due(), Some(now + Duration::from_micros(500)));
        assert_eq!(queue.pop(now + Duration::from_micros(500)), Some(vec![1]));
        assert_eq!(queue.next_due(), None);
    }
}
