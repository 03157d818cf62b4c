//! What describes a node: the flags of `serve` and `check`, and the `[serve]` table of the file.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use kahuna::address::Address;
use kahuna::units::{Size, Span};
use kahuna_client::protocol::meta::Settings;
use kahuna_client::protocol::{Limits, NodeId};
use kahuna_shards::config::{MAX_PARTITIONS, NodeConfig, PeerSpec, Timing};
use kahuna_shards::node::listed_peers;
use serde::{Deserialize, Deserializer, de};

use super::exit::Failure;

/// Upper bound of `--max-clock-skew` in milliseconds: every lease ends so much later.
const MAX_SKEW_MS: u32 = 3_600_000;
/// What `--segment-size` may be. A record never spans segments, and the smallest take every value that a client may set: nodes
/// may differ in it.
const SEGMENT: (Size, Size) = (Size(2 << 20), Size(1 << 30));
/// What `--snapshot-log-size` may be.
const SNAPSHOT_LOG: (Size, Size) = (Size(4 << 10), Size(1 << 40));

/// One entry of `--peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(PeerSpec);

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, address) = text.split_once('=').ok_or_else(|| format!("{text:?}: write ID=HOST:PORT"))?;
        let node = node.trim().parse().map_err(|_| format!("{text:?}: {node:?} is not a node's number"))?;
        let Address(address) = address.parse().map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(PeerSpec { node: NodeId(node), address }))
    }
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Everything is optional here; [`NodeArgs::config`] puts the defaults in.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeArgs {
    /// Where the data lives [default: $XDG_DATA_HOME/kahuna, or ~/.local/share/kahuna]
    #[arg(long, env = "KAHUNA_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// This node's number, from 1 [default: 1]
    #[arg(long, env = "KAHUNA_NODE_ID", value_name = "N")]
    pub node_id: Option<u32>,
    /// Where clients connect; port 0 takes a free one [default: 127.0.0.1:2070]
    #[arg(long, env = "KAHUNA_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Where the other nodes connect; port 0 takes a free one [default: 127.0.0.1:2071]
    #[arg(long, env = "KAHUNA_PEER_LISTEN", value_name = "HOST:PORT")]
    pub peer_listen: Option<String>,
    /// All nodes of the first cluster, this one too, by their peer addresses; none for a cluster of one. Once the data
    /// directory belongs to a cluster, not needed any more: what it says then is where the nodes are tried
    #[arg(long, env = "KAHUNA_PEERS", value_delimiter = ',', value_name = "ID=HOST:PORT,...")]
    pub peers: Option<Vec<Peer>>,
    /// What clients are told instead of --listen
    #[arg(long, env = "KAHUNA_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// What the other nodes are told instead of --peer-listen
    #[arg(long, env = "KAHUNA_PEER_ADVERTISE", value_name = "HOST:PORT")]
    pub peer_advertise: Option<String>,
    /// Executors, each with its own log [default: as many as CPUs are allowed]
    #[arg(long, env = "KAHUNA_SHARDS", value_name = "N")]
    pub shards: Option<NonZeroU16>,
    /// Keep each shard on a CPU of its own [default: true if --shards is not given]
    #[arg(long, env = "KAHUNA_PIN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pin: Option<bool>,
    /// Data partitions of a fresh cluster, at most 4096, fixed from then on [default: 16]
    #[arg(long, env = "KAHUNA_PARTITIONS", value_name = "N")]
    pub partitions: Option<NonZeroU32>,
    /// Listen on other addresses than loopback: nothing asks for a login yet
    #[arg(long, env = "KAHUNA_INSECURE_LISTEN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_listen: Option<bool>,
    /// Accept a data directory in memory, which loses everything with the power
    #[arg(long, env = "KAHUNA_ALLOW_TMPFS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_tmpfs: Option<bool>,
    /// Size of a log segment, a multiple of 4KiB, 2MiB to 1GiB [default: 32MiB]
    #[arg(long, env = "KAHUNA_SEGMENT_SIZE", value_name = "SIZE")]
    pub segment_size: Option<Size>,
    /// A partition takes a snapshot when its log since the last one is longer, 4KiB to 1TiB
    /// [default: 8MiB]
    #[arg(long, env = "KAHUNA_SNAPSHOT_LOG_SIZE", value_name = "SIZE")]
    pub snapshot_log_size: Option<Size>,
    /// Between heartbeats, in whole milliseconds [default: 50ms]
    #[arg(long, env = "KAHUNA_HEARTBEAT", value_name = "SPAN")]
    pub heartbeat: Option<Span>,
    /// Shortest election timeout, two heartbeats or more [default: 150ms]
    #[arg(long, env = "KAHUNA_ELECTION_MIN", value_name = "SPAN")]
    pub election_min: Option<Span>,
    /// Longest election timeout, above the shortest, at most 10m: the lease, and the failover time [default: 300ms]
    #[arg(long, env = "KAHUNA_ELECTION_MAX", value_name = "SPAN")]
    pub election_max: Option<Span>,
    /// How far the nodes' clocks may be apart; at most 1h; fixed when the cluster is made
    /// [default: 250ms]
    #[arg(long, env = "KAHUNA_MAX_CLOCK_SKEW", value_name = "SPAN")]
    pub max_clock_skew: Option<Span>,
    /// Added to the wall clock, in milliseconds
    #[arg(long, hide = true, allow_negative_numbers = true)]
    pub wall_clock_offset_ms: Option<i64>,
}

impl NodeArgs {
    /// Fills in from the file what neither flag nor environment sets.
    pub fn or(self, file: Self) -> Self {
        Self {
            data_dir: self.data_dir.or(file.data_dir),
            node_id: self.node_id.or(file.node_id),
            listen: self.listen.or(file.listen),
            peer_listen: self.peer_listen.or(file.peer_listen),
            peers: self.peers.or(file.peers),
            advertise: self.advertise.or(file.advertise),
            peer_advertise: self.peer_advertise.or(file.peer_advertise),
            shards: self.shards.or(file.shards),
            pin: self.pin.or(file.pin),
            partitions: self.partitions.or(file.partitions),
            insecure_listen: self.insecure_listen.or(file.insecure_listen),
            allow_tmpfs: self.allow_tmpfs.or(file.allow_tmpfs),
            segment_size: self.segment_size.or(file.segment_size),
            snapshot_log_size: self.snapshot_log_size.or(file.snapshot_log_size),
            heartbeat: self.heartbeat.or(file.heartbeat),
            election_min: self.election_min.or(file.election_min),
            election_max: self.election_max.or(file.election_max),
            max_clock_skew: self.max_clock_skew.or(file.max_clock_skew),
            wall_clock_offset_ms: self.wall_clock_offset_ms.or(file.wall_clock_offset_ms),
        }
    }

    /// The node's configuration: defaults put in, names resolved, contradictions refused.
    ///
    /// # Errors
    /// `Usage`, naming the flag.
    pub fn config(self) -> Result<NodeConfig, Failure> {
        let insecure = self.insecure_listen.unwrap_or(false);
        let listen = address("--listen", self.listen.as_deref().unwrap_or("127.0.0.1:2070"), insecure)?;
        let peer_listen = address("--peer-listen", self.peer_listen.as_deref().unwrap_or("127.0.0.1:2071"), insecure)?;
        let advertise = reachable("--advertise", listen.ip(), self.advertise.as_deref())?;
        let peer_advertise = reachable("--peer-advertise", peer_listen.ip(), self.peer_advertise.as_deref())?;
        let defaults = Timing::default();
        let timing = Timing {
            heartbeat: self.heartbeat.map_or(defaults.heartbeat, |span| span.0),
            election_min: self.election_min.map_or(defaults.election_min, |span| span.0),
            election_max: self.election_max.map_or(defaults.election_max, |span| span.0),
        };
        timing.check().map_err(|error| Failure::Usage(error.to_string()))?;
        let segment_size = self.segment_size.unwrap_or(Size(32 << 20));
        let segment_bytes = within("--segment-size", segment_size, SEGMENT.0, SEGMENT.1)?;
        if !segment_bytes.is_multiple_of(4096) {
            return Err(Failure::Usage(format!("--segment-size {segment_size}: take a multiple of 4KiB")));
        }
        let node_id = self.node_id.unwrap_or(1);
        if node_id == 0 {
            return Err(Failure::Usage("--node-id 0: nodes are numbered from 1".to_owned()));
        }
        if let Some(partitions) = self.partitions {
            check_partitions(partitions)?;
        }
        let snapshot_log = self.snapshot_log_size.unwrap_or(Size(8 << 20));
        let snapshot_log_bytes = within("--snapshot-log-size", snapshot_log, SNAPSHOT_LOG.0, SNAPSHOT_LOG.1)?;
        let cpus = allowed_cpus();
        let shards = self.shards.map_or_else(|| u16::try_from(cpus.len().max(1)).unwrap_or(u16::MAX), NonZeroU16::get);
        let pin = self.pin.unwrap_or(self.shards.is_none()) && usize::from(shards) <= cpus.len();
        let mut limits = Limits::default();
        let mut settings = Settings::default();
        if let Some(skew) = self.max_clock_skew {
            let skew_ms = u32::try_from(skew.millis()).ok().filter(|skew_ms| (1..=MAX_SKEW_MS).contains(skew_ms));
            let skew_ms = skew_ms.ok_or_else(|| Failure::Usage(format!("--max-clock-skew {skew}: from 1ms to 1h")))?;
            (limits.max_clock_skew_ms, settings.max_clock_skew_ms) = (skew_ms, skew_ms);
        }
        let config = NodeConfig {
            node: NodeId(node_id),
            data_dir: self.data_dir.map_or_else(default_data_dir, Ok)?,
            listen,
            peer_listen,
            peers: self.peers.unwrap_or_default().into_iter().map(|peer| peer.0).collect(),
            advertise,
            peer_advertise,
            shards,
            cpus: if pin { cpus } else { Vec::new() },
            partitions: self.partitions.map(NonZeroU32::get),
            limits,
            settings,
            timing,
            segment_bytes,
            snapshot_log_bytes,
            io_memory_bytes: 64 << 10,
            wall_clock_offset_ms: self.wall_clock_offset_ms.unwrap_or(0),
        };
        listed_peers(&config).map_err(|error| Failure::Usage(error.to_string()))?;
        if config.has_one_door() {
            return Err(Failure::Usage(format!(
                "--listen {} and --peer-listen {}: clients and peers need a port each",
                config.listen, config.peer_listen
            )));
        }
        Ok(config)
    }
}

/// Refuses more partitions than a cluster can have.
///
/// # Errors
/// `Usage`.
pub fn check_partitions(given: NonZeroU32) -> Result<(), Failure> {
    if given.get() <= MAX_PARTITIONS {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "--partitions {given}: a cluster has at most {MAX_PARTITIONS}, whose placement fits one record of the log"
    )))
}

/// Resolves the address of a flag; refuses one outside of loopback unless `insecure`.
fn address(flag: &str, text: &str, insecure: bool) -> Result<SocketAddr, Failure> {
    let unresolved = |error| Failure::Usage(format!("{flag} {text}: {error}"));
    let found = text.to_socket_addrs().map_err(unresolved)?.next();
    let address = found.ok_or_else(|| Failure::Usage(format!("{flag} {text}: the name has no address")))?;
    if !address.ip().is_loopback() && !insecure {
        return Err(Failure::Usage(format!(
            "{flag} {text}: whoever reaches this address could do everything, since nothing asks for a login yet; \
             listen on 127.0.0.1, or add --insecure-listen on a network you trust"
        )));
    }
    Ok(address)
}

/// The address that is announced. Others cannot connect to "any address".
fn reachable(flag: &str, listen: IpAddr, advertised: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(text) = advertised else {
        if listen.is_unspecified() {
            return Err(Failure::Usage(format!("{flag} HOST:PORT is needed: nobody can connect to {listen}")));
        }
        return Ok(None);
    };
    let Address(address) = text.parse().map_err(|error| Failure::Usage(format!("{flag}: {error}")))?;
    Ok(Some(address))
}

/// Within a bound, named with the flag otherwise.
fn within(flag: &str, size: Size, least: Size, most: Size) -> Result<u64, Failure> {
    if (least.0..=most.0).contains(&size.0) {
        return Ok(size.0);
    }
    Err(Failure::Usage(format!("{flag} {size}: from {least} to {most}")))
}

/// The CPUs that this process may run on, ascending.
fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// The data directory without a flag.
///
/// # Errors
/// `Usage` when the environment names no home.
pub fn default_data_dir() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("kahuna")).ok_or_else(|| {
        Failure::Usage("neither XDG_DATA_HOME nor HOME says where data lives: give --data-dir".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> NodeArgs {
        NodeArgs { data_dir: Some("/data".into()), ..NodeArgs::default() }
    }

    fn refusal(args: NodeArgs) -> String {
        args.config().expect_err("refused").to_string()
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = NodeArgs { node_id: Some(3), ..args() };
        let file = NodeArgs { node_id: Some(2), partitions: NonZeroU32::new(4), ..NodeArgs::default() };
        let config = flags.or(file).config().expect("a good configuration");
        assert_eq!((config.node, config.partitions), (NodeId(3), Some(4)));
    }

    #[test]
    fn only_loopback_without_the_flag() {
        let open = NodeArgs { listen: Some("0.0.0.0:1".into()), ..args() };
        assert!(refusal(open.clone()).contains("--insecure-listen"));
        let open = NodeArgs { insecure_listen: Some(true), ..open };
        assert!(refusal(open.clone()).contains("--advertise"));
        let told = NodeArgs { advertise: Some("host:1".into()), ..open };
        assert!(told.config().is_ok());
    }

    #[test]
    fn clients_and_peers_have_a_door_each() {
        let doors = |listen: &str, peer_listen: &str| {
            let args = NodeArgs { listen: Some(listen.into()), peer_listen: Some(peer_listen.into()), ..args() };
            NodeArgs { insecure_listen: Some(true), peer_advertise: Some("host:1".into()), ..args }.config()
        };
        for (listen, peer_listen) in [("127.0.0.1:1", "127.0.0.1:1"), ("127.0.0.1:1", "0.0.0.0:1")] {
            let refused = doors(listen, peer_listen).expect_err("one door");
            assert!(refused.to_string().contains("a port each"), "{refused}");
        }
        for (listen, peer_listen) in [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:1", "127.0.0.2:1")] {
            assert!(doors(listen, peer_listen).is_ok(), "{listen} {peer_listen}");
        }
    }

    #[test]
    fn more_partitions_than_a_cluster_can_have_are_refused() {
        let given = |partitions| NodeArgs { partitions: NonZeroU32::new(partitions), ..args() };
        assert!(refusal(given(MAX_PARTITIONS + 1)).contains(&format!("at most {MAX_PARTITIONS}")));
        assert_eq!(given(MAX_PARTITIONS).config().expect("a good configuration").partitions, Some(MAX_PARTITIONS));
    }

    #[test]
    fn times_must_fit_each_other() {
        let span = |text: &str| text.parse::<Span>().ok();
        let close = NodeArgs { heartbeat: span("100ms"), ..args() };
        assert!(refusal(close).contains("--election-min"));
        let slow = NodeArgs { election_min: span("1s"), election_max: span("2s"), ..args() };
        assert!(slow.config().is_ok());
        let timed = |heartbeat: &str, election_min: &str, election_max: &str| {
            let (heartbeat, election_min, election_max) = (span(heartbeat), span(election_min), span(election_max));
            NodeArgs { heartbeat, election_min, election_max, ..args() }
        };
        assert!(timed("1ms", "2ms", "3ms").config().is_ok());
        assert!(timed("1ms", "9m", "10m").config().is_ok());
        for (heartbeat, min, max, words) in [
            ("50ms", "150ms", "150.5ms", ["--election-min 150ms", "--election-max 150.5ms"]),
            ("50ms", "150ms", "150ms", ["--election-min 150ms", "--election-max 150ms"]),
            ("1ns", "150ms", "300ms", ["--heartbeat 1ns", "whole milliseconds"]),
            ("1s", "150ms", "300ms", ["--heartbeat 1s", "--election-min 150ms"]),
            ("1.9ms", "1.9ms", "300ms", ["--heartbeat 1.9ms", "--election-min 1.9ms"]),
            ("50ms", "150ms", "200000d", ["--election-max", "at most 600s"]),
            ("200000d", "200000d", "200000d", ["--heartbeat", "--election-min"]),
        ] {
            let refused = refusal(timed(heartbeat, min, max));
            assert!(words.iter().all(|word| refused.contains(word)), "{heartbeat} {min} {max}: {refused}");
        }
    }

    #[test]
    fn sizes_and_skews_have_bounds_that_their_refusal_names() {
        let size = |text: &str| NodeArgs { snapshot_log_size: text.parse().ok(), ..args() };
        assert_eq!(size("4KiB").config().expect("the least").snapshot_log_bytes, 4 << 10);
        for text in ["0B", "4095B", "2TiB", "16777215TiB"] {
            assert!(refusal(size(text)).contains("from 4KiB to 1TiB"), "{text}");
        }
        let skew = |text: &str| NodeArgs { max_clock_skew: text.parse().ok(), ..args() };
        assert_eq!(skew("1h").config().expect("the most").limits.max_clock_skew_ms, 3_600_000);
        for text in ["0s", "61m", "200000d"] {
            assert!(refusal(skew(text)).contains("from 1ms to 1h"), "{text}");
        }
    }

    #[test]
    fn what_others_are_told_is_an_address() {
        let told = |text: &str| NodeArgs { peer_advertise: Some(text.into()), ..args() };
        assert_eq!(told(" host:1 ").config().expect("an address").peer_advertise, Some("host:1".to_owned()));
        for text in [":80", "host:0", "host:99999", "a b:1", "host", ""] {
            assert!(refusal(told(text)).contains("--peer-advertise"), "{text}");
        }
    }

    #[test]
    fn the_skew_reaches_clients_and_replicas_alike() {
        let config = NodeArgs { max_clock_skew: "1s".parse().ok(), ..args() }.config().expect("a good configuration");
        assert_eq!((config.limits.max_clock_skew_ms, config.settings.max_clock_skew_ms), (1000, 1000));
    }

    #[test]
    fn every_node_takes_the_same_values_whatever_its_segments() {
        assert!(SEGMENT.0.0 / 2 >= u64::from(Limits::default().max_value_bytes), "a record never spans segments");
        for size in ["2MiB", "32MiB", "1GiB"] {
            let args = NodeArgs { segment_size: size.parse().ok(), ..args() };
            assert_eq!(args.config().expect("a good configuration").limits, Limits::default(), "{size}");
        }
        let args = NodeArgs { segment_size: "1MiB".parse().ok(), ..args() };
        assert!(refusal(args).contains("from 2MiB"));
    }

    #[test]
    fn peers_are_numbers_and_addresses() {
        assert!("1=127.0.0.1:2071".parse::<Peer>().is_ok() && "2=[::1]:2071".parse::<Peer>().is_ok());
        for text in
            ["127.0.0.1:2071", "x=a:1", "1=a", "1=a:x", "1=:80", "1=a:0", "1=a:99999", "1= :80", "1=a b:80", "", "=a:1"]
        {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }

    #[test]
    fn shards_are_pinned_only_when_the_node_takes_the_whole_machine() {
        let whole = args().config().expect("a good configuration");
        assert_eq!(whole.cpus.len(), usize::from(whole.shards));
        let given = NodeArgs { shards: NonZeroU16::new(1), ..args() }.config().expect("a good configuration");
        assert!(given.cpus.is_empty());
    }
}
