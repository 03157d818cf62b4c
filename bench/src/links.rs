//! One client's connections, and which of them a name goes to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kahuna_client::Clock;
use kahuna_client::core::ServerTime;
use kahuna_client::wire::{ConnectOptions, Connection, WireError};
use kahuna_protocol::handshake::ANY_SHARD;
use kahuna_protocol::meta::Map;
use kahuna_protocol::{GroupId, Hlc, NodeId, Position, ShardId};

/// A node and one of its shards.
pub(crate) type Place = (NodeId, ShardId);

/// Between two attempts to reach a place that could not be reached.
const RETRY: Duration = Duration::from_millis(100);

/// Connections by place, opened when they are first needed.
#[derive(Debug)]
pub(crate) struct Links {
    endpoints: Vec<String>,
    map: Map,
    open: BTreeMap<Place, Connection>,
    avoid: BTreeMap<Place, Instant>,
    options: ConnectOptions,
    clock: Clock,
    time: ServerTime,
}

impl Links {
    /// Connects to the first endpoint that answers.
    ///
    /// # Errors
    /// Of the last endpoint tried.
    pub(crate) fn open(
        endpoints: &[String],
        timeout: Duration,
        clock: Clock,
        time: ServerTime,
    ) -> Result<Self, WireError> {
        let options = ConnectOptions { name: "kahuna-bench".to_owned(), timeout, ..ConnectOptions::default() };
        let (place, connection) = connect_any(endpoints, &options)?;
        let mut links = Self {
            endpoints: endpoints.to_vec(),
            map: connection.welcome().map.clone(),
            open: BTreeMap::new(),
            avoid: BTreeMap::new(),
            options,
            clock,
            time,
        };
        links.add(place, connection);
        Ok(links)
    }

    fn add(&mut self, place: Place, connection: Connection) {
        let skew_ms = connection.welcome().limits.max_clock_skew_ms;
        self.time.greeted(connection.stamp(), skew_ms, self.clock.now());
        self.open.insert(place, connection);
    }

    /// Takes the stamp of an answer about a name in `partition`, or of a node itself. Whether a map is to be asked for: its stamp
    /// is a node's own time.
    pub(crate) fn heard(&mut self, stamp: Hlc, partition: Option<GroupId>) -> bool {
        let now = self.clock.now();
        match partition {
            Some(partition) => self.time.answered(stamp, partition, now),
            None => {
                self.time.told(stamp, now);
                false
            }
        }
    }

    /// Unix milliseconds by the clock of `partition`, or of the nodes.
    pub(crate) fn unix_ms(&self, partition: Option<GroupId>) -> u64 {
        self.time.unix_ms(partition, self.clock.now())
    }

    /// The partition of a name, as the map has it.
    pub(crate) fn partition(&self, name: &[u8]) -> Option<GroupId> {
        self.map.ranges.find(&Position::of_name(name)).map(|range| range.partition)
    }

    /// Takes a newer map over.
    pub(crate) fn adopt(&mut self, map: Map) {
        self.map = map;
    }

    /// The connection that leads where `name` is, or another one that will pass the request on.
    ///
    /// # Errors
    /// When no node can be reached at all.
    pub(crate) fn route(&mut self, name: &[u8]) -> Result<Place, WireError> {
        if let Some(place) = self.leader(name) {
            if self.open.contains_key(&place) {
                return Ok(place);
            }
            if self.connect(place) {
                return Ok(place);
            }
        }
        match self.open.keys().next() {
            Some(place) => Ok(*place),
            None => {
                let (place, connection) = connect_any(&self.endpoints, &self.options)?;
                self.map = connection.welcome().map.clone();
                self.add(place, connection);
                Ok(place)
            }
        }
    }

    fn leader(&self, name: &[u8]) -> Option<Place> {
        let range = self.map.ranges.find(&Position::of_name(name))?;
        let node = self.map.nodes.iter().find(|node| node.node == range.leader)?;
        Some((node.node, range.partition.shard(node.shards.max(1))))
    }

    fn connect(&mut self, place: Place) -> bool {
        if self.avoid.get(&place).is_some_and(|until| Instant::now() < *until) {
            return false;
        }
        let Some(node) = self.map.nodes.iter().find(|node| node.node == place.0) else { return false };
        let options = ConnectOptions { shard: place.1, ..self.options.clone() };
        match connect_one(&node.client_address, &options) {
            Ok(connection) => {
                self.add(place, connection);
                true
            }
            Err(_) => {
                self.avoid.insert(place, Instant::now() + RETRY);
                false
            }
        }
    }

    /// The connection to a place that [`Links::route`] gave.
    pub(crate) fn get(&mut self, place: Place) -> Option<&mut Connection> {
        self.open.get_mut(&place)
    }

    /// Every open connection.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut Connection)> {
        self.open.iter_mut().map(|(place, connection)| (*place, connection))
    }

    /// Every open connection, to be looked at only.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place, &Connection)> {
        self.open.iter().map(|(place, connection)| (*place, connection))
    }

    /// A connection is gone.
    pub(crate) fn close(&mut self, place: Place) {
        self.open.remove(&place);
        self.avoid.insert(place, Instant::now() + RETRY);
    }
}

fn connect_any(endpoints: &[String], options: &ConnectOptions) -> Result<(Place, Connection), WireError> {
    let mut last = WireError::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no endpoint was given"));
    for endpoint in endpoints {
        match connect_one(endpoint, &ConnectOptions { shard: ANY_SHARD, ..options.clone() }) {
            Ok(connection) => return Ok(((connection.welcome().node, connection.welcome().shard), connection)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A connection on which no read lasts for ever: a node answers within the timeout, beyond twice that it is given up.
fn connect_one(endpoint: &str, options: &ConnectOptions) -> Result<Connection, WireError> {
    let connection = Connection::connect(endpoint, options)?;
    connection.set_read_timeout(Some(options.timeout * 2))?;
    Ok(connection)
}
