//! Operations in flight: a slab that owns what the kernel may still touch.

use std::ffi::CString;
use std::fs::File;
use std::rc::Rc;
use std::task::Waker;

use crate::AlignedBuf;

/// What an ended operation gives back.
pub struct Completed {
    /// The kernel's result: a count, or a negative errno.
    pub result: i32,
    /// The buffer the operation worked on.
    pub buf: Option<AlignedBuf>,
}

/// What an operation is about; stays until the kernel is done.
#[expect(dead_code, reason = "held, not read")]
pub enum Target {
    /// An open file, whose descriptor must not be used for another one meanwhile.
    File(Rc<File>),
    /// A path, whose memory the kernel may read late.
    Path(CString),
}

/// One operation, from submission until its future took the answer.
struct Operation {
    result: Option<i32>,
    buf: Option<AlignedBuf>,
    _target: Target,
    waker: Option<Waker>,
    /// The future is gone: the slot is freed when the kernel is done.
    abandoned: bool,
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
        let operation = Operation { result: None, buf, _target: target, waker: None, abandoned: false };
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

    /// The kernel is done with `slot`. Returns whom to wake.
    pub fn complete(&mut self, slot: usize, result: i32) -> Option<Waker> {
        self.in_flight -= 1;
        let operation = self.get(slot);
        operation.result = Some(result);
        let waker = operation.waker.take();
        if operation.abandoned {
            self.remove(slot);
        }
        waker
    }

    /// The answer of `slot` and its removal, or `None`, then `waker` is woken later.
    pub fn poll(&mut self, slot: usize, waker: &Waker) -> Option<Completed> {
        let operation = self.get(slot);
        if let Some(result) = operation.result {
            let buf = operation.buf.take();
            self.remove(slot);
            return Some(Completed { result, buf });
        }
        match &mut operation.waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        None
    }

    /// The future of `slot` is gone.
    pub fn abandon(&mut self, slot: usize) {
        let operation = self.get(slot);
        operation.abandoned = true;
        operation.waker = None;
        if operation.result.is_some() {
            self.remove(slot);
        }
    }

    /// Operations the kernel still works on.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn get(&mut self, slot: usize) -> &mut Operation {
        self.slots[slot].as_mut().expect("a slot is freed once, after its last use")
    }

    fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
    }
}
