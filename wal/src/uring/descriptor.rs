//! The descriptor of an open file, closed by the ring.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Weak;

/// Closes descriptors without holding up the thread that lets go of them.
pub trait CloseLater {
    /// Has a thread of the kernel close `fd`.
    fn close(&self, fd: OwnedFd);
}

/// The descriptor of an open file. A thread of the kernel closes it when this is dropped: the last close of a file that was
/// written gives back what the file system had set aside for it, that of a removed one gives back all its blocks, and both
/// may wait for the file system's journal. Drop it only where nothing of the ring is borrowed.
pub struct Descriptor {
    /// None only while it is dropped.
    fd: Option<OwnedFd>,
    ring: Weak<dyn CloseLater>,
}

impl Descriptor {
    /// Takes `fd` over; `ring` closes it.
    pub fn new(fd: OwnedFd, ring: Weak<impl CloseLater + 'static>) -> Self {
        Self { fd: Some(fd), ring }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("it is closed with its owner").as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // Without the ring nobody is left who could be held up.
        if let (Some(fd), Some(ring)) = (self.fd.take(), self.ring.upgrade()) {
            ring.close(fd);
        }
    }
}
