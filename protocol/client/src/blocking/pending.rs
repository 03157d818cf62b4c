//! A request under way, and the place its result is put.

use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex};

use crate::core::Reply;
use crate::{Call, ClientError, Clock};

type Outcome = Result<Reply, ClientError>;

/// Filled once, by whichever thread learns the result.
#[derive(Debug, Default)]
pub(super) struct Slot {
    result: Mutex<Option<Outcome>>,
    filled: Condvar,
}

impl Slot {
    pub(super) fn fill(&self, result: Outcome) {
        *self.result.lock().expect("no thread panics while it holds a slot") = Some(result);
        self.filled.notify_all();
    }

    fn wait(&self) -> Outcome {
        let mut result = self.result.lock().expect("no thread panics while it holds a slot");
        loop {
            if let Some(result) = result.take() {
                return result;
            }
            result = self.filled.wait(result).expect("no thread panics while it holds a slot");
        }
    }

    fn is_filled(&self) -> bool {
        self.result.lock().expect("no thread panics while it holds a slot").is_some()
    }
}

/// A request under way. If this is dropped, the request goes on and its outcome is lost.
#[derive(Debug)]
#[must_use = "the answer comes out of `wait`"]
pub struct Pending<C> {
    pub(super) slot: Arc<Slot>,
    pub(super) clock: Clock,
    pub(super) call: PhantomData<fn() -> C>,
}

impl<C: Call> Pending<C> {
    /// Waits for the answer, at most until the request's time is up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn wait(self) -> Result<C::Answer, ClientError> {
        C::answer(self.slot.wait()?, &self.clock)
    }

    /// Whether `wait` would return at once.
    pub fn is_done(&self) -> bool {
        self.slot.is_filled()
    }
}
