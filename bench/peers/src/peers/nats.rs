//! NATS JetStream: three servers that flush every write before they answer, streams of three replicas in files.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::ConnectOptions;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use async_nats::jetstream::{self, Context};

use crate::process::{Process, free_triples, ready};
use crate::store::{Client, Servers, Workload};

/// The stream of keys and locks, as a key-value bucket has it, and the one of counters.
const VALUES: &str = "values";
const COUNTERS: &str = "counters";

/// Running servers.
#[derive(Debug)]
pub struct Nats {
    ports: [u16; 3],
    _servers: Vec<Process>,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Session {
    context: Context,
    values: Stream,
    /// The sequence of the last message of this clone's lock.
    last: u64,
}

impl Servers for Nats {
    type Client = Session;
    const NAME: &'static str = "nats jetstream";
    const DURABILITY: &'static str = "2 of 3 nodes, flushed";
    const READS: &'static str = "the leader's word, no quorum asked";

    async fn start(program: &Path, dir: &Path) -> Result<Self> {
        let [ports, peer_ports] = free_triples()?;
        let routes = peer_ports.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let server = |((id, port), peer_port): ((u32, u16), u16)| {
            let dir = dir.join(format!("node-{id}"));
            fs::create_dir_all(&dir)?;
            let file = dir.join("server.conf");
            let store = dir.join("data");
            let text = format!(
                "server_name: node-{id}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
                 cluster {{ name: peers, listen: 127.0.0.1:{peer_port}, routes: [{routes}] }}\n"
            );
            fs::write(&file, text)?;
            let mut command = Command::new(program);
            Process::start(command.env_clear().arg("--config").arg(file), &dir)
        };
        let mut servers = (1..).zip(ports).zip(peer_ports).map(server).collect::<Result<Vec<_>>>()?;
        ready(&mut servers, async || {
            let context = context(ports[0]).await?;
            for name in [VALUES, COUNTERS] {
                let config = Config {
                    name: name.to_owned(),
                    subjects: vec![format!("{name}.*")],
                    num_replicas: ports.len(),
                    storage: StorageType::File,
                    max_messages_per_subject: 1,
                    allow_message_counter: name == COUNTERS,
                    ..Config::default()
                };
                context.get_or_create_stream(config).await?;
            }
            Ok(())
        })
        .await?;
        Ok(Self { ports, _servers: servers })
    }

    /// To the leader of the workload's stream.
    async fn connect(&self, workload: Workload) -> Result<Session> {
        let name = if workload == Workload::Seq { COUNTERS } else { VALUES };
        let info = context(self.ports[0]).await?.get_stream(name).await?.get_info().await?;
        let leader = info.cluster.and_then(|cluster| cluster.leader).context("the stream has no leader")?;
        let leader = (1..).zip(self.ports).find(|(id, _)| leader == format!("node-{id}"));
        let (_, port) = leader.context("the leader has an unknown name")?;
        let context = context(port).await?;
        let values = context.get_stream(VALUES).await?;
        Ok(Session { context, values, last: 0 })
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }
}

async fn context(port: u16) -> Result<Context> {
    let options = ConnectOptions::new().ignore_discovered_servers().request_timeout(Some(Duration::from_secs(10)));
    let client = options.connect(format!("127.0.0.1:{port}")).await?;
    Ok(ContextBuilder::new().timeout(Duration::from_secs(10)).build(client))
}

impl Session {
    /// Publishes if the last message of the lock's subject is the one that this clone knows.
    async fn publish_next(&mut self, lock: &str, owner: &str) -> Result<()> {
        let message =
            PublishMessage::build().payload(owner.to_owned().into()).expected_last_subject_sequence(self.last);
        self.last = self.context.send_publish(format!("{VALUES}.{lock}"), message).await?.await?.sequence;
        Ok(())
    }
}

impl Client for Session {
    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.context.publish(format!("{VALUES}.{key}"), value.to_vec().into()).await?.await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<()> {
        self.values.get_last_raw_message_by_subject(&format!("{VALUES}.{key}")).await?;
        Ok(())
    }

    /// Two conditional messages: an owner, and nobody.
    async fn lock_cycle(&mut self, lock: &str, owner: &str) -> Result<()> {
        self.publish_next(lock, owner).await?;
        self.publish_next(lock, "").await
    }

    async fn next(&mut self, sequence: &str) -> Result<()> {
        let message = jetstream::message::PublishMessage::build().header("Nats-Incr", "1");
        let answer = self.context.send_publish(format!("{COUNTERS}.{sequence}"), message).await?.await?;
        if answer.value.is_some() { Ok(()) } else { bail!("no value") }
    }
}
