//! The ring owns what the kernel works on: futures may be dropped at any time, buffers come back, completions are counted.

mod common;

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;

use common::{disk, temp_dir};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, LogOptions, OpenMode, block_on};
use rustix::fs::{FlockOperation, flock};

#[test]
fn bytes_come_back_and_a_read_ends_with_the_file() {
    let (dir, ring) = (temp_dir(), disk());
    let path = dir.path().join("file");
    block_on(&ring, async {
        let file = ring.open(&path, OpenMode::CreateDirect).await.expect("created");
        file.allocate_zeroed(3 << 20).await.expect("allocated");
        assert_eq!(file.len().await.expect("a length"), 3 << 20);
        let mut buf = AlignedBuf::zeroed(1 << 20);
        buf.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 4096) as u8);
        let memory = buf.as_ptr();
        let buf = file.write_at(1 << 20, buf, Durability::Durable).await.expect("written");
        assert_eq!(buf.as_ptr(), memory, "the same buffer comes back");
        file.sync().await.expect("synced");
        let reader = ring.open(&path, OpenMode::Read).await.expect("opened");
        let read = reader.read_at((1 << 20) - 100, 200).await.expect("read");
        assert_eq!((&read[..100], &read[100..]), (&[0; 100][..], &buf[..100]));
        assert_eq!(reader.read_at((3 << 20) - 10, 4096).await.expect("read").len(), 10);
        assert_eq!(reader.read_at(4 << 20, 10).await.expect("read").len(), 0);
        file.truncate(100).await.expect("cut");
        assert_eq!(reader.len().await.expect("a length"), 100);
    });
}

#[test]
fn names_are_listed_renamed_and_removed() {
    let (dir, ring) = (temp_dir(), disk());
    let nested = dir.path().join("a/b");
    block_on(&ring, async {
        assert!(!ring.exists(&nested).await.expect("an answer"));
        ring.create_dir_all(&nested).await.expect("created");
        for name in ["two", "one"] {
            let file = ring.open(&nested.join(name), OpenMode::Create).await.expect("created");
            file.write_at(0, AlignedBuf::copy_of(b"any length"), Durability::Buffered).await.expect("written");
        }
        ring.rename(&nested.join("two"), &nested.join("three")).await.expect("renamed");
        ring.sync_dir(&nested).await.expect("synced");
        let names: Vec<(String, u64)> =
            ring.list(&nested).await.expect("listed").into_iter().map(|entry| (entry.name, entry.len)).collect();
        assert_eq!(names, [("one".to_owned(), 10), ("three".to_owned(), 10)]);
        ring.remove(&nested.join("one")).await.expect("removed");
        assert_eq!(ring.list(&nested).await.expect("listed").len(), 1);
        let missing = ring.open(&nested.join("one"), OpenMode::WriteDirect).await;
        assert_eq!(missing.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    });
}

#[test]
fn a_dropped_future_gives_up_the_answer_not_the_write() {
    let (dir, ring) = (temp_dir(), disk());
    let path = dir.path().join("file");
    block_on(&ring, async {
        let file = ring.open(&path, OpenMode::CreateDirect).await.expect("created");
        file.allocate_zeroed(1 << 20).await.expect("allocated");
        for block in 0..64u8 {
            let mut buf = AlignedBuf::zeroed(4096);
            buf.fill(block + 1);
            // Dropped with the kernel at work.
            give_up(file.write_at(u64::from(block) * 4096, buf, Durability::Durable)).await;
        }
        drop(file);
        assert!(ring.in_flight() <= 64);
    });
    // The last handle waits for the kernel before buffers and files go.
    drop(ring);
    let written = std::fs::read(&path).expect("the file can be read");
    for block in 0..64u8 {
        assert!(written[usize::from(block) * 4096..][..4096].iter().all(|&byte| byte == block + 1), "block {block}");
    }
}

/// Polls `future` once, which submits its first operation, and drops it.
async fn give_up<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await;
}

/// How many descriptors this process has of the file at `path`.
fn descriptors(path: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("every Linux has it");
    // One that other threads close meanwhile is none of ours.
    open.filter(|fd| {
        let link = fd.as_ref().map(|fd| std::fs::read_link(fd.path()));
        matches!(link, Ok(Ok(target)) if target == path)
    })
    .count()
}

#[test]
fn a_dropped_opening_leaves_no_descriptor() {
    let (dir, ring) = (temp_dir(), disk());
    let path = dir.path().join("file");
    for _ in 0..100 {
        block_on(&ring, give_up(ring.open(&path, OpenMode::CreateDirect)));
        assert!(path.exists(), "it was opened all the same");
        assert_eq!((ring.in_flight(), descriptors(&path)), (0, 0));
    }
    // The same with the answer there already.
    block_on(&ring, async {
        let mut opening = Box::pin(ring.open(&path, OpenMode::Read));
        poll_fn(|context| Poll::Ready(opening.as_mut().poll(context).is_ready())).await;
        while ring.in_flight() > 0 {
            ring.look();
        }
        assert_eq!(descriptors(&path), 1);
        drop(opening);
    });
    assert_eq!(descriptors(&path), 0);
}

#[test]
fn a_file_closes_with_its_last_operation() {
    let (dir, ring) = (temp_dir(), disk());
    let path = dir.path().join("file");
    block_on(&ring, async {
        let file = ring.open(&path, OpenMode::CreateDirect).await.expect("created");
        assert_eq!(descriptors(&path), 1);
        for block in 0..16 {
            give_up(file.write_at(block * 4096, AlignedBuf::zeroed(4096), Durability::Durable)).await;
        }
        drop(file);
    });
    assert_eq!(descriptors(&path), 0);
    assert_eq!(std::fs::metadata(&path).expect("a file").len(), 16 * 4096, "all was written before");
    // A file that outlives every other handle of the ring.
    let file = block_on(&ring, ring.open(&path, OpenMode::Read)).expect("opened");
    drop(ring);
    drop(file);
    assert_eq!(descriptors(&path), 0);
}

#[test]
fn what_is_given_up_midway_happens() {
    let (dir, ring) = (temp_dir(), disk());
    let [one, two, nested] = ["one", "two", "nested"].map(|name| dir.path().join(name));
    std::fs::write(&one, [7; 8192]).expect("there is room");
    block_on(&ring, give_up(ring.rename(&one, &two)));
    assert!(!one.exists() && two.exists());
    block_on(&ring, async {
        let file = ring.open(&two, OpenMode::WriteDirect).await.expect("opened");
        give_up(file.truncate(100)).await;
    });
    assert_eq!(std::fs::read(&two).expect("a file"), [7; 100]);
    block_on(&ring, async {
        // The first question is whether it is there, the second makes it.
        let mut making = pin!(ring.create_dir_all(&nested));
        poll_fn(|context| Poll::Ready(making.as_mut().poll(context).is_ready() || nested.exists())).await
    });
    block_on(&ring, ring.create_dir_all(&nested)).expect("it may be there");
    assert!(nested.is_dir());
}

#[test]
fn errors_are_those_of_the_system() {
    let (dir, ring) = (temp_dir(), disk());
    let [missing, file, sub] = ["missing", "file", "sub"].map(|name| dir.path().join(name));
    std::fs::write(&file, b"here").expect("there is room");
    block_on(&ring, async {
        ring.create_dir_all(&sub).await.expect("made");
        let kinds = [
            ring.open(&missing, OpenMode::Read).await.map(drop),
            ring.open(&missing.join("file"), OpenMode::CreateDirect).await.map(drop),
            ring.rename(&missing, &file).await,
            ring.remove(&missing).await,
            ring.sync_dir(&missing).await,
        ]
        .map(|answer| answer.expect_err("it is missing").kind());
        assert_eq!(kinds, [ErrorKind::NotFound; 5]);
        let kinds = [
            ring.rename(&file, &sub).await.expect_err("a directory is there").kind(),
            ring.remove(&sub).await.expect_err("a directory").kind(),
            ring.open(&sub, OpenMode::Create).await.map(drop).expect_err("a directory").kind(),
            ring.sync_dir(&file).await.expect_err("a file").kind(),
            ring.create_dir_all(&file.join("below")).await.expect_err("a file").kind(),
        ];
        let not_dir = ErrorKind::NotADirectory;
        assert_eq!(kinds, [[ErrorKind::IsADirectory; 3].as_slice(), &[not_dir; 2]].concat()[..]);
        let reader = ring.open(&file, OpenMode::Read).await.expect("opened");
        assert_eq!(reader.truncate(1).await.expect_err("for reading only").kind(), ErrorKind::InvalidInput);
        let odd = dir.path().join("a\0b");
        assert_eq!(ring.rename(&odd, &file).await.expect_err("no name").kind(), ErrorKind::InvalidInput);
    });
    assert_eq!(std::fs::read(&file).expect("a file"), b"here");
}

/// The reserve is still being made when the log closes: no file of it stays open behind the end, under an operation whose
/// answer nobody takes.
#[test]
fn a_closed_log_leaves_no_file_open_for_writing() {
    let (dir, ring) = (temp_dir(), disk());
    let options = LogOptions { segment_bytes: 8 << 20, ..LogOptions::default() };
    let (log, _) = common::open(&ring, &ring, dir.path(), &options).expect("the log opens");
    // With something to write first: a log that is opened and closed ends before the reserve is begun.
    let appended = log.append_durable(1, [common::entry(1, "an entry")]);
    block_on(&ring, common::close(&log)).expect("closed");
    block_on(&ring, appended).expect("written before the log closed");
    for entry in std::fs::read_dir(dir.path()).expect("readable") {
        let path = entry.expect("an entry").path();
        let file = std::fs::File::open(&path).expect("readable");
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// A pipe by name: the one file whose reads and writes the kernel really does in parts.
fn named_pipe(dir: &Path) -> std::path::PathBuf {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let path = dir.join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
    path
}

#[test]
fn a_read_that_the_kernel_does_in_parts_goes_on() {
    let (dir, ring) = (temp_dir(), disk());
    let path = named_pipe(dir.path());
    let sent: Vec<u8> = (0..100u8).collect();
    let writer = std::thread::spawn({
        let (path, sent) = (path.clone(), sent.clone());
        move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).expect("the reader is there");
            for part in sent.chunks(30) {
                std::io::Write::write_all(&mut pipe, part).expect("the reader is there");
                // The next part follows once this one was taken: no read can give more than one.
                while rustix::io::ioctl_fionread(&pipe).expect("a pipe") > 0 {
                    std::thread::yield_now();
                }
            }
        }
    });
    let read = block_on(&ring, async {
        let file = ring.open(&path, OpenMode::Read).await.expect("opened");
        file.read_at(0, sent.len()).await.expect("read")
    });
    writer.join().expect("all was sent");
    assert_eq!(read[..], sent);
}

#[test]
fn a_write_that_the_kernel_does_in_parts_goes_on() {
    let (dir, ring) = (temp_dir(), disk());
    let path = named_pipe(dir.path());
    // Several times what a pipe holds.
    let sent: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 1000) as u8).collect();
    let file = block_on(&ring, ring.open(&path, OpenMode::Create)).expect("opened");
    let mut pipe = std::fs::File::open(&path).expect("the writer is there");
    let count = sent.len();
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; count];
        std::io::Read::read_exact(&mut pipe, &mut received).expect("all is sent");
        received
    });
    block_on(&ring, file.write_at(0, AlignedBuf::copy_of(&sent), Durability::Buffered)).expect("written");
    // Ends the reader if anything is missing.
    drop(file);
    assert!(reader.join().expect("all was received") == sent);
}
