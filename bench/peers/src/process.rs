//! Server processes: on ports that the kernel picked, ended with their owner.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// How long servers may take until they serve.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one attempt to use them may take, and the pause before the next.
const ATTEMPT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// A child process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its messages in a file of `dir`, which is made.
    pub fn start(command: &mut Command, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let log = dir.join("messages");
        let messages = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(messages.try_clone()?).stderr(messages);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { child, log })
    }

    fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("a server ended: {status}\n{}", self.last_words())
    }

    fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports of loopback that nobody has: all are held until all are known.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Three ports for clients and three for the servers among themselves.
pub fn free_triples() -> Result<[[u16; 3]; 2]> {
    let [a, b, c, d, e, f] = free_ports()?;
    Ok([[a, b, c], [d, e, f]])
}

/// What `attempt` gives once it succeeds. Ends at once if a server does, else after [`PATIENCE`].
pub async fn ready<T>(servers: &mut [Process], mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        servers.iter_mut().try_for_each(Process::check)?;
        let error = match timeout(ATTEMPT, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer within {ATTEMPT:?}"),
        };
        if Instant::now() > deadline {
            let words: Vec<String> = servers.iter().map(Process::last_words).collect();
            return Err(error.context(format!("not ready after {PATIENCE:?}:\n{}", words.join("\n"))));
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ() {
        let [clients, peers] = free_triples().expect("free ports");
        let all: std::collections::BTreeSet<u16> = clients.into_iter().chain(peers).collect();
        assert!(all.len() == 6 && !all.contains(&0), "{all:?}");
    }

    #[tokio::test]
    async fn a_server_that_ends_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        let server = Process::start(command.args(["-c", "echo no disk; exit 3"]), dir.path()).expect("it starts");
        let error = ready(&mut [server], async || -> Result<()> { bail!("not there") }).await.expect_err("it ended");
        assert!(error.to_string().contains("no disk"), "{error:?}");
    }

    #[test]
    fn a_dropped_server_is_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let server = Process::start(Command::new("sleep").arg("600"), dir.path()).expect("it starts");
        let proc = PathBuf::from(format!("/proc/{}", server.child.id()));
        assert!(proc.exists());
        drop(server);
        assert!(!proc.exists());
    }
}
