//! The ring itself: submission, completion, and its end.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};

use super::descriptor::{CloseLater, Descriptor};
use super::operation::{Operation, Operations, Target};
use crate::AlignedBuf;

/// One io_uring with its eventfd. Lives on one thread; shared by the disk, its files and their futures.
pub struct Ring {
    uring: RefCell<IoUring>,
    operations: RefCell<Operations>,
    event: OwnedFd,
}

impl Ring {
    pub fn new(entries: u32) -> io::Result<Self> {
        let uring = IoUring::builder().setup_clamp().build(entries)?;
        // Blocking mode: a read of it through another io_uring waits for the count instead of failing with EAGAIN.
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        uring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Self { uring: RefCell::new(uring), operations: RefCell::default(), event })
    }

    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub fn in_flight(&self) -> usize {
        self.operations.borrow().in_flight()
    }

    /// Submits one operation on `file`; `entry` builds it from the buffer's memory (null without a buffer).
    ///
    /// # Safety
    /// The entry may name no memory except that of the buffer it was given, within its length, and no descriptor except
    /// that of `file`.
    pub unsafe fn submit(
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
    }

    /// Submits one operation on names.
    ///
    /// # Safety
    /// The entry may name no memory except that of `target`'s paths.
    pub unsafe fn submit_named(self: &Rc<Self>, target: Target, entry: squeue::Entry) -> InFlight {
        let slot = self.operations.borrow_mut().insert(target, None);
        // SAFETY: `operations` keeps the paths' heap memory until the completion of this slot was seen.
        unsafe { self.start(slot, entry) }
    }

    /// Hands `entry` to the kernel as the operation of `slot`.
    ///
    /// # Safety
    /// What the entry points to belongs to that operation.
    unsafe fn start(self: &Rc<Self>, slot: usize, entry: squeue::Entry) -> InFlight {
        // SAFETY: the caller's promise.
        if let Err(error) = unsafe { self.push(&entry.user_data(slot as u64)) } {
            let refusal = -error.raw_os_error().unwrap_or(libc::EIO);
            drop(self.operations.borrow_mut().complete(slot, refusal));
        }
        InFlight { ring: self.clone(), slot: Some(slot) }
    }

    /// # Safety
    /// What the entry points to outlives the operation.
    unsafe fn push(&self, entry: &squeue::Entry) -> io::Result<()> {
        let mut uring = self.uring.borrow_mut();
        // SAFETY: the caller's promise, here and below.
        if unsafe { uring.submission().push(entry) }.is_err() {
            submit_retrying(&uring, 0)?;
            // SAFETY: as above.
            unsafe { uring.submission().push(entry) }.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        }
        // The entry cannot be taken back. If the kernel is short of something it stays queued, and the next submission or
        // `drain` hands it over.
        submit_retrying(&uring, 0).expect("a ring that was set up takes submissions");
        Ok(())
    }

    /// Takes every completion there is and wakes the futures that wait for one. Returns how many there were.
    pub fn drain(&self) -> usize {
        let mut drained = 0;
        loop {
            let completion = {
                let mut uring = self.uring.borrow_mut();
                if !uring.submission().is_empty() {
                    // An error repeats at the next call; meanwhile completions make room.
                    let _ = submit_retrying(&uring, 0);
                }
                uring.completion().next()
            };
            let Some(completion) = completion else { return drained };
            let slot = completion.user_data() as usize;
            let (waker, gone) = self.operations.borrow_mut().complete(slot, completion.result());
            drained += 1;
            drop(gone);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Blocks until at least one operation in flight has ended, then drains.
    pub fn wait(&self) -> io::Result<usize> {
        submit_retrying(&self.uring.borrow(), 1)?;
        Ok(self.drain())
    }
}

impl CloseLater for Ring {
    fn close(&self, fd: OwnedFd) {
        let slot = self.operations.borrow_mut().insert(Target::Closing, None);
        let close = opcode::Close::new(types::Fd(fd.as_raw_fd())).build();
        // SAFETY: the entry names no memory.
        let taken = unsafe { self.push(&close.flags(squeue::Flags::ASYNC).user_data(slot as u64)) };
        let mut operations = self.operations.borrow_mut();
        operations.abandon(slot);
        match taken {
            // The kernel's now.
            Ok(()) => _ = fd.into_raw_fd(),
            Err(_) => _ = operations.complete(slot, -libc::EBUSY),
        }
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
            if self.wait().is_err() {
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
            let gone = self.ring.operations.borrow_mut().abandon(slot);
            drop(gone);
        }
    }
}
