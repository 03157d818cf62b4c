//! Bytes that wait to be written to one connection, counted against the budget of all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::budget::{Budget, Share};

/// Frames gather in a piece until it is this long: one write for all that are ready, and no buffer that grows without end.
const PIECE_BYTES: usize = 64 << 10;
/// The least that a piece has room for.
const LEAST_BYTES: usize = 512;

/// Frames that wait, in pieces that are written one after the other. What is counted is what the pieces occupy.
pub(crate) struct Unsent {
    share: Share,
    /// Each with the number that its last frame was pushed with.
    pieces: RefCell<VecDeque<(Vec<u8>, u64)>>,
}

impl Unsent {
    /// Nothing waits.
    pub(crate) fn new(budget: &Rc<Budget>) -> Self {
        Self { share: budget.share(), pieces: RefCell::default() }
    }

    /// What is counted: what waits, and what was taken to be written.
    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.borrow().is_empty()
    }

    /// Appends what `encode` writes, some `bytes` long as far as known. `number` must not fall.
    pub(crate) fn push<R>(&self, number: u64, bytes: usize, encode: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let mut pieces = self.pieces.borrow_mut();
        let open = pieces.back().is_some_and(|(piece, _)| piece.len() + bytes <= PIECE_BYTES);
        if !open {
            pieces.push_back((Vec::new(), number));
        }
        let (piece, last) = pieces.back_mut().expect("there is one");
        let before = piece.capacity();
        if !open {
            piece.reserve_exact(bytes.max(LEAST_BYTES));
        }
        let result = encode(piece);
        *last = number;
        self.share.set(self.share.bytes() - before + piece.capacity());
        if piece.is_empty() {
            self.share.set(self.share.bytes() - piece.capacity());
            pieces.pop_back();
        }
        result
    }

    /// The next piece to write, and the number of its last frame. It counts until it is [`written`](Self::written).
    pub(crate) fn take(&self) -> Option<(Vec<u8>, u64)> {
        self.pieces.borrow_mut().pop_front()
    }

    /// A piece is not needed any more.
    pub(crate) fn written(&self, piece: Vec<u8>) {
        let bytes = piece.capacity();
        drop(piece);
        self.share.set(self.share.bytes() - bytes);
    }

    /// Drops what waits.
    pub(crate) fn clear(&self) {
        let pieces = self.pieces.take();
        pieces.into_iter().for_each(|(piece, _)| self.written(piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(unsent: &Unsent, number: u64, bytes: usize) {
        unsent.push(number, bytes, |out| out.resize(out.len() + bytes, b'x'));
    }

    #[test]
    fn short_frames_share_a_piece_and_all_that_it_occupies_is_counted() {
        let budget = Budget::new(1 << 30, 1 << 20);
        let unsent = Unsent::new(&budget);
        (0..100).for_each(|number| push(&unsent, number, 100));
        push(&unsent, 100, 1 << 20);
        push(&unsent, 101, 100);
        let mut taken = Vec::new();
        while let Some((piece, number)) = unsent.take() {
            taken.push((piece.len(), number));
            assert!(piece.capacity() < 2 * piece.len().max(LEAST_BYTES));
            assert!(budget.held() >= piece.capacity(), "it counts while it is written");
            unsent.written(piece);
        }
        assert_eq!(taken, [(10_000, 99), (1 << 20, 100), (100, 101)]);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_was_taken_back_leaves_nothing_and_what_is_dropped_counts_no_more() {
        let budget = Budget::new(1 << 20, 1 << 20);
        let unsent = Unsent::new(&budget);
        unsent.push(1, 0, |_| {});
        assert!(unsent.is_empty());
        assert_eq!(budget.held(), 0);
        push(&unsent, 2, 70_000);
        push(&unsent, 3, 10);
        let (writing, _) = unsent.take().expect("a piece");
        unsent.clear();
        assert_eq!(budget.held(), writing.capacity());
        unsent.written(writing);
        assert_eq!(budget.held(), 0);
    }
}
