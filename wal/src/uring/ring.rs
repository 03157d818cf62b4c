//! The ring itself: submission, completion, and its end.
//!
//! Entries gather in the submission queue until the thread looks for completions or waits for one: one system call submits
//! everything that its tasks asked for, and takes what has completed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::descriptor::{CloseLater, Descriptor};
use super::operation::{Operation, Operations, Target};
use crate::AlignedBuf;

/// Entries that end others: nobody needs their own answers.
const UNANSWERED: u64 = u64::MAX;

/// One io_uring, of one thread: everything that the thread waits for. The disk, its files and their futures share it, and
/// whoever watches sockets.
pub struct Ring {
    uring: RefCell<IoUring>,
    operations: RefCell<Operations>,
    /// Entries behind a full queue that the kernel did not take, in order.
    waiting: RefCell<VecDeque<squeue::Entry>>,
}

impl Ring {
    /// Sets up a ring with room for `entries` submissions (rounded up to a power of two). Only the calling thread may use it.
    ///
    /// # Errors
    /// The system's error where io_uring is forbidden or memory may not be locked.
    pub fn new(entries: u32) -> io::Result<Rc<Self>> {
        let mut builder = IoUring::builder();
        builder.setup_clamp();
        // The kernel does its part of a completion when this thread asks for completions, and does not interrupt it.
        let deferring = builder.clone().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().build(entries);
        let uring = match deferring {
            // Linux before 6.1.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder.build(entries)?,
            built => built?,
        };
        Ok(Rc::new(Self { uring: RefCell::new(uring), operations: RefCell::default(), waiting: RefCell::default() }))
    }

    /// Operations that were asked for and have not ended.
    pub fn in_flight(&self) -> usize {
        self.operations.borrow().in_flight()
    }

    /// Begins one operation on `file`; `entry` builds it from the buffer's memory (null without a buffer).
    ///
    /// # Safety
    /// The entry may name no memory except that of the buffer it was given, within its length, and no descriptor except
    /// that of `file`.
    pub(super) unsafe fn submit(
        self: &Rc<Self>,
        file: &Rc<Descriptor>,
        buf: Option<AlignedBuf>,
        entry: impl FnOnce(*mut u8, usize) -> squeue::Entry,
    ) -> InFlight {
        let has_buf = buf.is_some();
        let mut operations = self.operations.borrow_mut();
        let slot = operations.insert(Target::File(file.clone()), buf);
        let (memory, len) = if has_buf {
            let buf = operations.buf_mut(slot);
            (buf.as_mut_ptr(), buf.len())
        } else {
            (std::ptr::null_mut(), 0)
        };
        drop(operations);
        // SAFETY: `operations` keeps the buffer's heap memory and the file until the completion of this slot was seen, and
        // the caller promised that the entry names nothing else.
        unsafe { self.start(slot, entry(memory, len)) }
        InFlight { ring: self.clone(), slot: Some(slot) }
    }

    /// Begins one operation on names.
    ///
    /// # Safety
    /// The entry may name no memory except that of `target`'s paths.
    pub(super) unsafe fn submit_named(self: &Rc<Self>, target: Target, entry: squeue::Entry) -> InFlight {
        let slot = self.operations.borrow_mut().insert(target, None);
        // SAFETY: `operations` keeps the paths' heap memory until the completion of this slot was seen.
        unsafe { self.start(slot, entry) }
        InFlight { ring: self.clone(), slot: Some(slot) }
    }

    /// Queues `entry` for the kernel as the operation of `slot`.
    ///
    /// # Safety
    /// What the entry points to belongs to that operation.
    unsafe fn start(&self, slot: usize, entry: squeue::Entry) {
        // SAFETY: the caller's promise.
        unsafe { self.push(entry.user_data(slot as u64)) }
    }

    /// Queues `entry` behind those before it.
    ///
    /// # Safety
    /// What the entry points to outlives the operation.
    unsafe fn push(&self, entry: squeue::Entry) {
        self.waiting.borrow_mut().push_back(entry);
        let mut uring = self.uring.borrow_mut();
        if !self.refill(&mut uring) {
            // If the kernel is short of something the entry waits for the next look.
            let _ = submit_retrying(&uring, 0);
            self.refill(&mut uring);
        }
    }

    /// Moves what waits into the kernel's queue; whether that took all.
    fn refill(&self, uring: &mut IoUring) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(entry) = waiting.pop_front() {
            // SAFETY: whoever pushed the entry promised that what it points to outlives the operation.
            if unsafe { uring.submission().push(&entry) }.is_err() {
                waiting.push_front(entry);
                return false;
            }
        }
        true
    }

    /// Watches `socket` for `events` (of `poll(2)`). Each change is reported once, so whoever watches reads until nothing is
    /// left before it waits.
    pub fn watch(self: &Rc<Self>, socket: &Rc<OwnedFd>, events: i16) -> Watch {
        let slot = self.operations.borrow_mut().insert(Target::Socket(socket.clone()), None);
        let fd = types::Fd(socket.as_raw_fd());
        // Not negative: bits of `poll(2)`.
        let entry = opcode::PollAdd::new(fd, events as u32).multi(true).build();
        // SAFETY: the entry names no memory, and `operations` keeps the socket.
        unsafe { self.start(slot, entry) }
        Watch { ring: self.clone(), slot }
    }

    /// Submits what was asked for, takes every completion there is and wakes the futures that wait for one. Returns how many
    /// there were.
    pub fn look(&self) -> usize {
        {
            let mut uring = self.uring.borrow_mut();
            self.refill(&mut uring);
            if has_work(&mut uring) {
                // An error repeats at the next call; meanwhile completions make room.
                let _ = submit_retrying(&uring, 0);
            }
        }
        self.take_all()
    }

    /// Takes the completions that the kernel shows now: more are shown by the next call of it only.
    fn take_all(&self) -> usize {
        let mut taken = 0;
        loop {
            let completion = self.uring.borrow_mut().completion().next();
            let Some(completion) = completion else { return taken };
            taken += 1;
            self.take(&completion);
        }
    }

    fn take(&self, completion: &cqueue::Entry) {
        if completion.user_data() == UNANSWERED {
            return;
        }
        let (slot, result) = (completion.user_data() as usize, completion.result());
        let (waker, gone) = if cqueue::more(completion.flags()) {
            (self.operations.borrow_mut().report(slot, result), None)
        } else {
            self.operations.borrow_mut().complete(slot, result)
        };
        drop(gone);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Submits what was asked for and blocks the thread until a completion is there, or until `limit` is over if there is one;
    /// then as [`look`](Self::look).
    ///
    /// # Errors
    /// What the system said about the ring; a time limit that is over is none.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<usize> {
        {
            let mut uring = self.uring.borrow_mut();
            if !self.refill(&mut uring) {
                submit_retrying(&uring, 0)?;
            }
            // While entries wait the thread does not: nobody would hear of what the kernel was not asked for.
            let want = usize::from(self.refill(&mut uring));
            match limit {
                None => _ = submit_retrying(&uring, want)?,
                Some(limit) => {
                    let limit = types::Timespec::from(limit);
                    match uring.submitter().submit_with_args(want, &types::SubmitArgs::new().timespec(&limit)) {
                        Err(error) if is_passing(&error) => {}
                        done => _ = done?,
                    }
                }
            }
        }
        Ok(self.take_all())
    }

    /// Lets go of everybody who waits for an operation. For the end of an executor, whose tasks their own wakers keep.
    pub fn forget_waiting(&self) {
        let waiting = self.operations.borrow_mut().take_wakers();
        // The wakers hold tasks, whose destructors may come back here: nothing is borrowed.
        drop(waiting);
    }

    /// Ends the watch of `slot`: its answer is taken by nobody.
    fn unwatch(&self, slot: usize) {
        let (ended, waker) = self.operations.borrow_mut().abandon(slot);
        if ended.is_none() {
            // Not `PollRemove`: it fails while an event is on its way.
            let end = opcode::AsyncCancel::new(slot as u64).build().user_data(UNANSWERED);
            // SAFETY: the entry names no memory.
            unsafe { self.push(end) };
        }
        drop((ended, waker));
    }
}

/// Whether the kernel has entries to take, or work of its own to do, before it shows more completions.
fn has_work(uring: &mut IoUring) -> bool {
    let submission = uring.submission();
    !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
}

/// Errors of a submission or a wait that pass by themselves or when completions are taken, and the end of a time limit.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN))
}

impl CloseLater for Ring {
    fn close(&self, fd: OwnedFd) {
        let slot = self.operations.borrow_mut().insert(Target::Closing, None);
        let close = opcode::Close::new(types::Fd(fd.as_raw_fd())).build();
        // The ring's now.
        _ = fd.into_raw_fd();
        // SAFETY: the entry names no memory.
        unsafe { self.push(close.flags(squeue::Flags::ASYNC).user_data(slot as u64)) };
        // Nobody waits for it yet, and a file's descriptor is not in it.
        let _ = self.operations.borrow_mut().abandon(slot);
        // Others wait for the file's lock: it is not left to the next look.
        let _ = submit_retrying(&self.uring.borrow(), 0);
    }
}

fn submit_retrying(uring: &IoUring, want: usize) -> io::Result<usize> {
    loop {
        match uring.submitter().submit_and_wait(want) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The completion queue is full, or memory is short: completions must be taken first, the entries stay queued.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => return Ok(0),
            done => return done,
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.in_flight() > 0 {
            if self.wait(None).is_err() {
                // The kernel may still write into the buffers: leaking them is the only safe end.
                mem::forget(mem::take(&mut *self.operations.borrow_mut()));
                return;
            }
        }
    }
}

/// The future of one submitted operation. Dropping it gives up the answer, not the operation.
pub struct InFlight {
    ring: Rc<Ring>,
    slot: Option<usize>,
}

impl Future for InFlight {
    type Output = Operation;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Operation> {
        let slot = self.slot.expect("a future is not polled after it was ready");
        let completed = self.ring.operations.borrow_mut().poll(slot, context.waker());
        match completed {
            Some(completed) => {
                self.slot = None;
                Poll::Ready(completed)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let (gone, waker) = self.ring.operations.borrow_mut().abandon(slot);
            drop((gone, waker));
        }
    }
}

/// A socket that is watched. Dropping it ends the watch; the descriptor stays open until the ring was looked at and the kernel
/// has let go of it: a thread that drops a socket and then waits for its other end, without the ring, waits for ever.
pub struct Watch {
    ring: Rc<Ring>,
    slot: usize,
}

impl Watch {
    /// The events since the last call that had some, and whether more are reported: if not, the watch has ended. Wakes the
    /// task of the latest call.
    ///
    /// # Errors
    /// Why the kernel does not watch the socket.
    pub fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(i16, bool)>> {
        self.ring.operations.borrow_mut().poll_events(self.slot, context.waker())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ring.unwatch(self.slot);
    }
}
