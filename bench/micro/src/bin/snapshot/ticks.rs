//! A clock whose ticks stop with the virtual processor.
//!
//! A host that takes its CPU back says so afterwards, as stolen time, and the kernel leaves that out of a thread's processor
//! time. Not all of it is said: while the host itself serves the virtual machine (gives it memory, emulates a device), the
//! guest stands still and its thread seems to run. A timer of the guest stands still then as well. So the kernel samples the
//! thread at every so much of its processor time, and where samples are missing, the thread did not run.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Between two ticks.
pub const PERIOD: Duration = Duration::from_micros(200);

/// The kernel writes a header, and nothing else, for each sample.
const SAMPLE_BYTES: u64 = 8;
const PAGE_BYTES: usize = 4096;
/// Room for samples: those of more than a second.
const SAMPLE_PAGES: usize = 16;
const MAPPED_BYTES: usize = (1 + SAMPLE_PAGES) * PAGE_BYTES;
/// Where the first page says how far the kernel has written, and how far was read.
const HEAD_OFFSET: usize = 1024;
const TAIL_OFFSET: usize = 1032;

/// Ticks of the thread that started them.
pub struct Ticks {
    _event: OwnedFd,
    pages: NonNull<u8>,
}

impl Ticks {
    /// Of the calling thread. Fails where the system lets nobody sample.
    pub fn of_this_thread() -> io::Result<Self> {
        let event = sample_this_thread()?;
        let read_write = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at a place of the kernel's choice.
        let pages = unsafe { mmap(null_mut(), MAPPED_BYTES, read_write, MapFlags::SHARED, event.as_fd(), 0) }?;
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { _event: event, pages })
    }

    /// How many there were, as long as this is asked for once a second.
    pub fn count(&self) -> u64 {
        let head = self.at(HEAD_OFFSET).load(Ordering::Acquire);
        self.at(TAIL_OFFSET).store(head, Ordering::Release);
        head / SAMPLE_BYTES
    }

    fn at(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: both places are aligned numbers within the first page, which the kernel shares with us and which stays
        // mapped for as long as this lives.
        unsafe { AtomicU64::from_ptr(self.pages.as_ptr().add(offset).cast()) }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and nothing borrowed from it is left.
        let _ = unsafe { munmap(self.pages.as_ptr().cast(), MAPPED_BYTES) };
    }
}

/// An event that samples the calling thread's processor time.
fn sample_this_thread() -> io::Result<OwnedFd> {
    const SOFTWARE: u64 = 1;
    const CPU_CLOCK: u64 = 0;
    // The first version of the kernel's structure: type and size, which event, period, and what is zero here.
    let attributes: [u64; 8] =
        [SOFTWARE | (size_of::<[u64; 8]>() as u64) << 32, CPU_CLOCK, PERIOD.as_nanos() as u64, 0, 0, 0, 0, 0];
    let (this_thread, any_cpu, no_group, close_on_exec) = (0, -1, -1, 8);
    // SAFETY: the kernel reads the structure, whose length it says itself, and writes nothing.
    let event = unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), this_thread, any_cpu, no_group, close_on_exec)
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(event as i32) })
}
