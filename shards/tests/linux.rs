//! The Linux side of the seam: openraft's runtime suite, timers, sockets, and what a panic does.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{IoSlice, Read, Write, pipe},
    net::{Shutdown, SocketAddr},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use kahuna_shards::{
    env::{
        Env, ExitCode, Listener, Net, ReadHalf, Socket, Stream, WriteHalf,
        local::{LocalOneshot, behind_ready_tasks},
    },
    linux::{self, Linux, Runtime, ShardOptions, Tcp, spawn_shard},
};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use openraft::{AsyncRuntime, rt::Oneshot as _};
use openraft_rt::testing::Suite;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

const ANY_PORT: &str = "127.0.0.1:0";
/// Long enough that a test that runs into it has failed.
const LIMIT: Duration = Duration::from_secs(20);

fn any_port() -> SocketAddr {
    ANY_PORT.parse().expect("an address")
}

fn on_shard<T: Send + 'static>(test: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    spawn_shard(ShardOptions::new(0), move || async move { Linux::timeout(LIMIT, test()).await.expect("in time") })
        .expect("a shard")
        .join()
}

#[test]
fn passes_the_runtime_suite_of_openraft() {
    Suite::<Runtime>::test_all();
}

#[test]
fn sleeps_are_never_short() {
    on_shard(async || {
        let tasks = [120_u64, 1, 60, 0, 3, 5, 30].map(|millis| {
            Runtime::spawn(async move {
                let before = Linux::boot_clock();
                Linux::sleep(Duration::from_millis(millis)).await;
                assert!(Linux::boot_clock() - before >= Duration::from_millis(millis), "{millis} ms");
            })
        });
        for task in tasks {
            task.await.expect("a sleep ends");
        }
    });
}

#[test]
fn a_dropped_sleep_leaves_its_slot_to_the_others() {
    on_shard(async || {
        let woken = Rc::new(Cell::new(0));
        for round in 0..100 {
            // Raced against a shorter one and dropped; its place is used again.
            let long = Linux::sleep(Duration::from_millis(40));
            assert!(Linux::timeout(Duration::from_millis(if round == 0 { 6 } else { 0 }), long).await.is_none());
            let woken = woken.clone();
            Linux::spawn(async move {
                Linux::sleep(Duration::from_millis(40)).await;
                woken.set(woken.get() + 1);
            });
        }
        while woken.get() < 100 {
            Linux::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn an_earlier_sleep_interrupts_the_wait_for_a_later_one() {
    on_shard(async || {
        let (done, waited) = LocalOneshot::pair::<()>();
        Linux::spawn(async move {
            Linux::sleep(Duration::from_secs(3600)).await;
            drop(done);
        });
        Linux::sleep(Duration::from_millis(1)).await;
        // Fails by the limit of the test if the queue sleeps the hour.
        assert!(Linux::timeout(Duration::from_millis(20), waited).await.is_none());
    });
}

#[test]
fn who_yields_keeps_neither_timers_nor_sockets_waiting() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (mut client, mut server) =
            (Tcp::connect(addr, LIMIT).await.expect("open"), listener.accept().await.expect("open"));
        let done = Rc::new(Cell::new(false));
        for _ in 0..3 {
            let done = done.clone();
            Linux::spawn(async move {
                while !done.get() {
                    Linux::yield_now().await;
                }
            });
        }
        let echo = Runtime::spawn(async move {
            let mut buf = [0; 8];
            for _ in 0..100 {
                let len = server.read(&mut buf).await.expect("open");
                server.write_all(&buf[..len]).await.expect("open");
            }
        });
        let mut buf = [0; 8];
        for round in 0..100_u64 {
            client.write_all(&round.to_le_bytes()).await.expect("open");
            assert_eq!(client.read(&mut buf).await.expect("open"), 8);
            Linux::sleep(Duration::from_micros(100)).await;
        }
        Linux::sleep(Duration::from_millis(20)).await;
        echo.await.expect("ends");
        done.set(true);
    });
}

#[test]
fn tasks_that_keep_each_other_busy_hold_up_neither_timers_nor_sockets() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let done = Rc::new(Cell::new(false));
        for _ in 0..3 {
            let done = done.clone();
            Linux::spawn(async move {
                while !done.get() {
                    behind_ready_tasks().await;
                }
            });
        }
        let mut client = Tcp::connect(addr, LIMIT).await.expect("open");
        let mut server = listener.accept().await.expect("open");
        for round in 0..100_u64 {
            client.write_all(&round.to_le_bytes()).await.expect("open");
            let mut buf = [0; 8];
            assert_eq!(server.read(&mut buf).await.expect("open"), 8);
            Linux::sleep(Duration::from_micros(100)).await;
        }
        Linux::sleep(Duration::from_millis(20)).await;
        done.set(true);
    });
}

/// The end may have come before the bytes ahead of it were read: nothing is reported after it.
#[test]
fn an_end_right_behind_the_last_bytes_is_read() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        for waits_before in [false, true] {
            let (ends, end) = flume::bounded::<()>(0);
            let client = std::thread::spawn(move || {
                let mut client = std::net::TcpStream::connect(addr).expect("somebody listens");
                client.write_all(b"first").expect("open");
                let _ = end.recv();
                client.write_all(b"last").expect("open");
                client.shutdown(Shutdown::Write).expect("open");
                client
            });
            let mut server = listener.accept().await.expect("a connection");
            let mut buf = [0; 64];
            assert_eq!(server.read(&mut buf).await.expect("open"), 5);
            if waits_before {
                // The socket is watched from here on.
                assert!(Linux::timeout(Duration::from_millis(1), server.read(&mut buf)).await.is_none());
            }
            drop(ends);
            let client = client.join().expect("it writes");
            assert_eq!(server.read(&mut buf).await.expect("open"), 4);
            assert_eq!(server.read(&mut buf).await.expect("open"), 0, "the end");
            assert_eq!(server.read(&mut buf).await.expect("open"), 0, "and again");
            drop(client);
        }
    });
}

/// Claim: what is dropped right before a shard ends is closed, though another task is left behind.
#[test]
fn a_connection_that_is_dropped_last_is_closed() {
    let (port, ports) = flume::bounded(1);
    let shard = spawn_shard(ShardOptions::new(0), move || async move {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        port.send(listener.local_addr().expect("an address")).expect("the test waits");
        let mut server = listener.accept().await.expect("a connection");
        Linux::spawn(Linux::sleep(LIMIT));
        // It is watched from here on.
        assert!(Linux::timeout(Duration::from_millis(1), server.read(&mut [0; 8])).await.is_none());
        drop(server);
    })
    .expect("a shard");
    let mut client = std::net::TcpStream::connect(ports.recv().expect("a port")).expect("somebody listens");
    client.set_read_timeout(Some(LIMIT)).expect("a socket takes a timeout");
    assert_eq!(client.read(&mut [0; 8]).expect("the end, not the time limit"), 0);
    shard.join();
}

/// Claim: a write waits for room, though the other end, which reads late, has ended its own direction.
#[test]
fn a_write_to_a_half_closed_peer_waits_for_room() {
    const MANY: usize = 4 << 20;
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (reads, may_read) = flume::bounded::<()>(0);
        let client = std::thread::spawn(move || {
            let mut client = std::net::TcpStream::connect(addr).expect("somebody listens");
            client.shutdown(Shutdown::Write).expect("open");
            let _ = may_read.recv();
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("readable");
            received.len()
        });
        let mut server = listener.accept().await.expect("a connection");
        assert_eq!(server.read(&mut [0; 8]).await.expect("open"), 0, "the other end's end");
        let polls = Rc::new(Cell::new(0_u32));
        let counted = polls.clone();
        let write = Runtime::spawn(async move {
            let bytes = vec![1; MANY];
            {
                let mut write = std::pin::pin!(server.write_all(&bytes));
                std::future::poll_fn(|cx| {
                    counted.set(counted.get() + 1);
                    write.as_mut().poll(cx)
                })
                .await
                .expect("it is read in the end");
            }
            server.shutdown(Shutdown::Write).expect("open");
        });
        Linux::sleep(Duration::from_millis(50)).await;
        assert!(polls.get() < 20, "{} polls while there is no room", polls.get());
        drop(reads);
        write.await.expect("it ends");
        assert_eq!(client.join().expect("it reads"), MANY);
    });
}

/// Claim: a task that the executor drops, without polling it, keeps nobody asleep whom its end wakes.
#[test]
fn the_end_of_a_dropped_task_is_noticed() {
    on_shard(async || {
        let (held, ended) = LocalOneshot::channel::<()>();
        let waker = Rc::new(RefCell::new(None));
        let kept = waker.clone();
        Linux::spawn(async move {
            let _held = held;
            std::future::poll_fn(|cx| {
                *kept.borrow_mut() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        });
        let is_late = Rc::new(Cell::new(false));
        let late = is_late.clone();
        Linux::spawn(async move {
            Linux::sleep(Duration::from_secs(5)).await;
            late.set(true);
        });
        let listening = Runtime::spawn(async move { ended.await.is_err() });
        Linux::yield_now().await;
        // The task holds its own waker's place: this is the last one.
        let last = waker.borrow_mut().take();
        drop(last);
        assert!(listening.await.expect("it ends"), "the sender went with its task");
        assert!(!is_late.get(), "only the next timer woke it");
    });
}

#[test]
fn no_wake_up_of_another_thread_is_lost() {
    const ROUNDS: u32 = 20_000;
    let (to_second, from_first) = flume::unbounded::<u32>();
    let (to_first, from_second) = flume::unbounded::<u32>();
    let answering = spawn_shard(ShardOptions::new(1), move || async move {
        while let Ok(number) = Linux::across_threads(from_first.recv_async()).await {
            // Now and then the other shard is asleep when it is answered, and this one when it is asked.
            if number % 64 == 0 {
                Linux::sleep(Duration::from_micros(u64::from(number % 7) * 20)).await;
            }
            if to_first.send(number).is_err() {
                break;
            }
        }
    })
    .expect("a shard");
    on_shard(async move || {
        for number in 0..ROUNDS {
            to_second.send(number).expect("the other shard runs");
            loop {
                // What is given up while it is being woken wakes nobody else, and loses nothing.
                let answer = Linux::across_threads(from_second.recv_async());
                let answer = Linux::timeout(Duration::from_micros(u64::from(number % 5) * 10), answer).await;
                if let Some(answer) = answer {
                    assert_eq!(answer.expect("the other shard runs"), number);
                    break;
                }
                if number % 2 == 0 {
                    let answer = Linux::across_threads(from_second.recv_async()).await;
                    assert_eq!(answer.expect("the other shard runs"), number);
                    break;
                }
            }
        }
    });
    answering.join();
}

#[test]
fn bytes_go_both_ways_through_split_connections() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        Linux::spawn(async move {
            let (mut reader, mut writer) = listener.accept().await.expect("a connection").split();
            let mut buf = vec![0; 64 << 10];
            loop {
                let len = reader.read(&mut buf).await.expect("readable");
                if len == 0 {
                    return writer.shutdown(Shutdown::Write).expect("open until now");
                }
                writer.write_all(&buf[..len]).await.expect("writable");
            }
        });
        let (mut reader, mut writer) = Tcp::connect(addr, LIMIT).await.expect("somebody listens").split();
        assert_eq!(reader.peer_addr().expect("connected"), addr);
        // More than the sockets buffer, in slices of all sizes and more of them than one call takes.
        let sent: Vec<u8> = (0..8_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let expected = sent.clone();
        Linux::spawn(async move {
            let mut slices = Vec::new();
            let mut rest = &sent[..];
            for len in (0..4_000).cycle() {
                let (slice, left) = rest.split_at(len.min(rest.len()));
                slices.push(IoSlice::new(slice));
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            writer.write_vectored_all(&mut slices).await.expect("writable");
            writer.write_vectored_all(&mut []).await.expect("nothing to write");
            writer.shutdown(Shutdown::Write).expect("open until now");
        });
        let mut received = Vec::new();
        let mut buf = vec![0; 100_000];
        loop {
            match reader.read(&mut buf).await.expect("readable") {
                0 => break,
                len => received.extend_from_slice(&buf[..len]),
            }
        }
        assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
    });
}

#[test]
fn a_connection_moves_to_another_shard() {
    let (hand_over, taken) = flume::bounded(1);
    let (port, ports) = flume::bounded(1);
    let first = spawn_shard(ShardOptions::new(0), move || async move {
        let mut listener = Tcp::listen(any_port(), true).expect("a free port");
        port.send(listener.local_addr().expect("an address")).expect("the test waits");
        let mut stream = listener.accept().await.expect("a connection");
        let mut hello = [0; 5];
        let len = stream.read(&mut hello).await.expect("readable");
        hand_over.send((stream.detach().expect("a descriptor is left"), hello[..len].to_vec())).expect("a taker");
    })
    .expect("a shard");
    let second = spawn_shard(ShardOptions::new(1), move || async move {
        let (detached, mut unread) = Linux::across_threads(taken.recv_async()).await.expect("a connection");
        let mut stream = Tcp::adopt(detached).expect("a socket");
        let mut buf = [0; 64];
        while unread.len() < 11 {
            let len = stream.read(&mut buf).await.expect("readable");
            assert!(len > 0, "the connection outlives its first shard's handle");
            unread.extend_from_slice(&buf[..len]);
        }
        stream.write_all(&unread).await.expect("writable");
    })
    .expect("a shard");
    let mut client = std::net::TcpStream::connect(ports.recv().expect("a port")).expect("somebody listens");
    client.write_all(b"hello").expect("writable");
    first.join();
    client.write_all(b" world").expect("writable");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("readable");
    assert_eq!(answer, "hello world");
    second.join();
}

#[test]
fn a_taken_port_and_a_dead_one_are_errors() {
    on_shard(async || {
        let listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let taken = Tcp::listen(addr, false).map(drop).expect_err("taken");
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        let dead = Tcp::connect(addr, LIMIT).await.map(drop).expect_err("nobody listens");
        assert_eq!(dead.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn shards_share_a_port_when_asked() {
    on_shard(async || {
        let one = Tcp::listen(any_port(), true).expect("a free port");
        let addr = one.local_addr().expect("an address");
        let two = Tcp::listen(addr, true).expect("shared");
        assert_eq!(two.local_addr().expect("an address"), addr);
    });
}

#[test]
fn shutting_down_ends_a_pending_read() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let silent = Tcp::connect(addr, LIMIT).await.expect("somebody listens");
        let (mut reader, writer) = listener.accept().await.expect("a connection").split();
        let read = Runtime::spawn(async move { reader.read(&mut [0; 8]).await });
        Linux::yield_now().await;
        writer.shutdown(Shutdown::Both).expect("open");
        assert_eq!(read.await.expect("ends").expect("no error"), 0);
        drop(silent);
    });
}

#[test]
fn the_disk_is_driven_by_the_executor() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    on_shard(async move || {
        let disk = linux::disk();
        let file = disk.open(&path, OpenMode::CreateDirect).await.expect("created");
        let mut buf = AlignedBuf::zeroed(4096);
        for block in 0..64_u64 {
            buf[..8].copy_from_slice(&block.to_le_bytes());
            buf = file.write_at(block * 4096, buf, Durability::Durable).await.expect("written");
        }
        let read = file.read_at(63 * 4096, 4096).await.expect("read");
        assert_eq!(read[..8], 63_u64.to_le_bytes());
    });
}

#[test]
fn the_wall_clock_follows_the_offset_and_never_the_host() {
    let host = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as i64;
    let off_by = || Linux::wall_clock().as_millis() as i64 - host();
    assert!(off_by().abs() < 1_000);
    linux::set_wall_clock_offset_ms(-3_600_000);
    assert!((off_by() + 3_600_000).abs() < 1_000);
    // Nothing moved since: a new look at the host's clock finds at most its own slew.
    assert!(Linux::resync_wall_clock().abs() < 1_000_000_000);
    linux::set_wall_clock_offset_ms(0);
    assert!(off_by().abs() < 1_000);
}

/// The child of the next test: a panic in a task nobody waits for.
#[test]
#[ignore = "ends its process; run by the test below"]
fn child_that_panics_on_a_shard() {
    on_shard(async || {
        Linux::spawn(async { panic!("as planned") });
        Linux::sleep(LIMIT).await;
    });
}

#[test]
fn a_panic_on_a_shard_ends_the_process() {
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_that_panics_on_a_shard", "--ignored", "--nocapture"])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(ExitCode::Bug as i32), "{told}");
    assert!(told.contains("as planned") && told.contains("shard-0"), "{told}");
}

/// Claim: it ends the process although stderr is a full pipe that nobody reads.
#[test]
fn a_panic_that_nobody_reads_of_ends_the_process() {
    let (_reader, writer) = pipe().expect("a pipe");
    let blocking = fcntl_getfl(&writer).expect("its flags");
    fcntl_setfl(&writer, blocking | OFlags::NONBLOCK).expect("a pipe may not block");
    let mut full = File::from(OwnedFd::from(writer));
    while full.write(b"x").is_ok() {}
    fcntl_setfl(&full, blocking).expect("a pipe may block");
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_that_panics_on_a_shard", "--ignored", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .expect("runs");
    assert_eq!(child.wait().expect("our own child").code(), Some(ExitCode::Bug as i32));
}
