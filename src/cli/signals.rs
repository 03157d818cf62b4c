//! What signals do to a node. `kahuna serve --help` describes the same.
//!
//! | signal | what a node does |
//! |---|---|
//! | `INT`, `TERM` | drains; a second one stops it at once. Before the node has started it ends at once, with 0 |
//! | `HUP` | drains, unless it was started with the signal ignored, as `nohup` does |
//! | `USR1` | says on stderr how it stands |
//! | `USR2`, `ALRM`, `VTALRM`, `PROF`, `IO` | nothing: they would end it by default, and nobody who sends one means that |
//! | `PIPE` | nothing: Rust ignores it in every program |
//! | any other | what the system does by default |

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kahuna_client::blocking::Client;
use kahuna_client::protocol::meta::StatusGet;
use kahuna_client::{CallOptions, ClientError, Options};
use kahuna_shards::env::flush_said;
use kahuna_shards::node::NodeHandle;
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM};
use signal_hook::iterator::Signals;

use super::status;

/// They mean nothing here.
const HARMLESS: [i32; 5] = [SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO];
/// How long the node may take to report its status: a signal that arrives meanwhile waits as long.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// A thread that obeys the signals.
pub struct Watch(Arc<OnceLock<Arc<NodeHandle>>>);

impl Watch {
    /// Obeys from here on, though there is no node yet: a start may take long, or wait.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin() -> io::Result<Self> {
        let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        HARMLESS.iter().try_for_each(|signal| signals.add_signal(*signal))?;
        if !is_ignored(SIGHUP) {
            signals.add_signal(SIGHUP)?;
        }
        let node = Arc::new(OnceLock::new());
        let watched = node.clone();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || obey(signals, &watched))?;
        Ok(Self(node))
    }

    /// The node has started: it is what the signals mean.
    pub fn started(&self, node: Arc<NodeHandle>) {
        // There is one node in a process.
        let _ = self.0.set(node);
    }
}

fn obey(mut signals: Signals, node: &OnceLock<Arc<NodeHandle>>) {
    let mut draining = false;
    for signal in signals.forever() {
        match (signal, node.get()) {
            (SIGUSR1, Some(node)) => tell_state(node),
            (SIGUSR1, None) => kahuna_shards::say!("the node has not started yet"),
            (SIGINT | SIGTERM, _) if draining => {
                flush_said();
                std::process::exit(128 + signal);
            }
            // The end of a terminal comes once from it and once from its shell.
            (SIGHUP, _) if draining => {}
            (SIGHUP | SIGINT | SIGTERM, Some(node)) => {
                draining = true;
                kahuna_shards::say!("draining; a second signal stops at once");
                node.begin_shutdown();
            }
            // No client was served, so there is nothing to drain; the data on disk is as after any other end.
            (SIGHUP | SIGINT | SIGTERM, None) => {
                kahuna_shards::say!("stopped before the node had started");
                flush_said();
                std::process::exit(0);
            }
            _ => {}
        }
    }
}

/// Asks the node as any client does: who gets no answer here gets none there.
fn tell_state(node: &NodeHandle) {
    let endpoint = node.client_address().to_string();
    let options = Options { timeout: STATUS_WITHIN, follow_leaders: false, ..Options::new([endpoint.clone()]) };
    let asked = CallOptions { endpoint: Some(endpoint), ..CallOptions::default() };
    let answer = Client::new(options).map_err(|error| ClientError::Unavailable { text: error.to_string() });
    match answer.and_then(|client| client.call_with(StatusGet {}, asked)) {
        Ok(found) => kahuna_shards::say!("{}", status::line(&found)),
        Err(error) => kahuna_shards::say!("node {}: does not say how it stands: {error}", node.node()),
    }
}

fn is_ignored(signal: i32) -> bool {
    // SAFETY: `sigaction` is plain data for which zeros are a value; with no new action the call only fills it in.
    unsafe {
        let mut found: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut found) == 0 && found.sa_sigaction == libc::SIG_IGN
    }
}
