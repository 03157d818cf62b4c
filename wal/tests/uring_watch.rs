//! One ring for files, sockets and a time limit.

mod common;

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::temp_dir;
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode, Ring, UringDisk, Watch};

const EVENTS: i16 = libc::POLLIN | libc::POLLRDHUP;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits on `ring` until what `poll` waits for is ready; polls again only when it was woken.
fn wait_for<T>(ring: &Ring, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let woken = Arc::new(Woken(true.into()));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if woken.0.swap(false, Ordering::Relaxed)
            && let Poll::Ready(output) = poll(&mut context)
        {
            return output;
        }
        ring.wait(None).expect("the ring waits");
    }
}

fn is_silent(watch: &mut Watch) -> bool {
    watch.poll_events(&mut Context::from_waker(Waker::noop())).is_pending()
}

fn pair() -> (Rc<OwnedFd>, UnixStream, UnixStream) {
    let (ours, other) = UnixStream::pair().expect("a pair of sockets");
    let reader = ours.try_clone().expect("a second descriptor");
    (Rc::new(ours.into()), reader, other)
}

#[test]
fn each_change_of_a_socket_is_reported_once() {
    let ring = Ring::new(8).expect("io_uring is allowed here");
    let (socket, mut reader, mut other) = pair();
    let mut watch = ring.watch(&socket, EVENTS);
    assert!(is_silent(&mut watch));
    assert_eq!(ring.wait(Some(Duration::from_millis(1))).expect("the limit is no error"), 0);
    for byte in 0..3 {
        other.write_all(&[byte]).expect("there is room");
        let (events, goes_on) = wait_for(&ring, |cx| watch.poll_events(cx)).expect("it is watched");
        assert_eq!((events, goes_on), (libc::POLLIN, true));
        ring.look();
        assert!(is_silent(&mut watch), "though the byte was not read");
    }
    reader.read_exact(&mut [0; 3]).expect("three bytes");
    drop(other);
    let (events, _) = wait_for(&ring, |cx| watch.poll_events(cx)).expect("it is watched");
    assert_ne!(events & libc::POLLRDHUP, 0, "{events:x}");
}

#[test]
fn a_watch_that_is_dropped_lets_go_of_its_socket() {
    let ring = Ring::new(8).expect("io_uring is allowed here");
    let (socket, _reader, mut other) = pair();
    let mut watch = ring.watch(&socket, EVENTS);
    assert!(is_silent(&mut watch));
    ring.look();
    drop(watch);
    other.write_all(b"nobody looks").expect("there is room");
    while ring.in_flight() > 0 {
        ring.wait(None).expect("the ring waits");
    }
    assert_eq!(Rc::strong_count(&socket), 1);
    // The place is used again: its events are those of the socket that has it now.
    let (second, _reader, mut other) = pair();
    let mut watch = ring.watch(&second, EVENTS);
    other.write_all(b"here").expect("there is room");
    assert_eq!(wait_for(&ring, |cx| watch.poll_events(cx)).expect("it is watched"), (libc::POLLIN, true));
}

#[test]
fn files_go_on_beside_watches_and_the_ring_ends_with_both() {
    let (dir, ring) = (temp_dir(), Ring::new(8).expect("io_uring is allowed here"));
    let disk = UringDisk::on(&ring);
    let watched: Vec<_> = (0..100).map(|_| pair()).collect();
    let watches: Vec<_> = watched.iter().map(|(socket, ..)| ring.watch(socket, EVENTS)).collect();
    let path = dir.path().join("file");
    let file = {
        let mut opening = pin!(disk.open(&path, OpenMode::CreateDirect));
        wait_for(&ring, |cx| opening.as_mut().poll(cx)).expect("created")
    };
    let mut write = Box::pin(file.write_at(0, AlignedBuf::zeroed(4096), Durability::Durable));
    wait_for(&ring, |cx| write.as_mut().poll(cx)).expect("written");
    assert_eq!(ring.in_flight(), watches.len());
    drop(write);
    drop(file);
    drop((disk, ring));
    drop(watches);
    watched.iter().for_each(|(socket, ..)| assert_eq!(Rc::strong_count(socket), 1));
}
