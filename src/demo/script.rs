//! `--run FILE`: a script instead of a prompt.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::cluster::Cluster;
use super::end::End;
use super::events::{Event, Events};

/// Runs the file with sh and returns its exit code; one that a signal ended counts as 128 and the signal.
pub fn run(file: &Path, cluster: &Cluster, events: &mut Events) -> io::Result<End> {
    let mut command = Command::new("sh");
    command.arg(std::path::absolute(file)?).env("PATH", path()?);
    command.env("KAHUNA_ENDPOINTS", cluster.endpoints()).env("KAHUNA_DEMO_DIR", cluster.dir());
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let ended = events.sender();
    thread::Builder::new().name("script".to_owned()).spawn(move || {
        // A closed queue means that the demo ends already.
        let _ = ended.send(Event::ScriptEnded(child.wait()));
    })?;
    let mut signalled = None;
    loop {
        match events.next() {
            Event::ScriptEnded(status) => {
                let status = status?;
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                return Ok(signalled.map_or(End::Code(u8::try_from(code).unwrap_or(u8::MAX)), End::Signal));
            }
            // The script may clean up; a second signal does not wait for it.
            Event::Signal(signal) if signalled.is_none() => {
                signalled = Some(signal);
                kill_process(pid, Signal::TERM)?;
            }
            Event::Signal(signal) => {
                kill_process(pid, Signal::KILL)?;
                return Ok(End::Signal(signal));
            }
            Event::Line(_) | Event::Eof => {}
        }
    }
}

/// The binary's directory before everything else.
fn path() -> io::Result<OsString> {
    let own = std::env::current_exe()?.parent().map(Path::to_owned);
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let all = own.into_iter().chain(std::env::split_paths(&inherited));
    std::env::join_paths(all).map_err(io::Error::other)
}
