//! What a group needs of its shard.

use std::rc::Rc;

use kahuna_protocol::ShardId;

use crate::clock::Clock;
use crate::config::NodeConfig;
use crate::env::Env;
use crate::lanes::Lanes;
use crate::peer::Peers;

/// What a group needs of the shard that it belongs to.
pub struct GroupContext<E: Env> {
    /// Which shard.
    pub shard: ShardId,
    /// Configuration of the node; the same for all groups.
    pub config: Rc<NodeConfig>,
    /// The stamps of what the group proposes.
    pub clock: Rc<Clock<E>>,
    /// The links to the other nodes: requests go to the one that leads.
    pub peers: Rc<Peers<E>>,
    /// The lanes to the other shards, which carry news of leaders.
    pub lanes: Rc<Lanes<E>>,
}
