//! The demo's nodes together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kahuna_client::blocking::Client;
use kahuna_client::protocol::NodeId;
use kahuna_client::protocol::meta::{Status, StatusGet};
use kahuna_client::{CallOptions, Options};
use serde_json::Value as Json;

use super::directory::DemoDir;
use super::end::End;
use super::events::{Event, Events};
use super::node::{Node, State};
use super::ports::Claim;
use crate::cli::{Exit, Failure};

/// How long all partitions may take to be led.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a node may take to report its status.
const STATUS_WITHIN: Duration = Duration::from_millis(500);

/// Running nodes. Dropped, they are killed.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    dir: PathBuf,
    client: Client,
    /// Of the data partitions and the meta group.
    groups: usize,
}

impl Cluster {
    /// Starts `count` nodes on loopback.
    pub fn start(dir: &DemoDir, count: u16, shards: u16, partitions: u32) -> io::Result<Self> {
        let ports = Claim::of_pairs(count)?;
        let peers: Vec<String> =
            (1..).zip(&ports).map(|(id, pair)| format!("{id}=127.0.0.1:{}", pair[1].port)).collect();
        let flags = [
            format!("--shards={shards}"),
            format!("--partitions={partitions}"),
            format!("--peers={}", peers.join(",")),
        ];
        let node = |(id, [client, peer]): (u16, [Claim; 2])| Node::new(dir.path(), id, client, peer, &flags);
        let nodes: Vec<Node> = (1..).zip(ports).map(node).collect();
        let endpoints: Vec<String> = nodes.iter().map(Node::endpoint).collect();
        let client = Client::new(Options { follow_leaders: false, ..Options::new(endpoints) })?;
        let groups = partitions as usize + 1;
        let mut cluster = Self { nodes, dir: dir.path().to_owned(), client, groups };
        cluster.nodes.iter_mut().try_for_each(Node::start)?;
        cluster.write_nodes()?;
        Ok(cluster)
    }

    /// Where the nodes' data is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `KAHUNA_ENDPOINTS` must be.
    pub fn endpoints(&self) -> String {
        self.nodes.iter().map(Node::endpoint).collect::<Vec<_>>().join(",")
    }

    /// Writes nodes.json anew, in one step.
    pub fn write_nodes(&self) -> io::Result<()> {
        let nodes = Json::Array(self.nodes.iter().map(Node::json).collect());
        let (fresh, path) = (self.dir.join("nodes.json.tmp"), self.dir.join("nodes.json"));
        fs::write(&fresh, format!("{nodes:#}\n"))?;
        fs::rename(fresh, path)
    }

    /// Status of each node; `None` for a node that does not answer soon.
    pub fn status(&self) -> Vec<Option<Status>> {
        let ask = |node: &Node| {
            let options =
                CallOptions { endpoint: Some(node.endpoint()), timeout: Some(STATUS_WITHIN), ..CallOptions::default() };
            self.client.submit(StatusGet {}, options)
        };
        let asked: Vec<_> = self.nodes.iter().map(ask).collect();
        asked.into_iter().map(|pending| pending.wait().ok()).collect()
    }

    /// Waits until every node knows a leader of every partition. A signal meanwhile ends the demo.
    pub fn wait_until_led(&mut self, events: &mut Events) -> Result<Option<End>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(dead) = self.nodes.iter_mut().find_map(|node| (node.state() == State::Dead).then_some(&*node)) {
                let text = format!("node {} ended:\n{}", dead.id, dead.last_words());
                return Err(Failure::Other(Exit::Unavailable, text));
            }
            if self.status().iter().all(|status| status.as_ref().is_some_and(|status| self.all_led(status))) {
                return Ok(None);
            }
            if Instant::now() > deadline {
                let words: Vec<String> = self.nodes.iter().map(Node::last_words).collect();
                let text = format!("not all partitions are led after {PATIENCE:?}:\n{}", words.join("\n"));
                return Err(Failure::Other(Exit::Unavailable, text));
            }
            if let Some(Event::Signal(signal)) = events.next_within(LOOK_EVERY) {
                return Ok(Some(End::Signal(signal)));
            }
        }
    }

    fn all_led(&self, status: &Status) -> bool {
        let led = status.replicas.iter().filter(|replica| replica.leader != NodeId(0)).count();
        status.serves() && led == self.groups
    }
}
