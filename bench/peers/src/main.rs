//! Kahuna beside etcd, NATS JetStream and Redis: one generator, one table. See the README beside.
//!
//! ```text
//!   for each repetition, for each peer:  start its servers ─▶ fill ─▶ each point: clients, slots, figures ─▶ end them
//!   then:                                the median run of each peer and point ─▶ table
//! ```

mod generator;
mod host;
mod peers;
mod process;
mod store;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use generator::{Load, Point, fill, measure};
use host::Disk;
use peers::{Etcd, Kahuna, Nats, Redis};
use store::{Servers, Workload};
use table::{Row, medians, table};

/// Measures Kahuna beside etcd, NATS JetStream and Redis, with one generator, and prints one table
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Args {
    /// Which stores, in this order; one whose program is missing is left out
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Peer::Kahuna, Peer::Etcd, Peer::Nats, Peer::Redis])]
    stores: Vec<Peer>,
    /// Which workloads
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::value_variants().to_vec())]
    workloads: Vec<Workload>,
    /// Operations under way at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    in_flight: Vec<usize>,
    /// Clients that share them, each with connections of its own; no more than operations
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64])]
    clients: Vec<usize>,
    /// Seconds that count, for each point
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before that do not count
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// How often everything is measured, the stores in turn; the median is shown
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    repetitions: u32,
    /// Keys that are set and got
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Where the servers' data is put, in a directory that is removed again; on a disk
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Kahuna's binary
    #[arg(long, default_value = "../../target/release/kahuna")]
    kahuna: PathBuf,
    /// Where the other servers' programs are
    #[arg(long, default_value = ".servers/bin")]
    servers: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    Kahuna,
    Etcd,
    Nats,
    Redis,
}

/// One pass over one store.
#[derive(Clone, Copy, Debug)]
struct Pass<'a> {
    args: &'a Args,
    load: &'a Load,
    disk: Option<&'a Disk>,
    dir: &'a Path,
    /// The store's place in the table.
    place: usize,
}

/// One thread for each CPU, as the servers have: the generator is no bottleneck of its own.
#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut rows = Vec::new();
    let ended = async {
        let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        // Whichever way this ends, the servers end with the future that owns them.
        tokio::select! {
            ended = course(&args, &mut rows) => ended,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
            _ = hang_up.recv() => bail!("hung up"),
        }
    }
    .await;
    if !rows.is_empty() {
        print!("{}", table(&medians(rows)));
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything in turn: what changes on the machine meanwhile meets all stores alike. A store that fails is left out of what
/// follows.
async fn course(args: &Args, rows: &mut Vec<Row>) -> Result<()> {
    let seconds = |name, seconds| Duration::try_from_secs_f64(seconds).with_context(|| format!("{name} {seconds}"));
    let (warmup, time) = (seconds("--warmup", args.warmup)?, seconds("--seconds", args.seconds)?);
    let load = Load { keys: args.keys, value_bytes: args.value_bytes, warmup, time };
    ensure!(!args.points().is_empty(), "--in-flight and --clients leave nothing to measure");
    let disk = Disk::below(&args.dir)?;
    match &disk {
        Some(disk) => eprintln!("data below {}, on {}", args.dir.display(), disk.name),
        None => {
            eprintln!("data below {}, whose file system shows no disk: flushes are not counted", args.dir.display());
        }
    }
    let mut stores: Vec<(usize, Peer)> = args.stores.iter().copied().enumerate().collect();
    stores.retain(|(_, store)| {
        let program = store.program(args);
        if !program.exists() {
            eprintln!("{store:?} is left out: there is no {}; see the README", program.display());
        }
        program.exists()
    });
    ensure!(!stores.is_empty(), "there is nothing to measure");
    let mut failed = Vec::new();
    for repetition in 1..=args.repetitions {
        for &(place, store) in &stores {
            eprintln!("repetition {repetition} of {}: {store:?}", args.repetitions);
            let dir = tempfile::Builder::new().prefix("kahuna-peers-").tempdir_in(&args.dir)?;
            let pass = Pass { args, load: &load, disk: disk.as_ref(), dir: dir.path(), place };
            let measured = match store {
                Peer::Kahuna => pass.run::<Kahuna>(&store.program(args), rows).await,
                Peer::Etcd => pass.run::<Etcd>(&store.program(args), rows).await,
                Peer::Nats => pass.run::<Nats>(&store.program(args), rows).await,
                Peer::Redis => pass.run::<Redis>(&store.program(args), rows).await,
            };
            if let Err(error) = measured {
                eprintln!("{store:?} failed: {error:#}");
                failed.push(store);
            }
        }
        stores.retain(|(_, store)| !failed.contains(store));
    }
    ensure!(failed.is_empty(), "not all was measured: {failed:?} failed");
    Ok(())
}

impl Args {
    /// Every combination in which each client has something to do.
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for &workload in &self.workloads {
            for &in_flight in &self.in_flight {
                let fitting = self.clients.iter().filter(|clients| (1..=in_flight).contains(clients));
                points.extend(fitting.map(|&clients| Point { workload, in_flight, clients }));
            }
        }
        points
    }
}

impl Peer {
    fn program(self, args: &Args) -> PathBuf {
        match self {
            Self::Kahuna => args.kahuna.clone(),
            Self::Etcd => args.servers.join("etcd"),
            Self::Nats => args.servers.join("nats-server"),
            Self::Redis => args.servers.join("redis-server"),
        }
    }
}

impl Pass<'_> {
    /// Fresh servers, filled, through all points.
    async fn run<S: Servers>(self, program: &Path, rows: &mut Vec<Row>) -> Result<()> {
        let servers = S::start(&program.canonicalize()?, self.dir).await.context("the servers do not start")?;
        fill(&servers.connect(Workload::Set).await?, self.load).await?;
        for (run, point) in self.args.points().into_iter().enumerate() {
            let mut clients = Vec::new();
            for _ in 0..point.clients {
                clients.push(servers.connect(point.workload).await?);
            }
            let figures = measure(&clients, point, self.load, run, self.disk, servers.ports()).await?;
            let Point { workload, in_flight, clients } = point;
            eprintln!("  {} {in_flight} in flight, {clients} clients: {:.0}/s", workload.name(), figures.ops_per_s);
            for (kind, count) in &figures.errors {
                eprintln!("    {count} times {kind}");
            }
            let reads = if workload == Workload::Get { S::READS } else { "-" };
            rows.push(Row { point, store: (self.place, S::NAME), durability: S::DURABILITY, reads, figures });
        }
        Ok(())
    }
}
