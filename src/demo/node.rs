//! One server process of the demo.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

use super::ports::Claim;

/// How it stands with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Paused,
    Dead,
}

/// A node: its place, and its process if it has one.
#[derive(Debug)]
pub struct Node {
    pub id: u16,
    client: Claim,
    peer: Claim,
    data: PathBuf,
    log: PathBuf,
    flags: Vec<String>,
    child: Option<Child>,
    paused: bool,
}

impl Node {
    /// A node that is not started yet. `flags` are what its `serve` gets beyond its own place.
    pub fn new(dir: &Path, id: u16, client: Claim, peer: Claim, flags: &[String]) -> Self {
        let data = dir.join(format!("node-{id}"));
        let own = [
            "serve".to_owned(),
            format!("--node-id={id}"),
            format!("--listen=127.0.0.1:{}", client.port),
            format!("--peer-listen=127.0.0.1:{}", peer.port),
            format!("--data-dir={}", data.display()),
        ];
        let flags = own.iter().chain(flags).cloned().collect();
        let log = dir.join(format!("node-{id}.log"));
        Self { id, client, peer, data, log, flags, child: None, paused: false }
    }

    /// Where clients reach it.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client.port)
    }

    /// Where clients and where the other nodes reach it.
    pub fn ports(&self) -> (u16, u16) {
        (self.client.port, self.peer.port)
    }

    /// Starts the process. It is killed by the kernel when this thread ends, which must therefore be the main one.
    pub fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&self.flags).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KAHUNA_")) {
            command.env_remove(name);
        }
        // Ctrl-C is the demo's to handle.
        command.process_group(0);
        let parent = rustix::process::getpid();
        let tie_to_parent = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        };
        // SAFETY: between fork and exec this makes two system calls and allocates nothing.
        unsafe { command.pre_exec(tie_to_parent) };
        self.child = Some(command.spawn()?);
        self.paused = false;
        Ok(())
    }

    /// Whether it runs; learns of a process that ended by itself.
    pub fn state(&mut self) -> State {
        let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        if ended {
            self.child = None;
        }
        match (&self.child, self.paused) {
            (None, _) => State::Dead,
            (Some(_), true) => State::Paused,
            (Some(_), false) => State::Running,
        }
    }

    /// kill -9, and waits for the end.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP or SIGCONT.
    pub fn pause(&mut self, pause: bool) -> io::Result<()> {
        if let Some(child) = &self.child {
            kill_process(Pid::from_child(child), if pause { Signal::STOP } else { Signal::CONT })?;
            self.paused = pause;
        }
        Ok(())
    }

    /// The process, if there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The last lines it printed.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Its line in nodes.json.
    pub fn json(&self) -> Json {
        json!({
            "id": self.id,
            "pid": self.pid(),
            "ports": { "client": self.client.port, "peer": self.peer.port },
            "endpoint": self.endpoint(),
            "data": self.data,
            "log": self.log,
            "command": self.flags,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that ended by itself cannot be killed any more.
        let _ = self.kill();
    }
}
