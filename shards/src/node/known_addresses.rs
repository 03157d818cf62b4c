//! The other nodes' addresses that a shard's links know, by source.

use std::rc::Rc;

use kahuna_machine::Meta;
use kahuna_protocol::NodeId;

use super::addresses::{keep_addresses, recall_addresses};
use super::context::NodeContext;
use crate::env::Env;
use crate::peer::AddressSource;

/// Adds the operator's addresses of the other nodes, from the founding and from this start.
pub fn set_told_addresses<E: Env>(cx: &NodeContext<E>) {
    set_members(cx);
    let manifest = cx.manifest();
    let (told, strangers): (Vec<_>, Vec<_>) =
        cx.config.peers.iter().partition(|peer| manifest.peers.iter().any(|(listed, _)| *listed == peer.node));
    let told = told.into_iter().map(|peer| (peer.node, None, peer.address.clone())).collect();
    cx.shard.peers().set_addresses(AddressSource::Told, told);
    if cx.is_first_shard() {
        for peer in strangers {
            crate::say!(
                "node {}: --peers lists node {} at {}, which is no member of the cluster; left out",
                cx.config.node,
                peer.node,
                peer.address
            );
        }
    }
}

/// Who was listed when the cluster was founded, and the data directory of each as soon as that is founded.
pub fn set_members<E: Env>(cx: &NodeContext<E>) {
    let manifest = cx.manifest();
    let members = manifest.founding.as_ref().map(|founding| &founding.members);
    let incarnation_of = |node: NodeId| {
        let member = members.into_iter().flatten().find(|member| member.node == node);
        member.map(|member| member.incarnation)
    };
    let node = |node: NodeId, address: &String| (node, incarnation_of(node), address.clone());
    let listed = manifest.peers.iter().map(|(number, address)| node(*number, address)).collect();
    cx.shard.peers().set_addresses(AddressSource::Listed, listed);
}

/// Where the meta group has the other nodes on record.
pub fn set_recorded<E: Env>(cx: &NodeContext<E>, meta: &Meta) {
    let known = meta.nodes().filter(|info| info.node != cx.config.node);
    let addresses = known.map(|info| (info.node, Some(info.incarnation), info.peer_address.clone()));
    cx.shard.peers().set_addresses(AddressSource::Recorded, addresses.collect());
}

/// Takes up where the other nodes were last. Shard 0, which dials them all, keeps that.
pub async fn remember_addresses<E: Env>(cx: Rc<NodeContext<E>>) {
    let (peers, data_dir) = (cx.shard.peers().clone(), cx.config.data_dir.clone());
    let keeps = cx.is_first_shard();
    let kept = recall_addresses(&peers, &cx.disk, &data_dir, keeps).await;
    if keeps {
        keep_addresses(peers, cx.disk.clone(), data_dir, kept).await;
    }
}
