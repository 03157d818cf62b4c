//! One node of its own for each test, and the commands that talk to it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;

/// The binary, with nothing inherited that could change what it does.
pub fn kahuna() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kahuna"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KAHUNA_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let code = output.status.code().expect("no signal ended it");
        Self { code, out: output.stdout, err: String::from_utf8(output.stderr).expect("messages are text") }
    }

    /// stdout as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).expect("text")
    }

    /// stdout as one JSON object, whose first name is `outcome`.
    pub fn json(&self) -> Json {
        assert!(self.text().starts_with("{\"outcome\":\""), "{self:?}");
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A node of one partition, on ports that the kernel picked, in a directory of its own.
pub struct Node {
    child: Option<Child>,
    flags: Vec<&'static str>,
    pub endpoint: String,
    /// Where other nodes would connect.
    pub peer_endpoint: String,
    pub dir: TempDir,
}

impl Node {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A node that was never started.
    pub fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self { child: None, flags: Vec::new(), endpoint: String::new(), peer_endpoint: String::new(), dir }
    }

    /// With more flags.
    pub fn start_with(flags: &[&'static str]) -> Self {
        let mut node = Self::new();
        node.flags = flags.to_vec();
        node.start_again();
        node
    }

    /// Starts it on what is in its directory.
    pub fn start_again(&mut self) {
        self.start_telling(Stdio::inherit());
    }

    /// The same with its messages to `err`.
    pub fn start_telling(&mut self, err: impl Into<Stdio>) {
        let mut command = kahuna();
        command.args(["serve", "--partitions", "4", "--shards", "1", "--data-dir"]).arg(self.data());
        command.args(["--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"]).args(&self.flags);
        let mut child = command.stdout(Stdio::piped()).stderr(err).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let listening = lines.map_while(Result::ok).find(|line| line.starts_with("listening on"));
        self.child = Some(child);
        let listening = listening.expect("the node listens");
        let word = |at| listening.split(' ').nth(at).expect("an address").to_owned();
        (self.endpoint, self.peer_endpoint) = (word(2), word(6));
    }

    pub fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).expect("our own child");
    }

    /// How it ended, which it was told to.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.take().expect("it runs").wait().expect("our own child").code()
    }

    /// The binary, told where this node is.
    pub fn command(&self) -> Command {
        let mut command = kahuna();
        command.env("KAHUNA_ENDPOINTS", &self.endpoint);
        command
    }

    /// Runs a command given as one line; words hold no blanks.
    pub fn run(&self, line: &str) -> Ended {
        Ended::of(self.command().args(line.split(' ')).output().expect("the binary runs"))
    }

    /// The same with `input` on stdin.
    pub fn run_with(&self, line: &str, input: &[u8]) -> Ended {
        let mut command = self.command();
        command.args(line.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        child.stdin.take().expect("piped").write_all(input).expect("it reads to the end");
        Ended::of(child.wait_with_output().expect("our own child"))
    }

    /// Runs a line with JSON output; checks code and outcome, and returns the object.
    #[track_caller]
    pub fn expect(&self, line: &str, code: i32, outcome: &str) -> Json {
        let ended = self.run(&format!("{line} -o json"));
        assert_eq!(ended.code, code, "{line}: {ended:?}");
        let json = ended.json();
        assert_eq!(json["outcome"], outcome, "{line}: {json}");
        json
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }
}

/// Writes a file and returns its path.
pub fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("our own directory");
    path.display().to_string()
}
