//! The one whom packets are sent to instead of their receiver.

use std::{
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    queue::{Manner, Queue},
    tap::Tap,
};
use crate::{
    SimRng,
    chaos::{ChaosError, tools},
};

const NAME: &str = "middleman";
/// Its hardware address, as text and as bytes.
pub(in crate::chaos) const MAC: &str = "02:00:00:00:ff:fe";
const MAC_BYTES: [u8; 6] = [2, 0, 0, 0, 0xff, 0xfe];
/// Longer than any frame of a device as it is made.
const FRAME_BYTES: usize = 2048;
/// Where a frame has its receiver's and its sender's hardware address, and, if it is of IPv4, its receiver's address.
const RECEIVER: std::ops::Range<usize> = 0..6;
const SENDER: std::ops::Range<usize> = 6..12;
const IPV4_RECEIVER: std::ops::Range<usize> = 30..34;
const IPV4: [u8; 2] = [0x08, 0x00];
/// Between two looks whether the end has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The stream of the seed that packets' fates are drawn from.
const STREAM: u64 = 3_000;

#[derive(Debug, Default)]
struct Shared {
    manner: Mutex<Manner>,
    over: AtomicBool,
    packets: AtomicU64,
}

/// A thread with a device on the switch.
#[derive(Debug)]
pub(in crate::chaos) struct Middleman {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<io::Result<()>>>,
}

impl Middleman {
    /// Puts a device on `bridge`, in the namespace of this thread, and hands on what comes, to the hosts by their addresses.
    ///
    /// # Errors
    /// `NotAllowed` when the kernel gives no such device.
    pub(in crate::chaos) fn new(
        bridge: &str,
        hosts: BTreeMap<Ipv4Addr, [u8; 6]>,
        seed: u64,
    ) -> Result<Self, ChaosError> {
        let refused = |error: io::Error| ChaosError::NotAllowed(format!("a tap device: {error}"));
        let tap = Tap::new(NAME).map_err(refused)?;
        tools::feed("ip", &["-batch", "-"], &format!("link set {NAME} master {bridge}\nlink set {NAME} up\n"))?;
        let shared = Arc::<Shared>::default();
        let sharing = shared.clone();
        let worker = thread::Builder::new().name("middleman".into());
        let worker = worker.spawn(move || work(&tap, &hosts, &sharing, seed)).map_err(refused)?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// From now on packets fare like this.
    pub(in crate::chaos) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Packets received so far.
    pub(in crate::chaos) fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }
}

impl Drop for Middleman {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        match self.worker.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => eprintln!("chaos: the tap device failed: {error}"),
            Some(Err(_)) => eprintln!("chaos: the middleman panicked"),
        }
    }
}

fn work(tap: &Tap, hosts: &BTreeMap<Ipv4Addr, [u8; 6]>, shared: &Shared, seed: u64) -> io::Result<()> {
    let mut queue = Queue::new(SimRng::new(seed, STREAM));
    let mut buffer = [0; FRAME_BYTES];
    while !shared.over.load(Ordering::Relaxed) {
        let due = queue.next_due().map(|due| due.saturating_duration_since(Instant::now()));
        wait(tap, due.map_or(LOOK_EVERY, |due| due.min(LOOK_EVERY)))?;
        let manner = *shared.manner.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(frame) = tap.read(&mut buffer)? {
            if redirect(frame, hosts) {
                shared.packets.fetch_add(1, Ordering::Relaxed);
                queue.push(frame, &manner, Instant::now());
            }
        }
        while let Some(frame) = queue.pop(Instant::now()) {
            tap.write(&frame)?;
        }
    }
    Ok(())
}

fn wait(tap: &Tap, at_most: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(at_most).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(tap.file(), PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the hosts' addresses into a frame that was sent here; false if it was not, or its destination is unknown.
fn redirect(frame: &mut [u8], hosts: &BTreeMap<Ipv4Addr, [u8; 6]>) -> bool {
    if frame.len() < IPV4_RECEIVER.end || frame[RECEIVER] != MAC_BYTES || frame[12..14] != IPV4 {
        return false;
    }
    let address: [u8; 4] = frame[IPV4_RECEIVER].try_into().expect("four bytes");
    let Some(receiver) = hosts.get(&Ipv4Addr::from(address)) else { return false };
    frame[RECEIVER].copy_from_slice(receiver);
    // Not the first sender: the switch would look for that one here from now on.
    frame[SENDER].copy_from_slice(&MAC_BYTES);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_to_the_host_that_their_address_names() {
        let hosts = BTreeMap::from([(Ipv4Addr::new(10, 77, 0, 2), [2, 0, 0, 0, 0, 2])]);
        let mut frame = [0; 60];
        frame[SENDER].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&IPV4);
        frame[IPV4_RECEIVER].copy_from_slice(&[10, 77, 0, 2]);
        assert!(!redirect(&mut frame, &hosts), "it was sent to somebody else");
        frame[RECEIVER].copy_from_slice(&MAC_BYTES);
        assert!(redirect(&mut frame, &hosts));
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0xff, 0xfe]);
        frame[RECEIVER].copy_from_slice(&MAC_BYTES);
        frame[IPV4_RECEIVER].copy_from_slice(&[10, 77, 0, 9]);
        assert!(!redirect(&mut frame, &hosts), "nobody has that address");
        assert!(!redirect(&mut frame[..20], &hosts), "too short");
    }
}
