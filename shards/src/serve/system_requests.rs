//! Which of the system's own commands another node may propose here.
//!
//! No node forwards such a command for another, so the link that it arrives over identifies its author:
//! ```text
//!   Tick, PlaceGroups          refused: the group's leader proposes them itself
//!   UpsertNode, ReplaceReplica the node's own: of its own number and data directory
//!   SetLed, FinishReplacement  of a node with a replica of the group
//! ```
//! Rules that hold under every leader are checked by the state machine as well; this file checks the rest.

use kahuna_machine::Meta;
use kahuna_protocol::frame::to_owned;
use kahuna_protocol::meta::Placement;
use kahuna_protocol::request::Class;
use kahuna_protocol::{ErrorCode, ErrorReply, GroupId, Incarnation, NodeId, RequestPrelude, RequestRef, SessionId};

use crate::peer::PeerIdentity;
use crate::request::for_itself;

/// Whether the node `from` may have `request` proposed in `group`. `meta` is what the meta group's replica here has applied.
///
/// # Errors
/// The refusal: `BadRequest` for what no node in order sends, `NotReady` for what cannot be judged yet.
pub(super) fn check(
    from: PeerIdentity,
    group: GroupId,
    prelude: &RequestPrelude,
    request: &RequestRef<'_>,
    meta: Option<&Meta>,
) -> Result<(), ErrorReply> {
    debug_assert_eq!(request.class(), Class::System);
    let refuse = |text: String| Err(ErrorReply::new(ErrorCode::BadRequest, format!("node {}: {text}", from.node)));
    if for_itself(request) {
        return refuse("the leader of a group proposes this itself".to_owned());
    }
    if group != GroupId::META {
        return refuse(format!("group {group} does not take the meta group's commands"));
    }
    if prelude.session != SessionId(0) {
        return refuse("a command of the system belongs to no session".to_owned());
    }
    let own = |node: NodeId, incarnation: Incarnation| {
        if (node, incarnation) == (from.node, from.incarnation) {
            return Ok(());
        }
        refuse(format!(
            "it speaks of node {node} with data directory {incarnation:016x}, and is not that node with that directory"
        ))
    };
    let asked = match request {
        RequestRef::UpsertNode(body) => return own(to_owned(&body.info.node), to_owned(&body.info.incarnation)),
        RequestRef::ReplaceReplica(body) => return own(to_owned(&body.node), to_owned(&body.incarnation)),
        RequestRef::SetLed(body) => to_owned(&body.group),
        RequestRef::FinishReplacement(body) => to_owned(&body.group),
        _ => return refuse("this is no command of the system".to_owned()),
    };
    let Some(meta) = meta.filter(|meta| meta.is_placed()) else {
        return Err(ErrorReply::new(ErrorCode::NotReady, "where the groups are is not known here yet"));
    };
    let here = |placement: &&Placement| {
        placement.replicas.iter().any(|replica| (replica.node, replica.incarnation) == (from.node, from.incarnation))
    };
    match meta.placement(asked).filter(here) {
        Some(_) => Ok(()),
        None => refuse(format!("it has no replica of group {asked}, and speaks for its leader")),
    }
}

#[cfg(test)]
mod tests {
    use kahuna_protocol::meta::{
        FinishReplacement, NodeInfo, PlaceGroups, ReplaceReplica, Replica, SetLed, Settings, Tick, UpsertNode,
    };
    use kahuna_protocol::{RangeMap, ReplicaId, Request};

    use super::*;

    const FROM: PeerIdentity = PeerIdentity { node: NodeId(2), incarnation: Incarnation(102), boot_id: 1 };

    fn groups() -> PlaceGroups {
        let replica = |node: u32, id: u64| Replica {
            replica: ReplicaId(id),
            node: NodeId(node),
            incarnation: Incarnation(100 + u64::from(node)),
        };
        let placements = vec![
            Placement { group: GroupId(1), replicas: vec![replica(1, 4), replica(2, 5)], led: false },
            Placement { group: GroupId(2), replicas: vec![replica(1, 6), replica(3, 7)], led: false },
        ];
        PlaceGroups { settings: Settings::default(), map: RangeMap::even(2), placements }
    }

    fn asked_in(group: GroupId, session: u64, request: impl Into<Request>, placed: bool) -> Result<(), ErrorCode> {
        let mut meta = Meta::default();
        if placed {
            meta.place(groups()).expect("sound");
        }
        let request: Request = request.into();
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let body = bytes::Bytes::from(body);
        let request = RequestRef::access(request.kind(), &body).expect("sound");
        let prelude = RequestPrelude { session: SessionId(session), ..RequestPrelude::default() };
        check(FROM, group, &prelude, &request, Some(&meta)).map_err(|error| error.code())
    }

    fn asked(request: impl Into<Request>) -> Result<(), ErrorCode> {
        asked_in(GroupId::META, 0, request, true)
    }

    fn info(node: u32, incarnation: u64) -> UpsertNode {
        let address = "127.0.0.1:1".to_owned();
        let info = NodeInfo {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            client_address: address.clone(),
            peer_address: address,
            shards: 1,
        };
        UpsertNode { info }
    }

    #[test]
    fn a_node_speaks_for_itself_and_for_the_groups_it_has_and_for_nothing_else() {
        const REFUSED: Result<(), ErrorCode> = Err(ErrorCode::BadRequest);
        assert_eq!(asked(Tick { to: u64::MAX }), REFUSED);
        assert_eq!(asked(Tick { to: 0 }), REFUSED);
        assert_eq!(asked(groups()), REFUSED);
        assert_eq!(asked(info(2, 102)), Ok(()));
        assert_eq!((asked(info(3, 103)), asked(info(2, 103)), asked(info(9, 102))), (REFUSED, REFUSED, REFUSED));
        let replace = |node, incarnation| ReplaceReplica {
            group: GroupId(1),
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
            loss: 1,
        };
        assert_eq!((asked(replace(2, 102)), asked(replace(1, 101))), (Ok(()), REFUSED));
        assert_eq!((asked(SetLed { group: GroupId(1) }), asked(SetLed { group: GroupId(2) })), (Ok(()), REFUSED));
        assert_eq!(asked(SetLed { group: GroupId(77) }), REFUSED);
        let finish = |group| FinishReplacement { group: GroupId(group), replica: ReplicaId(9) };
        assert_eq!((asked(finish(1)), asked(finish(2))), (Ok(()), REFUSED));
        assert_eq!(asked_in(GroupId(1), 0, info(2, 102), true), REFUSED, "a data group has no nodes");
        assert_eq!(asked_in(GroupId::META, 5, info(2, 102), true), REFUSED, "a session's answers are kept");
        assert_eq!(asked_in(GroupId::META, 0, SetLed { group: GroupId(1) }, false), Err(ErrorCode::NotReady));
    }
}
