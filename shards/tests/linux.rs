//! The Linux side of the seam: openraft's runtime suite, tasks, timers, other threads, the disk, and what a panic does.

mod linux_support;

use std::{
    cell::{Cell, RefCell},
    fs::File,
    io::{Write, pipe},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use kahuna_shards::{
    env::{
        Env, ExitCode, Listener, Net, ReadHalf, WriteHalf,
        local::{LocalOneshot, behind_ready_tasks},
    },
    linux::{self, Linux, Runtime, ShardOptions, Tcp, spawn_shard},
};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use linux_support::{LIMIT, any_port, on_shard};
use openraft::{AsyncRuntime, rt::Oneshot as _};
use openraft_rt::testing::Suite;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

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
