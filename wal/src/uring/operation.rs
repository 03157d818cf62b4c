//! Operations in flight: a slab that owns what the kernel may still touch.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::descriptor::Descriptor;
use super::names::outcome;
use crate::AlignedBuf;

/// What an operation is about; stays until the kernel is done.
#[expect(dead_code, reason = "held, not read")]
pub enum Target {
    /// An open file, whose descriptor must not be used for another one meanwhile.
    File(Rc<Descriptor>),
    /// Paths, whose memory the kernel may read late.
    Paths([CString; 2]),
    /// One path.
    Path(CString),
    /// The path of a file that is being opened: the answer is a descriptor.
    Opening(CString),
    /// A descriptor that is the kernel's now.
    Closing,
    /// A socket that is watched: the answers are sets of events.
    Socket(Rc<OwnedFd>),
}

/// One operation, from submission until its future took the answer. Dropping it may drop the last handle of a file, which
/// needs the ring again: drop it only where nothing of the ring is borrowed.
pub struct Operation {
    /// The kernel's result: a count, or a negative errno. None until it is done.
    result: Option<i32>,
    /// The buffer the operation works on.
    pub buf: Option<AlignedBuf>,
    /// What was opened.
    pub opened: Option<OwnedFd>,
    target: Target,
    waker: Option<Waker>,
    /// Nobody asks for the answer: the slot is freed when the kernel is done.
    abandoned: bool,
    /// Events of a watched socket that nobody has taken.
    events: i16,
}

impl Operation {
    /// The kernel's result, once it ended: a count, or a negative errno.
    pub fn result(&self) -> i32 {
        self.result.expect("it ended")
    }

    fn wake_later(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

/// All operations of a ring, by slot number (the kernel's `user_data`).
#[derive(Default)]
pub struct Operations {
    slots: Vec<Option<Operation>>,
    free: Vec<usize>,
    in_flight: usize,
}

impl Operations {
    /// Registers an operation that is about to be submitted.
    pub fn insert(&mut self, target: Target, buf: Option<AlignedBuf>) -> usize {
        let operation = Operation { result: None, buf, opened: None, target, waker: None, abandoned: false, events: 0 };
        self.in_flight += 1;
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(operation);
                slot
            }
            None => {
                self.slots.push(Some(operation));
                self.slots.len() - 1
            }
        }
    }

    /// The buffer of an operation that is not submitted yet.
    pub fn buf_mut(&mut self, slot: usize) -> &mut AlignedBuf {
        self.get(slot).buf.as_mut().expect("the operation was given a buffer")
    }

    /// The kernel is done with `slot`. Returns whom to wake, and the operation if nobody will ask for its answer.
    pub fn complete(&mut self, slot: usize, result: i32) -> (Option<Waker>, Option<Operation>) {
        self.in_flight -= 1;
        let operation = self.get(slot);
        operation.result = Some(result);
        if let (Target::Opening(_), 0..) = (&operation.target, result) {
            // SAFETY: the kernel has made this descriptor for this operation, and nobody else was told of it.
            operation.opened = Some(unsafe { OwnedFd::from_raw_fd(result) });
        }
        let waker = operation.waker.take();
        let gone = operation.abandoned.then(|| self.remove(slot));
        (waker, gone)
    }

    /// The kernel has an answer of `slot`, and not the last one. Returns whom to wake.
    pub fn report(&mut self, slot: usize, events: i32) -> Option<Waker> {
        let operation = self.get(slot);
        // Bits of `poll(2)`: the rest of them fit as well.
        operation.events |= events as i16;
        operation.waker.take()
    }

    /// The events of the watched socket of `slot`, and whether more are reported; or `waker` is woken later.
    pub fn poll_events(&mut self, slot: usize, waker: &Waker) -> Poll<io::Result<(i16, bool)>> {
        let operation = self.get(slot);
        let events = mem::take(&mut operation.events);
        match operation.result {
            Some(result) => Poll::Ready(outcome(result).map(|last| (events | last as i16, false))),
            None if events != 0 => Poll::Ready(Ok((events, true))),
            None => {
                operation.wake_later(waker);
                Poll::Pending
            }
        }
    }

    /// The operation of `slot` and its removal if it ended; or `None`, then `waker` is woken later.
    pub fn poll(&mut self, slot: usize, waker: &Waker) -> Option<Operation> {
        let operation = self.get(slot);
        if operation.result.is_some() {
            return Some(self.remove(slot));
        }
        operation.wake_later(waker);
        None
    }

    /// Nobody will ask for the answer of `slot`. Returns the operation if it has ended, and its waker: both to be dropped where
    /// nothing is borrowed.
    #[must_use]
    pub fn abandon(&mut self, slot: usize) -> (Option<Operation>, Option<Waker>) {
        let operation = self.get(slot);
        operation.abandoned = true;
        let waker = operation.waker.take();
        (operation.result.is_some().then(|| self.remove(slot)), waker)
    }

    /// Nobody is woken any more.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().flatten().filter_map(|operation| operation.waker.take()).collect()
    }

    /// Operations the kernel still works on.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn get(&mut self, slot: usize) -> &mut Operation {
        self.slots[slot].as_mut().expect("a slot is freed once, after its last use")
    }

    fn remove(&mut self, slot: usize) -> Operation {
        self.free.push(slot);
        self.slots[slot].take().expect("a slot is freed once")
    }
}
