//! etcd: three members with the defaults of their version and a larger quota, the leader addressed directly.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use etcd_client::{Client as Channel, Compare, CompareOp, PutOptions, Txn, TxnOp};

use crate::process::{Process, free_triples, ready};
use crate::store::{Client, Servers, Workload};

/// Running members.
#[derive(Debug)]
pub struct Etcd {
    ports: [u16; 3],
    leader: u16,
    /// One for all locks: a lock of etcd ends with a lease, and a lease is made to be kept.
    lease: i64,
    _members: Vec<Process>,
}

/// A connection, and the lease of its locks.
#[derive(Clone)]
pub struct Session {
    channel: Channel,
    lease: i64,
}

impl Servers for Etcd {
    type Client = Session;
    const NAME: &'static str = "etcd";
    const DURABILITY: &'static str = "2 of 3 nodes, flushed";
    const READS: &'static str = "linearizable";

    async fn start(program: &Path, dir: &Path) -> Result<Self> {
        let [ports, peer_ports] = free_triples()?;
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let cluster = (1..).zip(peer_ports).map(|(id, port)| format!("node-{id}={}", url(port)));
        let cluster = cluster.collect::<Vec<_>>().join(",");
        let member = |((id, port), peer_port): ((u32, u16), u16)| {
            let name = format!("node-{id}");
            let dir = dir.join(&name);
            let mut command = Command::new(program);
            command.env_clear().args([
                "--name",
                &name,
                "--initial-cluster",
                &cluster,
                "--initial-cluster-state",
                "new",
            ]);
            command.args(["--listen-client-urls", &url(port), "--advertise-client-urls", &url(port)]);
            command.args(["--listen-peer-urls", &url(peer_port), "--initial-advertise-peer-urls", &url(peer_port)]);
            command.args(["--quota-backend-bytes", "8589934592", "--data-dir"]).arg(dir.join("data"));
            Process::start(&mut command, &dir)
        };
        let mut members = (1..).zip(ports).zip(peer_ports).map(member).collect::<Result<Vec<_>>>()?;
        let leader = ready(&mut members, async || leader(&ports).await).await?;
        let lease = channel(leader).await?.lease_grant(3600, None).await?.id();
        Ok(Self { ports, leader, lease, _members: members })
    }

    async fn connect(&self, _: Workload) -> Result<Session> {
        Ok(Session { channel: channel(self.leader).await?, lease: self.lease })
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }
}

async fn channel(port: u16) -> Result<Channel> {
    Ok(Channel::connect([format!("127.0.0.1:{port}")], None).await?)
}

/// The port of the leader, once all members name it.
async fn leader(ports: &[u16]) -> Result<u16> {
    let mut leaders = Vec::new();
    let mut found = None;
    for port in ports {
        let status = channel(*port).await?.status().await?;
        leaders.push(status.leader());
        found = found.or((status.header().map(|header| header.member_id()) == Some(status.leader())).then_some(*port));
    }
    if leaders.iter().any(|leader| *leader != leaders[0]) {
        bail!("no leader that all members know: {leaders:?}");
    }
    found.context("no member leads")
}

impl Client for Session {
    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.channel.put(key, value, None).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Result<()> {
        let found = self.channel.get(key, None).await?;
        if found.kvs().is_empty() { bail!("not found") } else { Ok(()) }
    }

    /// A transaction that makes the key unless it is there, and one that removes it if it is still the one made.
    async fn lock_cycle(&mut self, lock: &str, owner: &str) -> Result<()> {
        let put = TxnOp::put(lock, owner, Some(PutOptions::new().with_lease(self.lease)));
        let acquire = Txn::new().when([Compare::create_revision(lock, CompareOp::Equal, 0)]).and_then([put]);
        let acquired = self.channel.txn(acquire).await?;
        let revision = acquired.header().filter(|_| acquired.succeeded()).context("the lock is held")?.revision();
        let release = Txn::new()
            .when([Compare::create_revision(lock, CompareOp::Equal, revision)])
            .and_then([TxnOp::delete(lock, None)]);
        if self.channel.txn(release).await?.succeeded() { Ok(()) } else { bail!("the lock was lost") }
    }

    /// A key's version counts its writes: the previous one tells this write its number.
    async fn next(&mut self, sequence: &str) -> Result<()> {
        self.channel.put(sequence, "", Some(PutOptions::new().with_prev_key())).await?;
        Ok(())
    }
}
