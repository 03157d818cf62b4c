//! The tasks of a world.

use std::{cell::RefCell, future::Future, mem, pin::Pin, task::Waker};

use super::{
    NodeId,
    nodes::Strand,
    ready::{ReadyQueue, TaskId},
};

pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct Place {
    generation: u32,
    /// `None` while free. The future is missing while it is polled.
    task: Option<Task>,
}

struct Task {
    strand: Strand,
    waker: Waker,
    future: Option<BoxedTask>,
}

/// All tasks, in places that are used again.
#[derive(Default)]
pub(super) struct Tasks {
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
}

impl Tasks {
    /// Adds a task and queues it.
    pub(super) fn add(&self, strand: Strand, future: BoxedTask, ready: &ReadyQueue) {
        let waker = {
            let mut places = self.places.borrow_mut();
            let place = self.free.borrow_mut().pop().unwrap_or_else(|| {
                places.push(Place::default());
                u32::try_from(places.len() - 1).expect("fewer than four billion tasks")
            });
            let slot = &mut places[place as usize];
            slot.generation += 1;
            let waker = ready.waker(TaskId { place, generation: slot.generation });
            slot.task = Some(Task { strand, waker: waker.clone(), future: Some(future) });
            waker
        };
        waker.wake();
    }

    /// Takes the future of a task out, to be polled; `None` if the task has ended since it was woken.
    pub(super) fn take(&self, id: TaskId) -> Option<(Strand, Waker, BoxedTask)> {
        let mut places = self.places.borrow_mut();
        let place = places.get_mut(id.place as usize).filter(|place| place.generation == id.generation)?;
        let task = place.task.as_mut()?;
        let future = task.future.take()?;
        Some((task.strand, task.waker.clone(), future))
    }

    /// Puts a pending future back; drops it if its node was killed while it was polled.
    pub(super) fn put_back(&self, id: TaskId, future: BoxedTask) {
        let mut places = self.places.borrow_mut();
        let place = &mut places[id.place as usize];
        match &mut place.task {
            Some(task) if place.generation == id.generation => task.future = Some(future),
            _ => {
                drop(places);
                drop(future);
            }
        }
    }

    /// Frees the place of a task that has ended.
    pub(super) fn end(&self, id: TaskId) {
        let ended = {
            let mut places = self.places.borrow_mut();
            let place = &mut places[id.place as usize];
            if place.generation != id.generation {
                return;
            }
            place.task.take().inspect(|_| self.free.borrow_mut().push(id.place))
        };
        drop(ended);
    }

    /// Drops the tasks for which `doomed` holds, in the order of their places. What their destructors spawn lives on.
    pub(super) fn end_all(&self, doomed: impl Fn(NodeId) -> bool) {
        let ended: Vec<Task> = {
            let mut places = self.places.borrow_mut();
            let mut free = self.free.borrow_mut();
            places
                .iter_mut()
                .enumerate()
                .filter(|(_, place)| place.task.as_ref().is_some_and(|task| doomed(task.strand.node)))
                .filter_map(|(at, place)| {
                    free.push(at as u32);
                    mem::take(&mut place.task)
                })
                .collect()
        };
        drop(ended);
    }
}
