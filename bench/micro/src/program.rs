//! The binary under measurement, as a process.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How to run it.
pub struct Program {
    kahuna: PathBuf,
    data: PathBuf,
    shards: u32,
    clients: String,
    peers: String,
}

/// A running node; killed when dropped.
pub struct Node(Child);

impl Program {
    /// `kahuna` on the directory `data`, on two free ports.
    ///
    /// # Errors
    /// There are none.
    pub fn new(kahuna: PathBuf, data: PathBuf, shards: u32) -> io::Result<Self> {
        let free = || Ok::<_, io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
        Ok(Self { kahuna, data, shards, clients: free()?, peers: free()? })
    }

    /// Where its clients connect.
    pub fn clients(&self) -> &str {
        &self.clients
    }

    /// Starts the node; returns at once.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn start(&self) -> io::Result<Node> {
        let mut command = Command::new(&self.kahuna);
        command.arg("serve").arg("--data-dir").arg(&self.data).args(["--shards", &self.shards.to_string()]);
        command.args(["--listen", &self.clients, "--peer-listen", &self.peers]);
        Ok(Node(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// Runs one command against the node; whether it succeeded.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn ask(&self, arguments: &[&str]) -> io::Result<bool> {
        let mut command = Command::new(&self.kahuna);
        command.args(arguments).args(["--endpoints", &self.clients, "--timeout", "1s"]);
        Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    }

    /// What the data directory takes, in megabytes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn disk_mb(&self) -> io::Result<f64> {
        Ok(bytes_below(&self.data)? as f64 / 1e6)
    }
}

impl Node {
    /// The most memory it had resident so far, in megabytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn peak_mb(&self) -> io::Result<f64> {
        self.memory_mb("VmHWM:")
    }

    /// The memory that it has resident, in megabytes.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_mb(&self) -> io::Result<f64> {
        self.memory_mb("VmRSS:")
    }

    fn memory_mb(&self, name: &str) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        Ok(kib.ok_or(io::ErrorKind::InvalidData)? * 1024.0 / 1e6)
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// It cannot be ended.
    pub fn kill(mut self) -> io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn bytes_below(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
