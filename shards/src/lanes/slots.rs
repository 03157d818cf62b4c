//! Numbered places for what waits; a free number is found in constant time and used again.

/// A place, or the next free one.
enum Slot<T> {
    Taken(T),
    Free { next: Option<u32> },
}

/// As many places as were ever taken at once.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Option<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: None }
    }

    /// Keeps `waiting`, and gives the number of its place.
    pub(super) fn take(&mut self, waiting: T) -> u32 {
        let taken = Slot::Taken(waiting);
        match self.free {
            Some(index) => {
                let Slot::Free { next } = std::mem::replace(&mut self.slots[index as usize], taken) else {
                    unreachable!("the free list holds free slots");
                };
                self.free = next;
                index
            }
            None => {
                self.slots.push(taken);
                u32::try_from(self.slots.len() - 1).expect("far fewer slots than 2^32")
            }
        }
    }

    /// Gives back what waits at `index`, and its number free.
    pub(super) fn free(&mut self, index: u32) -> T {
        let freed = Slot::Free { next: self.free };
        let Slot::Taken(waiting) = std::mem::replace(&mut self.slots[index as usize], freed) else {
            unreachable!("a slot is answered once");
        };
        self.free = Some(index);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::Slots;

    #[test]
    fn numbers_are_used_again_and_keep_what_they_were_given() {
        let mut slots = Slots::new();
        let [a, b, c] = ["a", "b", "c"].map(|waiting| slots.take(waiting));
        assert_eq!((slots.free(b), slots.free(a)), ("b", "a"));
        let (d, e) = (slots.take("d"), slots.take("e"));
        assert_eq!((d, e), (a, b), "the last freed is taken first");
        assert_eq!((slots.free(c), slots.free(e), slots.free(d)), ("c", "e", "d"));
        assert_eq!(slots.slots.len(), 3, "no more places than were taken at once");
    }

    #[test]
    #[should_panic(expected = "answered once")]
    fn a_slot_is_not_answered_twice() {
        let mut slots = Slots::new();
        let index = slots.take(());
        slots.free(index);
        slots.free(index);
    }
}
