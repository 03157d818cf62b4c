//! What the demo waits for: signals, lines typed, the end of the script.

use std::io::{self, BufRead};
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    Signal(i32),
    Line(String),
    /// Nothing more will be typed.
    Eof,
    ScriptEnded(io::Result<ExitStatus>),
}

/// All of them in one queue, for the one thread that acts.
#[derive(Debug)]
pub struct Events {
    queue: Receiver<Event>,
    sender: Sender<Event>,
}

impl Events {
    /// Watches for the signals that end a program.
    pub fn watch() -> io::Result<Self> {
        let (sender, queue) = channel();
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let events = sender.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                // A closed queue means that the demo ends already.
                let _ = events.send(Event::Signal(signal));
            }
        })?;
        Ok(Self { queue, sender })
    }

    /// A way to add to the queue.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Reads lines from stdin from now on.
    pub fn watch_stdin(&self) -> io::Result<()> {
        let events = self.sender();
        let read = move || {
            for line in io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if events.send(Event::Line(line)).is_err() {
                    return;
                }
            }
            let _ = events.send(Event::Eof);
        };
        thread::Builder::new().name("stdin".to_owned()).spawn(read).map(drop)
    }

    pub fn next(&mut self) -> Event {
        self.queue.recv().expect("this side keeps a sender")
    }

    /// The next event, if it comes in time.
    pub fn next_within(&mut self, patience: Duration) -> Option<Event> {
        match self.queue.recv_timeout(patience) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this side keeps a sender"),
        }
    }
}
