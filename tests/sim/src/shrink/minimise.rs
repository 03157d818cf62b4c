//! What of a list is needed, found by leaving out ever smaller pieces of it: a plain kind of delta debugging.

/// A part of `items`, in their order, that still `fails`, and of which no single item can be left out. `fails` holds for all
/// of them; it is not asked about none of them.
pub fn minimise<T: Clone>(items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut kept = items;
    let mut size = kept.len().div_ceil(2).max(1);
    loop {
        let (mut at, before) = (0, kept.len());
        while at < kept.len() {
            let rest = [&kept[..at], &kept[(at + size).min(kept.len())..]].concat();
            if !rest.is_empty() && fails(&rest) {
                kept = rest;
            } else {
                at += size;
            }
        }
        if size == 1 && kept.len() == before {
            return kept;
        }
        size = size.div_ceil(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of 1 to 64 where all of `needed` are needed, and how many questions it took.
    fn left(needed: &[u32]) -> (Vec<u32>, u32) {
        let mut asked = 0;
        let left = minimise((1..=64).collect(), |items| {
            asked += 1;
            needed.iter().all(|item| items.contains(item))
        });
        (left, asked)
    }

    #[test]
    fn the_needed_ones_are_left() {
        for needed in [&[1][..], &[64], &[17, 18], &[1, 32, 64], &[5, 6, 7, 8, 40]] {
            let (left, asked) = left(needed);
            assert_eq!(left, needed);
            assert!(asked < 80, "{needed:?}: {asked} questions");
        }
    }

    #[test]
    fn one_of_many_that_would_do_is_left() {
        let left = minimise((1..=20).collect(), |items: &[u32]| items.iter().any(|item| item % 3 == 0));
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn nothing_goes_when_all_are_needed() {
        assert_eq!(minimise(vec![1, 2, 3, 4, 5], |items: &[u32]| items.len() == 5), [1, 2, 3, 4, 5]);
        assert_eq!(minimise(vec![1], |_: &[u32]| panic!("there is nothing to try")), [1]);
    }
}
