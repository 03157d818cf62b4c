//! Who wants to be polled.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use super::SimRng;

/// Names a task: its place among the tasks, and how many were there before it. Never names two tasks of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskId {
    pub(super) place: u32,
    pub(super) generation: u32,
}

impl TaskId {
    /// The future that [`World::block_on`](super::World::block_on) was given.
    pub(super) const ROOT: Self = Self { place: u32::MAX, generation: 0 };
}

/// The tasks that were woken and not polled since. Wakers must be `Send` by their type, hence the lock; nobody contends.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadyQueue(Arc<Mutex<Vec<Arc<Alarm>>>>);

/// What the waker of a task holds.
#[derive(Debug)]
struct Alarm {
    task: TaskId,
    queued: AtomicBool,
    queue: ReadyQueue,
}

impl ReadyQueue {
    /// A waker that queues `task`.
    pub(super) fn waker(&self, task: TaskId) -> Waker {
        Waker::from(Arc::new(Alarm { task, queued: AtomicBool::new(false), queue: self.clone() }))
    }

    /// Takes out one of the ready tasks, whichever the stream says.
    pub(super) fn draw(&self, rng: &SimRng) -> Option<TaskId> {
        let mut ready = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            return None;
        }
        let at = if ready.len() == 1 { 0 } else { rng.below(ready.len() as u64) as usize };
        let alarm = ready.swap_remove(at);
        alarm.queued.store(false, Ordering::Relaxed);
        Some(alarm.task)
    }

    /// Forgets everyone.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for alarm in all {
            alarm.queued.store(false, Ordering::Relaxed);
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            let queue = self.queue.clone();
            queue.0.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.clone().wake();
    }
}
