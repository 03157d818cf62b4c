//! Claim: the tokio adapter does over real sockets what the core asks for.

mod server;

use std::sync::Arc;
use std::time::Duration;

use kahuna_client::call::{AllocateAnswer, GetAnswer, SetAnswer};
use kahuna_client::protocol::NodeId;
use kahuna_client::protocol::key::KeyScan;
use kahuna_client::protocol::sequence::SequenceNext;
use kahuna_client::tokio::Client;
use kahuna_client::{CallOptions, ClientError, Options};
use server::{Server, Store};

fn client(servers: &[&Server]) -> Client {
    Client::new(Options::new(servers.iter().map(|server| server.endpoint.clone()))).expect("a runtime")
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

#[test]
fn verbs_bring_typed_answers() {
    run(async {
        let store = Arc::new(Store::default());
        let server = Server::start(1, &store);
        let client = client(&[&server]);
        assert!(matches!(client.set("b/k", "v", None).await, Ok(SetAnswer::Set(set)) if set.revision == 1));
        assert!(matches!(client.get("b/k").await, Ok(GetAnswer::Value(value)) if value.value == b"v"));
        assert_eq!(client.status(server.endpoint.clone()).await.expect("a status").node, NodeId(1));
        let (space, limit) = (b"b".to_vec(), 10);
        let (from, prefix) = (Vec::new(), Vec::new());
        let mut pages =
            client.scan(KeyScan { space, from, after: false, prefix, limit, as_of: None, keys_only: false });
        assert_eq!(pages.next_page().await.expect("a page").expect("one").items.len(), 1);
        assert_eq!(pages.next_page().await.expect("no error"), None);
    });
}

#[test]
fn many_under_way_are_answered_in_any_order() {
    run(async {
        let store = Arc::new(Store::default());
        let server = Server::start(1, &store);
        let client = client(&[&server]);
        client.sequence_next("s").await.expect("connected");
        server.reverse(256);
        let next = || SequenceNext { name: b"s".to_vec(), idempotency_key: Vec::new() };
        let pending: Vec<_> = (0..256).map(|_| client.submit(next(), CallOptions::default())).collect();
        for (pending, expected) in pending.into_iter().zip(2..) {
            match pending.await {
                Ok(AllocateAnswer::Allocated(allocated)) => assert_eq!(allocated.start, expected),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_lost_answer_is_fetched_by_the_same_number_from_another_node() {
    run(async {
        let store = Arc::new(Store::default());
        let servers = [Server::start(1, &store), Server::start(2, &store)];
        let client = client(&[&servers[0], &servers[1]]);
        servers.iter().for_each(|server| server.swallow(1));
        assert!(matches!(client.set("k", "v", None).await, Ok(SetAnswer::Set(set)) if set.revision == 1));
        assert_eq!(store.applied(), 1);
    });
}

#[test]
fn a_mute_node_is_unavailable_in_time_and_dropping_the_client_closes_everything() {
    run(async {
        let store = Arc::new(Store::default());
        let mute = Server::start_mute(1, &store);
        let client = client(&[&mute]);
        let options = CallOptions { timeout: Some(Duration::from_millis(300)), ..CallOptions::default() };
        let call = client.call_with(SequenceNext { name: b"s".to_vec(), idempotency_key: Vec::new() }, options);
        assert!(matches!(call.await, Err(ClientError::Unavailable { .. })));
        assert_eq!(mute.accepted(), 1);
        drop(client);
        while !mute.all_closed() {
            tokio::task::yield_now().await;
        }
    });
}
