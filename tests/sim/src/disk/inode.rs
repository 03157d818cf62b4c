//! One file's two images.

use std::ops::Range;

use crate::exec::SimRng;

/// What a device writes in one piece or not at all.
const SECTOR_BYTES: usize = 512;

/// A file: what reads see, and what a power loss leaves.
#[derive(Debug, Default)]
pub(super) struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges of `live` that may differ from `durable`, in the order in which they were written.
    unsynced: Vec<Range<usize>>,
}

fn grow_to(image: &mut Vec<u8>, len: usize) {
    if image.len() < len {
        image.resize(len, 0);
    }
}

fn copy(from: &[u8], to: &mut Vec<u8>, range: Range<usize>) {
    let end = range.end.min(from.len());
    if range.start < end {
        grow_to(to, end);
        to[range.start..end].copy_from_slice(&from[range.start..end]);
    }
}

impl Inode {
    /// What reads see.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// Puts `bytes` at `offset`, durable at once or at the next sync.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], durable: bool) {
        let range = offset..offset + bytes.len();
        grow_to(&mut self.live, range.end);
        self.live[range.clone()].copy_from_slice(bytes);
        if durable {
            copy(&self.live, &mut self.durable, range);
        } else {
            self.unsynced.push(range);
        }
    }

    /// Sets the length; what is cut off is gone, what is added is zero. Durable at the next sync.
    pub(super) fn set_len(&mut self, len: usize) {
        let before = self.live.len();
        self.live.resize(len, 0);
        self.unsynced.push(before.min(len)..before.max(len));
    }

    /// Fills the file with `len` zeros. Durable at the next sync.
    pub(super) fn zero(&mut self, len: usize) {
        self.live.clear();
        self.live.resize(len, 0);
        self.unsynced.push(0..len);
    }

    /// Makes all of the live image durable.
    pub(super) fn sync(&mut self) {
        self.durable.truncate(self.live.len());
        let from = self.durable.len();
        copy(&self.live, &mut self.durable, from..self.live.len());
        for range in self.unsynced.drain(..) {
            copy(&self.live, &mut self.durable, range);
        }
    }

    /// The device loses power: of each sector that is not durable the seed decides.
    pub(super) fn crash(&mut self, rng: &SimRng) {
        for range in std::mem::take(&mut self.unsynced) {
            let mut at = range.start;
            while at < range.end {
                let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                if rng.below(2) == 0 {
                    copy(&self.live, &mut self.durable, at..next.min(range.end));
                }
                at = next;
            }
        }
        self.live.clone_from(&self.durable);
    }

    /// Damages both images: flips the bits of `mask` in the byte at `offset`.
    pub(super) fn flip(&mut self, offset: usize, mask: u8) {
        for image in [&mut self.live, &mut self.durable] {
            if let Some(byte) = image.get_mut(offset) {
                *byte ^= mask;
            }
        }
    }
}
