//! The channels and the mutex under cancellation, polled by hand: order, hand-over, nothing lost.

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, Mutex as StdMutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use kahuna_shards::env::local;
use kahuna_shards::env::local::{
    LocalMpsc, LocalMutex, LocalOneshot, LocalWatch, SenderDropped, keep_quiet, polled, speak_up,
};
use openraft::rt::{
    Mpsc, MpscReceiver, MpscSender, MpscWeakSender, Mutex, TryRecvError, Watch, WatchReceiver, WatchSender,
};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// A waker that writes its number down.
struct Numbered(usize, Arc<StdMutex<Vec<usize>>>);

impl Wake for Numbered {
    fn wake(self: Arc<Self>) {
        self.1.lock().expect("no panic").push(self.0);
    }
}

#[test]
fn a_full_channel_serves_its_senders_in_order() {
    let (tx, mut rx) = LocalMpsc::channel(1);
    ready(tx.send(1)).expect("open");
    let (mut two, mut three) = (pin!(tx.send(2)), pin!(tx.send(3)));
    assert!(poll(two.as_mut()).is_pending() && poll(three.as_mut()).is_pending());
    assert_eq!(rx.try_recv(), Ok(1));
    // The free slot is promised: neither a newcomer nor the next in line takes it.
    assert!(poll(pin!(tx.send(4))).is_pending());
    assert!(poll(three.as_mut()).is_pending());
    assert!(poll(two.as_mut()).is_ready());
    assert_eq!(ready(rx.recv()), Some(2));
    assert!(poll(three.as_mut()).is_ready());
    assert_eq!(ready(rx.recv()), Some(3));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

/// What a task that keeps quiet sends is found with the next message that wakes the receiver, and wakes it by itself once
/// there is much of it, or no room for more.
#[test]
fn a_quiet_message_wakes_nobody_and_is_not_lost() {
    let woken = Arc::new(StdMutex::new(Vec::new()));
    let waker = Waker::from(Arc::new(Numbered(1, woken.clone())));
    let wakes = || woken.lock().expect("no panic").drain(..).count();
    let (tx, mut rx) = LocalMpsc::channel(1000);
    let waits = |rx: &mut local::MpscReceiver<u32>| pin!(rx.recv()).poll(&mut Context::from_waker(&waker)).is_pending();

    assert!(waits(&mut rx));
    polled(|| {
        keep_quiet();
        ready(tx.send(1)).expect("open");
        // A task that runs inside this one speaks, and leaves this one as it is.
        let (other, mut heard) = LocalMpsc::channel(1);
        assert!(waits(&mut heard));
        polled(|| ready(other.send(0)).expect("open"));
        assert_eq!(wakes(), 1);
        ready(tx.send(2)).expect("open");
        assert_eq!(wakes(), 0);
        speak_up();
        ready(tx.send(3)).expect("open");
        assert_eq!(wakes(), 1);
    });
    assert_eq!([(); 4].map(|()| rx.try_recv().ok()), [Some(1), Some(2), Some(3), None]);

    assert!(waits(&mut rx));
    polled(|| {
        keep_quiet();
        (0..500).for_each(|number| ready(tx.send(number)).expect("open"));
    });
    assert_eq!((wakes(), rx.try_recv()), (1, Ok(0)));
    ready(tx.send(500)).expect("open");

    let (tx, mut rx) = LocalMpsc::channel(1);
    assert!(waits(&mut rx));
    polled(|| {
        keep_quiet();
        ready(tx.send(1)).expect("open");
    });
    assert_eq!((wakes(), rx.try_recv()), (1, Ok(1)));
}

#[test]
fn a_cancelled_send_gives_its_promised_slot_on() {
    let (tx, mut rx) = LocalMpsc::channel(1);
    ready(tx.send(1)).expect("open");
    let mut two = Box::pin(tx.send(2));
    let mut never = Box::pin(tx.send(0));
    let mut three = pin!(tx.send(3));
    assert!(poll(two.as_mut()).is_pending() && poll(never.as_mut()).is_pending() && poll(three.as_mut()).is_pending());
    // One leaves while it waits, one after it was promised the slot.
    drop(never);
    assert_eq!(rx.try_recv(), Ok(1));
    drop(two);
    assert!(poll(three.as_mut()).is_ready());
    assert_eq!(ready(rx.recv()), Some(3));
    ready(tx.send(4)).expect("the slot was given back");
}

#[test]
fn a_gone_receiver_fails_blocked_senders_and_drops_what_is_queued() {
    let (tx, rx) = LocalMpsc::channel(1);
    let message = Rc::new(());
    ready(tx.send(message.clone())).expect("open");
    let mut blocked = Box::pin(tx.send(message.clone()));
    assert!(poll(blocked.as_mut()).is_pending());
    drop(rx);
    match poll(blocked.as_mut()) {
        Poll::Ready(Err(refused)) => assert!(Rc::ptr_eq(&refused.0, &message), "given back"),
        _ => panic!("the channel is closed"),
    }
    assert_eq!(Rc::strong_count(&message), 1, "the queued one was dropped");
    let weak = tx.downgrade();
    assert!(weak.upgrade().is_some());
    drop(tx.clone());
    drop(blocked);
    assert!(weak.upgrade().is_some(), "one sender is left");
    drop(tx);
    assert!(weak.upgrade().is_none());
}

/// A message that holds a sender of its own channel.
struct Looped(#[allow(dead_code, reason = "held to be dropped")] Option<<LocalMpsc as Mpsc>::Sender<Looped>>);

#[test]
fn a_message_may_hold_its_own_channel() {
    let (tx, rx) = LocalMpsc::channel(2);
    assert!(ready(tx.send(Looped(Some(tx.clone())))).is_ok());
    drop(tx);
    drop(rx);
}

#[test]
fn a_lock_is_handed_over_in_order_and_past_who_gave_up() {
    let mutex = LocalMutex::new(0);
    let held = ready(mutex.lock());
    let mut gives_up = Box::pin(mutex.lock());
    let mut gives_up_late = Box::pin(mutex.lock());
    let mut next = pin!(mutex.lock());
    for waiting in [gives_up.as_mut(), gives_up_late.as_mut()] {
        assert!(poll(waiting).is_pending());
    }
    assert!(poll(next.as_mut()).is_pending());
    drop(gives_up);
    drop(held);
    // Handed to the second, who may not lose it to a newcomer, and passes it on by going.
    assert!(poll(pin!(mutex.lock())).is_pending());
    drop(gives_up_late);
    let Poll::Ready(mut guard) = poll(next.as_mut()) else { panic!("its turn") };
    *guard += 1;
    drop(guard);
    assert_eq!(*ready(mutex.lock()), 1);
}

#[test]
fn watchers_are_woken_in_the_order_in_which_they_came() {
    let (tx, rx) = LocalWatch::channel(0);
    let woken = Arc::new(StdMutex::new(Vec::new()));
    let mut receivers: Vec<_> = (0..5).map(|_| rx.clone()).collect();
    let mut waits: Vec<_> = receivers.iter_mut().map(|receiver| Box::pin(receiver.changed())).collect();
    for (number, wait) in waits.iter_mut().enumerate() {
        let waker = Waker::from(Arc::new(Numbered(number, woken.clone())));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(waits.remove(2));
    tx.send(1).expect("watched");
    assert_eq!(*woken.lock().expect("no panic"), [0, 1, 3, 4]);
    assert!(waits.iter_mut().all(|wait| poll(wait.as_mut()) == Poll::Ready(Ok(()))));
    drop(waits);
    drop(tx);
    assert!(ready(receivers[2].changed()).is_ok(), "what was sent before is seen before the end");
    assert!(ready(receivers[2].changed()).is_err());
}

#[test]
fn a_oneshot_tells_both_sides_when_the_other_is_gone() {
    let (tx, rx) = LocalOneshot::pair::<u8>();
    let mut rx = Box::pin(rx);
    let wakes = Arc::new(StdMutex::new(Vec::new()));
    let waker = Waker::from(Arc::new(Numbered(7, wakes.clone())));
    assert!(rx.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(tx);
    assert_eq!(*wakes.lock().expect("no panic"), [7]);
    assert_eq!(ready(rx), Err(SenderDropped));
    let (tx, rx) = LocalOneshot::pair();
    assert!(!tx.is_closed());
    drop(rx);
    assert!(tx.is_closed());
    assert_eq!(tx.send(5), Err(5));
}

#[test]
fn a_value_that_nobody_took_is_dropped() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (tx, rx) = LocalOneshot::pair();
    assert!(tx.send(Counted).is_ok());
    drop(rx);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}
