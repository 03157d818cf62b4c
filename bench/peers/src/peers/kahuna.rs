//! Kahuna: three nodes of one shard each, 16 partitions.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use kahuna_client::Options;
use kahuna_client::call::{AcquireAnswer, AllocateAnswer, CreateAnswer, GetAnswer, ReleaseAnswer, SetAnswer};
use kahuna_client::tokio::Client as Session;

use crate::process::{Process, free_triples, ready};
use crate::store::{Client, LOCK_TTL_MS, SEQUENCES, Servers, Workload, sequence};

/// Running nodes.
#[derive(Debug)]
pub struct Kahuna {
    ports: [u16; 3],
    _nodes: Vec<Process>,
}

impl Kahuna {
    fn session(ports: &[u16]) -> Result<Session> {
        Ok(Session::new(Options::new(ports.iter().map(|port| format!("127.0.0.1:{port}"))))?)
    }
}

impl Servers for Kahuna {
    type Client = Session;
    const NAME: &'static str = "kahuna";
    const DURABILITY: &'static str = "2 of 3 nodes, flushed";
    const READS: &'static str = "linearizable";

    async fn start(program: &Path, dir: &Path) -> Result<Self> {
        let [ports, peer_ports] = free_triples()?;
        let peers =
            (1..).zip(peer_ports).map(|(id, port)| format!("{id}=127.0.0.1:{port}")).collect::<Vec<_>>().join(",");
        let node = |((id, port), peer_port): ((u32, u16), u16)| {
            let dir = dir.join(format!("node-{id}"));
            let mut command = Command::new(program);
            // What the environment says of other nodes is not meant.
            command.env_clear().args(["serve", "--shards=1", "--partitions=16"]);
            command.arg(format!("--node-id={id}")).arg(format!("--peers={peers}"));
            command.arg(format!("--listen=127.0.0.1:{port}")).arg(format!("--peer-listen=127.0.0.1:{peer_port}"));
            command.arg("--data-dir").arg(dir.join("data"));
            Process::start(&mut command, &dir)
        };
        let mut nodes = (1..).zip(ports).zip(peer_ports).map(node).collect::<Result<Vec<_>>>()?;
        let session = Self::session(&ports)?;
        ready(&mut nodes, async || {
            for index in 0..SEQUENCES {
                let (CreateAnswer::SequenceCreated(_) | CreateAnswer::SequenceExists(_)) =
                    session.sequence_create(sequence(index), 0, 1, None).await?;
            }
            Ok(())
        })
        .await?;
        Ok(Self { ports, _nodes: nodes })
    }

    async fn connect(&self, _: Workload) -> Result<Session> {
        Self::session(&self.ports)
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }
}

impl Client for Session {
    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        match Session::set(self, key, value, None).await? {
            SetAnswer::Set(_) => Ok(()),
            SetAnswer::NotSet(_) => bail!("not set"),
        }
    }

    async fn get(&mut self, key: &str) -> Result<()> {
        match Session::get(self, key).await? {
            GetAnswer::Value(_) => Ok(()),
            _ => bail!("not found"),
        }
    }

    async fn lock_cycle(&mut self, lock: &str, owner: &str) -> Result<()> {
        let AcquireAnswer::Acquired(_) = self.lock_acquire(lock, owner, Duration::from_millis(LOCK_TTL_MS)).await?
        else {
            bail!("the lock is held");
        };
        match self.lock_release(lock, owner).await? {
            ReleaseAnswer::Released(_) => Ok(()),
            _ => bail!("the lock was lost"),
        }
    }

    async fn next(&mut self, sequence: &str) -> Result<()> {
        match self.sequence_next(sequence).await? {
            AllocateAnswer::Allocated(_) => Ok(()),
            _ => bail!("no value"),
        }
    }
}
