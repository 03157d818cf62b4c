//! A queue that grows without moving what it holds: one that doubles would copy hundreds of thousands of entries in one go,
//! into fresh memory, and its shard would stand still meanwhile.

use std::collections::VecDeque;

/// Items of a piece.
const PIECE: usize = 1024;

/// A double-ended queue in pieces.
#[derive(Debug)]
pub struct Window<T> {
    /// None is empty; all between the first and the last are full.
    pieces: VecDeque<VecDeque<T>>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { pieces: VecDeque::new() }
    }
}

impl<T> Window<T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        match (self.pieces.front(), self.pieces.back()) {
            (Some(first), Some(last)) if self.pieces.len() > 1 => {
                first.len() + (self.pieces.len() - 2) * PIECE + last.len()
            }
            (first, _) => first.map_or(0, VecDeque::len),
        }
    }

    pub fn front(&self) -> Option<&T> {
        self.pieces.front()?.front()
    }

    pub fn back(&self) -> Option<&T> {
        self.pieces.back()?.back()
    }

    /// The item `at` places behind the first.
    pub fn get(&self, at: usize) -> Option<&T> {
        let first = self.pieces.front()?.len();
        match at.checked_sub(first) {
            None => self.pieces[0].get(at),
            Some(behind) => self.pieces.get(1 + behind / PIECE)?.get(behind % PIECE),
        }
    }

    /// Adds an item behind the last.
    pub fn push_back(&mut self, item: T) {
        match self.pieces.back_mut() {
            Some(last) if last.len() < PIECE => last.push_back(item),
            _ => self.pieces.push_back(VecDeque::from([item])),
        }
    }

    /// Takes the last item.
    pub fn pop_back(&mut self) -> Option<T> {
        let last = self.pieces.back_mut()?;
        let item = last.pop_back();
        if last.is_empty() {
            self.pieces.pop_back();
        }
        item
    }

    /// Takes the first item.
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.pieces.front_mut()?;
        let item = first.pop_front();
        if first.is_empty() {
            self.pieces.pop_front();
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_plain_queue_holds() {
        let (mut window, mut plain) = (Window::default(), VecDeque::new());
        let steps: [(usize, usize, usize); 6] =
            [(3000, 100, 10), (10, 1500, 0), (1024, 0, 1024), (5000, 2047, 900), (1, 100, 2), (500, 9000, 1)];
        let mut next = 0;
        for (pushed, from_front, from_back) in steps {
            for _ in 0..pushed {
                window.push_back(next);
                plain.push_back(next);
                next += 1;
            }
            (0..from_front).for_each(|_| assert_eq!(window.pop_front(), plain.pop_front()));
            (0..from_back).for_each(|_| assert_eq!(window.pop_back(), plain.pop_back()));
            assert_eq!((window.len(), window.front(), window.back()), (plain.len(), plain.front(), plain.back()));
            assert!((0..=plain.len()).all(|at| window.get(at) == plain.get(at)));
        }
        assert_eq!((next, window.len()), (9535, 0));
    }
}
