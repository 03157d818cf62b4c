//! Bytes that a shard holds for others, against one limit over all of them.
//!
//! ```text
//!   0                 limit/2                limit
//!   | the lower half    | the upper half       |
//!     one may hold an     one may hold `each`
//!     eighth of what
//!     is left of it
//! ```
//! Who takes nothing of what it asked for holds an eighth at most of what others left of the lower half. Some dozens of such
//! holders use that half up, one after the other. The upper half is there in small parts: only `limit / 2 / each` holders that
//! make no use of theirs leave no room for another one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use openraft::rt::Mutex as _;

use crate::env::local::LocalMutex;

/// The limit, and what is held of it.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    each: usize,
    held: Cell<usize>,
    /// Whoever waits for room waits in line, and only the first one is woken by what is given back.
    line: LocalMutex<()>,
    first: RefCell<Option<Waker>>,
}

impl Budget {
    /// Nothing held yet; at most `limit` bytes are to be, and `each` holder may have as much as that while they are not.
    pub fn new(limit: usize, each: usize) -> Rc<Self> {
        Rc::new(Self { limit, each, held: Cell::new(0), line: LocalMutex::new(()), first: RefCell::default() })
    }

    /// A share that holds nothing yet.
    pub fn share(self: &Rc<Self>) -> Share {
        Share { budget: self.clone(), bytes: Cell::new(0) }
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.held.get()
    }

    /// Bytes that are not held.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.held.get())
    }

    /// At least a half is left.
    pub fn is_half_left(&self) -> bool {
        self.left() >= self.limit / 2
    }

    /// Hardly more is left than small parts: who makes no use of what it holds shall give it up.
    pub fn is_pressed(&self) -> bool {
        self.held() > self.limit / 8 * 3
    }

    /// What one may hold now.
    fn most(&self) -> usize {
        let lower = (self.limit / 2).saturating_sub(self.held());
        (lower / 8).max(self.each)
    }
}

/// What one holder has of a [`Budget`]; dropping it gives all of it back.
#[derive(Debug)]
pub struct Share {
    budget: Rc<Budget>,
    bytes: Cell<usize>,
}

impl Share {
    /// Whether the holder may have `more` bytes beside those that it holds.
    pub fn fits(&self, more: usize) -> bool {
        more <= self.budget.left() && self.bytes.get() + more <= self.budget.most()
    }

    /// Returns once the holder may have `more` bytes: first come, first served. They are to be counted at once.
    pub async fn room_for(&self, more: usize) {
        let turn = self.budget.line.lock().await;
        poll_fn(|cx| {
            if self.fits(more) {
                return Poll::Ready(());
            }
            let before = self.budget.first.replace(Some(cx.waker().clone()));
            drop(before);
            Poll::Pending
        })
        .await;
        drop(turn);
    }

    /// Whether it may have one thing more whose length is not known.
    pub fn may_grow(&self) -> bool {
        self.room() > 0
    }

    /// How many bytes more it may have.
    pub fn room(&self) -> usize {
        self.budget.most().saturating_sub(self.bytes.get()).min(self.budget.left())
    }

    /// Holds `bytes` from now on, whatever the limit says: what has to be held is counted too.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        let budget = &self.budget;
        budget.held.set(budget.held.get() - before + bytes);
        if bytes < before {
            let first = budget.first.take();
            first.into_iter().for_each(Waker::wake);
        }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// All that is held for others.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of `holders` has when all of them take as much as they may, `step` bytes at a time.
    fn greedy(budget: &Rc<Budget>, holders: usize, step: usize) -> Vec<Share> {
        let shares: Vec<_> = (0..holders).map(|_| budget.share()).collect();
        let mut grown = true;
        while std::mem::take(&mut grown) {
            for share in shares.iter().filter(|share| share.fits(step)) {
                share.set(share.bytes() + step);
                grown = true;
            }
        }
        shares
    }

    #[test]
    fn the_greedy_leave_room_for_others_whether_they_come_at_once_or_one_after_the_other() {
        const LIMIT: usize = 1 << 20;
        const EACH: usize = LIMIT / 256;
        for holders in [1, 2, 10, 100] {
            for at_once in [true, false] {
                let budget = Budget::new(LIMIT, EACH);
                let shares: Vec<Share> = if at_once {
                    greedy(&budget, holders, 64)
                } else {
                    (0..holders).flat_map(|_| greedy(&budget, 1, 64)).collect()
                };
                assert!(budget.held() <= LIMIT && budget.share().fits(EACH), "{holders}: {} left", budget.left());
                assert!(shares.iter().all(|share| share.bytes() >= EACH - 64 && share.bytes() <= LIMIT / 16));
                let next = budget.share();
                assert!(next.may_grow() && next.room() >= EACH && !next.fits(LIMIT / 16));
                drop((shares, next));
                assert_eq!(budget.held(), 0);
            }
        }
        let all = greedy(&Budget::new(LIMIT, EACH), 1000, 64);
        assert!(!all[0].budget().share().fits(EACH), "and no more than the limit is ever held");
        assert!(all[0].budget().held() <= LIMIT);
    }

    #[test]
    fn what_has_to_be_held_counts_beyond_the_limit() {
        let budget = Budget::new(100, 50);
        let share = budget.share();
        share.set(150);
        assert_eq!((budget.held(), budget.left(), share.room()), (150, 0, 0));
        assert!(!budget.share().fits(1) && budget.share().fits(0) && !share.may_grow());
        share.set(10);
        assert_eq!((budget.left(), share.room()), (90, 40));
    }

    #[test]
    fn whoever_waits_is_served_in_turn_as_room_comes_back() {
        let budget = Budget::new(100, 50);
        let [first, second, small, holder] = std::array::from_fn(|_| budget.share());
        holder.set(80);
        assert!(budget.is_pressed());
        let mut waiting =
            [(&first, 30), (&second, 40), (&small, 1)].map(|(share, more)| Box::pin(share.room_for(more)));
        let mut served =
            |at: usize| waiting[at].as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready();
        assert_eq!([served(0), served(1), served(2)], [false; 3], "the third one would fit, and waits for its turn");
        holder.set(60);
        assert!(served(0));
        first.set(30);
        assert_eq!([served(1), served(2)], [false; 2]);
        holder.set(0);
        assert!(served(1));
        second.set(40);
        assert!(served(2));
    }
}
