//! What the signals do to a node. `kahuna serve --help` says the same.
//!
//! | signal | what a node does |
//! |---|---|
//! | `INT`, `TERM` | drains; a second one stops it at once |
//! | `HUP` | drains, unless it was started with the signal ignored, as `nohup` does |
//! | `USR1` | says on stderr how it stands |
//! | `USR2`, `ALRM`, `VTALRM`, `PROF`, `IO` | nothing: they would end it by default, and nobody who sends one means that |
//! | `PIPE` | nothing: Rust ignores it in every program |
//! | any other | what the system does by default |

use std::io;
use std::sync::Arc;
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
/// How long the node may take to say how it stands: a signal that comes meanwhile waits as long.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// The signals from here on, whether somebody obeys them already or not.
pub struct Watch(Signals);

impl Watch {
    /// # Errors
    /// When the system refuses.
    pub fn begin() -> io::Result<Self> {
        let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        HARMLESS.iter().try_for_each(|signal| signals.add_signal(*signal))?;
        if !is_ignored(SIGHUP) {
            signals.add_signal(SIGHUP)?;
        }
        Ok(Self(signals))
    }

    /// Does to `node` what each signal asks for, on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread.
    pub fn obey(self, node: Arc<NodeHandle>) -> io::Result<()> {
        let obey = move || {
            let Self(mut signals) = self;
            let mut draining = false;
            for signal in signals.forever() {
                match signal {
                    SIGUSR1 => tell_state(&node),
                    SIGINT | SIGTERM if draining => {
                        flush_said();
                        std::process::exit(128 + signal);
                    }
                    // The end of a terminal comes once from it and once from its shell.
                    SIGHUP if draining => {}
                    SIGHUP | SIGINT | SIGTERM => {
                        draining = true;
                        kahuna_shards::say!("draining; a second signal stops at once");
                        node.begin_shutdown();
                    }
                    _ => {}
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(obey).map(drop)
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
