//! Redis: one server that flushes its append-only file before it answers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, AsyncTypedCommands, Script};

use crate::process::{Process, free_ports, ready};
use crate::store::{Client, LOCK_TTL_MS, Servers, Workload};

/// Removes a lock if it is still its owner's.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// The running server.
#[derive(Debug)]
pub struct Redis {
    ports: [u16; 1],
    _server: Vec<Process>,
}

/// A connection.
#[derive(Clone)]
pub struct Session {
    connection: MultiplexedConnection,
    release: Script,
}

impl Servers for Redis {
    type Client = Session;
    const NAME: &'static str = "redis";
    const DURABILITY: &'static str = "1 node, flushed";
    const READS: &'static str = "of the only copy";

    async fn start(program: &Path, dir: &Path) -> Result<Self> {
        let ports: [u16; 1] = free_ports()?;
        let port = ports[0].to_string();
        std::fs::create_dir_all(dir)?;
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", "always", "--dir"]).arg(dir);
        let mut server = vec![Process::start(&mut command, dir)?];
        ready(&mut server, async || session(ports[0]).await).await?;
        Ok(Self { ports, _server: server })
    }

    async fn connect(&self, _: Workload) -> Result<Session> {
        session(self.ports[0]).await
    }

    fn ports(&self) -> &[u16] {
        &self.ports
    }
}

async fn session(port: u16) -> Result<Session> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    Ok(Session { connection, release: Script::new(RELEASE) })
}

impl Client for Session {
    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        Ok(self.connection.set(key, value).await?)
    }

    async fn get(&mut self, key: &str) -> Result<()> {
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(&mut self.connection).await?;
        if value.is_some() { Ok(()) } else { bail!("not found") }
    }

    async fn lock_cycle(&mut self, lock: &str, owner: &str) -> Result<()> {
        let mut acquire = redis::cmd("SET");
        acquire.arg(lock).arg(owner).arg("NX").arg("PX").arg(LOCK_TTL_MS);
        if acquire.query_async::<Option<String>>(&mut self.connection).await?.is_none() {
            bail!("the lock is held");
        }
        let mut release = self.release.prepare_invoke();
        let released: u32 = release.key(lock).arg(owner).invoke_async(&mut self.connection).await?;
        if released == 1 { Ok(()) } else { bail!("the lock was lost") }
    }

    async fn next(&mut self, sequence: &str) -> Result<()> {
        self.connection.incr(sequence, 1).await?;
        Ok(())
    }
}
