//! Operations in flight: a slab that owns what the kernel may still touch.

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd};
use std::rc::Rc;
use std::task::Waker;

use super::descriptor::Descriptor;
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
}

impl Operation {
    /// The kernel's result, once it ended: a count, or a negative errno.
    pub fn result(&self) -> i32 {
        self.result.expect("it ended")
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
        let operation = Operation { result: None, buf, opened: None, target, waker: None, abandoned: false };
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

    /// The operation of `slot` and its removal if it ended; or `None`, then `waker` is woken later.
    pub fn poll(&mut self, slot: usize, waker: &Waker) -> Option<Operation> {
        let operation = self.get(slot);
        if operation.result.is_some() {
            return Some(self.remove(slot));
        }
        match &mut operation.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        None
    }

    /// Nobody will ask for the answer of `slot`. Returns the operation if it has ended.
    pub fn abandon(&mut self, slot: usize) -> Option<Operation> {
        let operation = self.get(slot);
        operation.abandoned = true;
        operation.waker = None;
        operation.result.is_some().then(|| self.remove(slot))
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
