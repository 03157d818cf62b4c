//! The processes of a cluster, and what can be done to them.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::CommandExt;

use super::{
    ChaosError, Plan,
    disks::Disk,
    hosts::{Hosts, within},
    stop::sleep,
};
use crate::{finding::Judge, recorder::Recorder};

const CLIENT_PORT: u16 = 2070;
const PEER_PORT: u16 = 2071;
/// The node whose clock a plan may set wrong.
const SKEWED: usize = 1;
/// How long a node may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks whether it did.
const STOP_LOOK: Duration = Duration::from_millis(20);
/// Part of the line that a node prints when its log finds no room.
const SAYS_FULL: &str = ": it lives on its reserve";
/// Part of the line that a node prints when there is room again.
const SAYS_ROOM: &str = "has room for the log again";
/// What stands in a node's log before each of its starts.
const STARTED: &str = "chaos: starts";
/// Lines of a node's log that are shown when it ended by itself.
const LAST_WORDS: usize = 6;

/// Processes, their hosts and disks. All of it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Nodes {
    pub hosts: Hosts,
    pub disks: Vec<Disk>,
    pub recorder: Arc<Recorder>,
    plan: Plan,
    processes: Vec<Mutex<Option<Child>>>,
    refused_for_room: AtomicU64,
    full_unnoticed: AtomicU64,
}

impl Nodes {
    /// Makes hosts and disks; no process runs yet.
    ///
    /// # Errors
    /// See [`ChaosError`].
    pub(super) fn new(plan: &Plan, recorder: Arc<Recorder>) -> Result<Self, ChaosError> {
        let hosts = Hosts::new(plan.nodes, plan.seed)?;
        hosts.mend()?;
        let disks = hosts.all[..plan.nodes].iter().map(|host| Disk::new(&plan.out, &host.name));
        let disks = disks.collect::<Result<_, _>>()?;
        let processes = (0..plan.nodes).map(|_| Mutex::default()).collect();
        let (refused_for_room, full_unnoticed) = Default::default();
        Ok(Self { hosts, disks, recorder, plan: plan.clone(), processes, refused_for_room, full_unnoticed })
    }

    pub(super) fn count(&self) -> usize {
        self.processes.len()
    }

    /// Where clients connect, in the order of the nodes.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.hosts.all[..self.count()].iter().map(|host| format!("{}:{CLIENT_PORT}", host.address)).collect()
    }

    fn process(&self, at: usize) -> MutexGuard<'_, Option<Child>> {
        self.processes[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_path(&self, at: usize) -> PathBuf {
        self.plan.out.join(format!("{}.log", self.hosts.all[at].name))
    }

    fn command(&self, at: usize) -> Command {
        let nodes = || (1..).zip(&self.hosts.all[..self.count()]);
        let peers: Vec<String> = nodes().map(|(id, host)| format!("{id}={}:{PEER_PORT}", host.address)).collect();
        let host = &self.hosts.all[at];
        let millis = |span: Duration| format!("{}ms", span.as_millis());
        let mut command = Command::new(&self.plan.binary);
        command
            .arg("serve")
            .args(["--node-id", &(at + 1).to_string()])
            .args(["--listen", &format!("{}:{CLIENT_PORT}", host.address)])
            .args(["--peer-listen", &format!("{}:{PEER_PORT}", host.address)])
            .args(["--peers", &peers.join(",")])
            .args(["--shards", &self.plan.shards.to_string()])
            .args(["--partitions", &self.plan.partitions.to_string()])
            .args(["--segment-size", "2MiB"])
            .args(["--snapshot-log-size", "512KiB"])
            .args(["--heartbeat", &millis(self.plan.heartbeat)])
            .args(["--election-min", &millis(self.plan.election.0)])
            .args(["--election-max", &millis(self.plan.election.1)])
            .arg("--insecure-listen")
            .arg("--data-dir")
            .arg(self.disks[at].data_dir())
            .stdin(Stdio::null())
            // Signals of a terminal are for this process alone.
            .process_group(0);
        if at == SKEWED && self.plan.skew_ms != 0 {
            command.args(["--wall-clock-offset-ms", &self.plan.skew_ms.to_string()]);
        }
        command
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// `Io` when the binary does not start.
    pub(super) fn start(&self, at: usize) -> Result<(), ChaosError> {
        let mut process = self.process(at);
        if process.is_some() {
            return Ok(());
        }
        let path = self.log_path(at);
        let log = File::options().create(true).append(true).open(&path).map_err(ChaosError::at(&path))?;
        writeln!(&log, "{STARTED}").map_err(ChaosError::at(&path))?;
        let again = log.try_clone().map_err(ChaosError::at(&path))?;
        let mut command = self.command(at);
        command.stdout(log).stderr(again);
        let child =
            within(&self.hosts.all[at].namespace, || command.spawn().map_err(ChaosError::at(&self.plan.binary)))?;
        *process = Some(child);
        Ok(())
    }

    /// kill -9, and waits until the process is gone.
    pub(super) fn kill(&self, at: usize) {
        if let Some(mut child) = self.process(at).take() {
            self.unless_ended(at, &mut child);
            // A child that ended by itself cannot be killed any more.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn pause(&self, at: usize) {
        self.signal(at, Signal::STOP);
    }

    pub(super) fn resume(&self, at: usize) {
        self.signal(at, Signal::CONT);
    }

    fn signal(&self, at: usize, signal: Signal) {
        if let Some(child) = &*self.process(at) {
            // One that ended is found by `look`.
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// Counts a period of full disks: how many writes were refused for want of room, and whether the fault has shown.
    pub(super) fn count_full(&self, refused: u64, has_shown: bool) {
        self.refused_for_room.fetch_add(refused, Ordering::Relaxed);
        self.full_unnoticed.fetch_add(u64::from(!has_shown), Ordering::Relaxed);
    }

    /// Writes that were refused for want of room, and periods of full disks that no node reported.
    pub(super) fn full(&self) -> (u64, u64) {
        (self.refused_for_room.load(Ordering::Relaxed), self.full_unnoticed.load(Ordering::Relaxed))
    }

    /// Asks a node to stop and waits until it has. A problem is noted unless it does so in time and in order.
    pub(super) fn stop(&self, at: usize) {
        self.signal(at, Signal::TERM);
        let Some(mut child) = self.process(at).take() else { return };
        let name = &self.hosts.all[at].name;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Ok(Some(status)) = child.try_wait() {
                if !status.success() {
                    self.recorder
                        .problem(Judge::Ends, format!("{name} was asked to stop: {status}{}", self.last_words(at)));
                }
                return;
            }
            sleep(STOP_LOOK);
        }
        self.recorder.problem(Judge::Liveness, format!("{name} did not stop within {STOP_LIMIT:?}"));
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Notes which nodes ended by themselves, and starts them again.
    ///
    /// # Errors
    /// `Io` when the binary does not start.
    pub(super) fn look(&self) -> Result<(), ChaosError> {
        for at in 0..self.count() {
            let mut process = self.process(at);
            if let Some(child) = &mut *process
                && self.unless_ended(at, child)
            {
                *process = None;
                drop(process);
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn unless_ended(&self, at: usize, child: &mut Child) -> bool {
        let Ok(Some(status)) = child.try_wait() else { return false };
        let name = &self.hosts.all[at].name;
        self.recorder.problem(Judge::Ends, format!("{name} ended by itself: {status}{}", self.last_words(at)));
        true
    }

    fn last_words(&self, at: usize) -> String {
        let text = fs::read_to_string(self.log_path(at)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(LAST_WORDS).collect();
        lines.iter().rev().map(|line| format!("\n    {line}")).collect()
    }

    /// How often a node has reported a full disk.
    pub(super) fn full_disks(&self, at: usize) -> u64 {
        let log = fs::read_to_string(self.log_path(at)).unwrap_or_default();
        log.lines().filter(|line| line.contains(SAYS_FULL)).count() as u64
    }

    /// Whether the last report of a node since its start is that its disk is full. A node reports a change once, however
    /// often disks are filled and freed before it checks.
    pub(super) fn says_full(&self, at: usize) -> bool {
        let log = fs::read_to_string(self.log_path(at)).unwrap_or_default();
        let since_start = log.rsplit(STARTED).next().unwrap_or_default();
        let last = since_start.lines().rev().find(|line| line.contains(SAYS_FULL) || line.contains(SAYS_ROOM));
        last.is_some_and(|line| line.contains(SAYS_FULL))
    }

    /// Mends all faults, and starts every node.
    ///
    /// # Errors
    /// See [`ChaosError`].
    pub(super) fn mend(&self) -> Result<(), ChaosError> {
        self.hosts.mend()?;
        for at in 0..self.count() {
            self.resume(at);
            self.disks[at].free();
            self.start(at)?;
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for process in &self.processes {
            if let Some(mut child) = process.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // A child that ended by itself cannot be killed any more.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
