//! Lines for the operator on stderr and stdout. Product code writes them only through this file.
//!
//! ```text
//!   a command of a person        say! ──────────────────────────────▶ stderr      it may wait, as any command
//!   a process that runs a node   say! ──▶ queue, MAX_QUEUED_BYTES ──▶ a thread ──▶ stderr
//! ```
//! Nothing here fails, and on a shard nothing here waits: the reader of the lines may have ended, have no room, or have
//! stopped reading, and the node runs on. A line that cannot be written is dropped and counted; the next line that can be
//! written is preceded by the count.

use std::backtrace::Backtrace;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that wait for the thread; a line beyond them is dropped.
const MAX_QUEUED_BYTES: usize = 256 << 10;
/// How long the end of the process waits for lines that were not written yet.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Writes a line to stderr: arguments as of `format!`, without the line's end.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::env::say(format_args!($($argument)*)) };
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// Lines on their way, in order.
struct Lines {
    /// A thread of its own writes the lines.
    in_background: bool,
    queue: VecDeque<(Stream, String)>,
    queued_bytes: usize,
    /// The thread has taken lines out of the queue and is not done with them.
    writing: bool,
    /// Dropped lines that were not reported yet.
    lost: u64,
}

static LINES: Mutex<Lines> =
    Mutex::new(Lines { in_background: false, queue: VecDeque::new(), queued_bytes: 0, writing: false, lost: 0 });
/// A line was queued, or the queue was written.
static CHANGED: Condvar = Condvar::new();

/// A panic while it was locked left whole lines behind.
fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line to stderr; see [`say!`](crate::say).
pub fn say(line: fmt::Arguments<'_>) {
    put(Stream::Stderr, format!("{line}\n"));
}

/// Writes a line to stdout, for the program that started the process.
pub fn announce(line: fmt::Arguments<'_>) {
    put(Stream::Stdout, format!("{line}\n"));
}

/// Lines are written by a thread of their own from now on, so that no shard waits for their reader. If the system refuses
/// the thread, lines are written as before.
pub fn say_in_background() {
    let mut state = lines();
    if !state.in_background {
        state.in_background = thread::Builder::new().name("say".to_owned()).spawn(write_queued).is_ok();
    }
}

/// Waits until all queued lines are written, half a second at most. Call it before the process ends.
pub fn flush_said() {
    let until = Instant::now() + FLUSH_LIMIT;
    let mut state = lines();
    while !state.queue.is_empty() || state.writing {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = CHANGED.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Writes the text of a panic hook, and waits until it is written, half a second at most. The standard library's hook would
/// wait for a reader without limit.
pub fn say_panic(info: &PanicHookInfo<'_>) {
    say_in_background();
    let thread = thread::current();
    say(format_args!("thread '{}' {info}\n{}", thread.name().unwrap_or("unnamed"), Backtrace::capture()));
    flush_said();
}

fn put(stream: Stream, line: String) {
    let mut state = lines();
    if !state.in_background {
        let lost = std::mem::take(&mut state.lost);
        state.lost = write(stream, &line, lost);
    } else if state.queued_bytes + line.len() > MAX_QUEUED_BYTES {
        state.lost += 1;
    } else {
        state.queued_bytes += line.len();
        state.queue.push_back((stream, line));
        drop(state);
        CHANGED.notify_all();
    }
}

/// The thread's life: it ends with the process.
fn write_queued() {
    let mut state = lines();
    loop {
        if state.queue.is_empty() {
            state.writing = false;
            CHANGED.notify_all();
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state.writing = true;
        state.queued_bytes = 0;
        let (queue, mut lost) = (std::mem::take(&mut state.queue), std::mem::take(&mut state.lost));
        drop(state);
        for (stream, line) in queue {
            lost = write(stream, &line, lost);
        }
        state = lines();
        state.lost += lost;
    }
}

/// Writes a line, behind the count of those that were `lost` before. Gives what is lost afterwards.
fn write(stream: Stream, line: &str, lost: u64) -> u64 {
    let told = match lost {
        0 => Ok(()),
        _ => write_to(Stream::Stderr, &format!("kahuna: {lost} lines could not be written before this one\n")),
    };
    let lost = if told.is_ok() { 0 } else { lost };
    lost + u64::from(write_to(stream, line).is_err())
}

fn write_to(stream: Stream, text: &str) -> io::Result<()> {
    match stream {
        Stream::Stderr => io::stderr().write_all(text.as_bytes()),
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }
    }
}
