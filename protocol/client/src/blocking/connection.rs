//! One socket: the thread that reads it, and the buffer through which any thread writes to it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::wire::open_stream;

/// How long one write may be stuck before the connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 64 << 10;

/// What happens on a connection before its end.
pub(super) enum Event<'a> {
    Opened,
    Received(&'a [u8]),
}

/// A connection as all threads see it.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Set once, when it is connected.
    stream: OnceLock<TcpStream>,
    out: Mutex<Out>,
}

#[derive(Debug, Default)]
struct Out {
    bytes: Vec<u8>,
    /// A thread is writing; it takes along what is put here meanwhile.
    writing: bool,
    closed: bool,
}

impl Connection {
    /// Puts bytes behind those that wait to be written. Called under the core's lock, so in the core's order.
    pub(super) fn queue(&self, bytes: Vec<u8>) {
        let mut out = self.out.lock().expect("no thread panics while it holds an out buffer");
        if out.bytes.is_empty() {
            out.bytes = bytes;
        } else {
            out.bytes.extend_from_slice(&bytes);
        }
    }

    /// Writes what waits, unless another thread is at it. A failure shuts the socket down: its reader learns of it.
    pub(super) fn flush(&self) {
        let Some(mut stream) = self.stream.get() else { return };
        let mut out = self.out.lock().expect("no thread panics while it holds an out buffer");
        if out.writing {
            return;
        }
        while !out.bytes.is_empty() {
            let bytes = std::mem::take(&mut out.bytes);
            out.writing = true;
            drop(out);
            if stream.write_all(&bytes).is_err() {
                self.close();
            }
            out = self.out.lock().expect("no thread panics while it holds an out buffer");
            out.writing = false;
        }
    }

    /// Ends the connection, also one that is still being made.
    pub(super) fn close(&self) {
        self.out.lock().expect("no thread panics while it holds an out buffer").closed = true;
        if let Some(stream) = self.stream.get() {
            // It fails if the connection is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Connects to `endpoint`, hands what happens to `on_event`, and closes the connection at its end. Gives the reason of
    /// the end. For one thread, once.
    pub(super) fn run(&self, endpoint: &str, connect_timeout: Duration, on_event: impl FnMut(Event<'_>)) -> String {
        let reason = match self.read_to_end(endpoint, connect_timeout, on_event) {
            Ok(()) => String::from("the node closed the connection"),
            Err(error) => error.to_string(),
        };
        self.close();
        reason
    }

    fn read_to_end(
        &self,
        endpoint: &str,
        connect_timeout: Duration,
        mut on_event: impl FnMut(Event<'_>),
    ) -> io::Result<()> {
        let stream = open_stream(endpoint, connect_timeout)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let mut reading = stream.try_clone()?;
        if !self.establish(stream) {
            return Ok(());
        }
        on_event(Event::Opened);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match reading.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => on_event(Event::Received(&buffer[..count])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes the socket known; `false` when the connection was closed meanwhile.
    fn establish(&self, stream: TcpStream) -> bool {
        self.stream.set(stream).expect("a connection is made once");
        !self.out.lock().expect("no thread panics while it holds an out buffer").closed
    }
}
