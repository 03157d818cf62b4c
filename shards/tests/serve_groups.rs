//! Requests meet groups: over lanes or directly, gathered into batches, ended by deadlines, answered exactly once. Every
//! group has one replica on a real log; clients speak over loopback.

mod serve_support;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use kahuna_protocol::frame::encode_frame;
use kahuna_protocol::key::{Condition, KeyExists, KeyGet, KeySet, LockGuard};
use kahuna_protocol::lock::LockAcquire;
use kahuna_protocol::meta::{Settings, StatusGet};
use kahuna_protocol::sequence::{SequenceCreate, SequenceNext};
use kahuna_protocol::{ErrorCode, Hlc, Limits, Outcome, ReadLevel, Request, RequestPrelude, SessionId, ShardId};
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;
use kahuna_shards::shard::Shard;
use serve_support::groups::{lead, open_groups};
use serve_support::{Client, Gauge, PATIENCE, Served, serve};

fn led(shards: u16, partitions: u32, settings: Settings) -> Served {
    led_with(shards, partitions, settings, Limits::default(), |_| {})
}

fn led_with(
    shards: u16,
    partitions: u32,
    settings: Settings,
    limits: Limits,
    inside: impl FnOnce(&[Rc<Shard<Linux>>]) + Send + 'static,
) -> Served {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let mut served = serve(shards, limits, move |all| async move {
        open_groups(&all, path, partitions, settings).await;
        lead(&all).await;
        inside(&all);
    });
    served.dir = Some(dir);
    served
}

fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("fits")
}

fn read() -> RequestPrelude {
    RequestPrelude { timeout_ms: 10_000, ..RequestPrelude::default() }
}

fn write(session: u64, number: u64) -> RequestPrelude {
    RequestPrelude { session: SessionId(session), number, valid_until_ms: wall_ms() + 60_000, ..read() }
}

fn set(key: &str, value: &str, ttl_ms: Option<u64>) -> Request {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Request::KeySet(KeySet { key, value, ttl_ms, condition: Condition::default(), no_history: false })
}

fn get(key: &str) -> Request {
    Request::KeyGet(KeyGet { key: key.as_bytes().to_vec(), revision: None, as_of: None })
}

fn value_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Value(value) => String::from_utf8(value.value).expect("text"),
        other => panic!("a value was expected: {other:?}"),
    }
}

fn revision_of(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Set(set) => set.revision,
        other => panic!("a write was expected: {other:?}"),
    }
}

fn error_of(outcome: Outcome) -> ErrorCode {
    match outcome {
        Outcome::Error(error) => error.code(),
        other => panic!("an error was expected: {other:?}"),
    }
}

#[test]
fn any_shard_serves_every_partition() {
    let served = led(3, 8, Settings::default());
    for wish in (0..3).map(ShardId) {
        let (mut client, welcome) = Client::greet(served.address, &serve_support::hello(wish));
        assert_eq!((welcome.shard, welcome.map.ranges.ranges.len()), (wish, 8));
        for level in [ReadLevel::Linearizable, ReadLevel::Lease, ReadLevel::Stale] {
            for name in 0..32_u64 {
                let (key, value) = (format!("space-{name}/k"), format!("{wish} {level:?} {name}"));
                let number = u64::from(wish.0) * 1000 + level as u64 * 100 + name + 1;
                revision_of(&client.ask(&write(5, number), &set(&key, &value, None)));
                assert_eq!(value_of(client.ask(&RequestPrelude { read: level, ..read() }, &get(&key))), value);
            }
        }
    }
}

#[test]
fn requests_in_flight_are_answered_once_each_and_share_log_entries() {
    const REQUESTS: u64 = 3000;
    let served = led(2, 1, Settings::default());
    let mut client = Client::connect(served.address);
    let sent: BTreeMap<u64, u64> = (1..=REQUESTS)
        .map(|number| (client.request(&write(9, number), &set("one", &number.to_string(), None)), number))
        .collect();
    let mut revisions = BTreeMap::new();
    for _ in 0..REQUESTS {
        let (id, outcome) = client.answer();
        let doubled = revisions.insert(sent[&id], revision_of(&outcome));
        assert_eq!(doubled, None, "request {id} was answered twice");
    }
    let mut applied: Vec<_> = revisions.into_values().collect();
    applied.sort_unstable();
    assert_eq!(applied, (1..=REQUESTS).collect::<Vec<_>>(), "each was applied once");
    let Outcome::Status(status) = client.ask(&read(), &Request::StatusGet(StatusGet {})) else {
        panic!("a status was expected");
    };
    let entries = status.replicas[0].last_index;
    assert!(entries < REQUESTS / 4, "{REQUESTS} commands made {entries} entries");
    assert!(status.log_flushes > 0 && status.log_flushes < REQUESTS);
}

#[test]
fn a_repeat_returns_the_first_outcome() {
    let served = led(2, 2, Settings::default());
    let mut client = Client::connect(served.address);
    let first = client.ask(&write(3, 1), &set("k", "a", None));
    client.ask(&write(3, 2), &set("k", "b", None));
    let mut again = Client::connect(served.address);
    assert_eq!(again.ask(&write(3, 1), &set("k", "a", None)), first);
    assert_eq!(value_of(again.ask(&read(), &get("k"))), "b");
    assert_eq!(error_of(again.ask(&write(3, 1), &set("k", "other", None))), ErrorCode::Conflict);
}

#[test]
fn sequences_of_many_connections_never_give_a_value_twice() {
    let served = led(2, 4, Settings::default());
    let create = SequenceCreate { name: b"s".to_vec(), initial: 0, increment: 1, max: None };
    Client::connect(served.address).ask(&write(1, 1), &Request::SequenceCreate(create));
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(served.address)).collect();
    let mut values = Vec::new();
    for round in 1..=50 {
        for (index, client) in clients.iter_mut().enumerate() {
            let next = SequenceNext { name: b"s".to_vec(), idempotency_key: Vec::new() };
            client.request(&write(100 + index as u64, round), &Request::SequenceNext(next));
        }
        for client in &mut clients {
            match client.answer().1 {
                Outcome::Allocated(allocated) => values.push(allocated.start),
                other => panic!("a value was expected: {other:?}"),
            }
        }
    }
    values.sort_unstable();
    assert_eq!(values, (1..=400).collect::<Vec<_>>(), "unique and without gaps");
}

#[test]
fn a_record_past_its_deadline_is_not_shown_though_nothing_is_written() {
    let served = led(1, 1, Settings { max_clock_skew_ms: 20, ..Settings::default() });
    let mut client = Client::connect(served.address);
    client.ask(&write(1, 1), &set("short", "x", Some(100)));
    let Outcome::Value(value) = client.ask(&read(), &get("short")) else { panic!("it lives for 100 ms") };
    let end_ms = value.deadline_ms.expect("a ttl") + 20;
    let started = Instant::now();
    loop {
        let asked_ms = wall_ms();
        match client.ask(&read(), &get("short")) {
            Outcome::NotFound(_) => break,
            // The leader's clock and ours are one; it may be a millisecond late to round up.
            Outcome::Value(_) => assert!(asked_ms <= end_ms + 1, "shown {} ms after its end", asked_ms - end_ms),
            other => panic!("{other:?}"),
        }
        assert!(started.elapsed() < PATIENCE, "it never ended");
    }
    let exists = Request::KeyExists(KeyExists { key: b"short".to_vec(), revision: None, as_of: None });
    let stale = RequestPrelude { read: ReadLevel::Stale, ..read() };
    assert!(matches!(client.ask(&stale, &exists), Outcome::NotFound(_)), "machine time has passed the deadline");
}

#[test]
fn a_time_far_ahead_is_refused_and_moves_nothing() {
    let served = led(1, 1, Settings::default());
    let mut client = Client::connect(served.address);
    client.ask(&write(1, 1), &set("k", "x", None));
    let ahead = KeyGet { key: b"k".to_vec(), revision: None, as_of: Some(u64::MAX) };
    assert_eq!(error_of(client.ask(&read(), &Request::KeyGet(ahead))), ErrorCode::BadRequest);
    let beyond_skew = KeyGet { key: b"k".to_vec(), revision: None, as_of: Some((wall_ms() + 5_000) << 16) };
    assert_eq!(error_of(client.ask(&read(), &Request::KeyGet(beyond_skew))), ErrorCode::BadRequest);
    let near = KeyGet { key: b"k".to_vec(), revision: None, as_of: Some((wall_ms() + 50) << 16) };
    assert_eq!(value_of(client.ask(&read(), &Request::KeyGet(near))), "x");
    revision_of(&client.ask(&write(1, 2), &set("k", "y", None)));
}

#[test]
fn a_client_whose_clock_is_ahead_ends_no_lease() {
    let served = led(1, 1, Settings::default());
    let mut client = Client::connect(served.address);
    let acquire = |owner: &str| {
        let (name, owner) = (b"l".to_vec(), owner.as_bytes().to_vec());
        Request::LockAcquire(LockAcquire { name, owner, ttl_ms: 5_000, wait_ms: 0 })
    };
    assert!(matches!(client.ask(&write(1, 1), &acquire("a")), Outcome::Acquired(_)));
    // Every frame carries a stamp, and the node's clock follows it: not as far as this one.
    let ahead = Hlc::from_millis(wall_ms() + 9_000);
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, get("l").kind(), 0, 77, ahead, |out| {
        out.extend_from_slice(&read().encode());
        get("l").encode_body(out);
    });
    client.send(&bytes);
    assert!(matches!(client.answer(), (77, Outcome::NotFound(_))));
    let second = client.ask(&write(2, 1), &acquire("b"));
    assert!(matches!(second, Outcome::Held(_)), "the lease of the first owner runs: {second:?}");
}

/// A group that nobody leads: `release` lets it lead itself.
fn unled(limits: Limits) -> (Served, flume::Sender<()>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let (release, released) = flume::bounded::<()>(1);
    let mut served = serve(2, limits, move |all| async move {
        open_groups(&all, path, 1, Settings::default()).await;
        Linux::spawn(async move {
            if Linux::across_threads(released.recv_async()).await.is_ok() {
                lead(&all).await;
            }
        });
    });
    served.dir = Some(dir);
    (served, release)
}

#[test]
fn waits_without_a_leader_end_at_their_deadlines_and_say_not_applied() {
    let (served, release) = unled(Limits::default());
    let mut client = Client::connect(served.address);
    let long = client.request(&RequestPrelude { timeout_ms: 15_000, ..write(1, 1) }, &set("k", "long", None));
    let middle = client.request(&RequestPrelude { timeout_ms: 200, ..read() }, &get("k"));
    let short = client.request(&RequestPrelude { timeout_ms: 50, ..write(1, 2) }, &set("k", "short", None));
    for expected in [short, middle] {
        let (id, outcome) = client.answer();
        assert_eq!((id, error_of(outcome)), (expected, ErrorCode::NoLeader));
    }
    release.send(()).expect("the shards run");
    let (id, outcome) = client.answer();
    assert_eq!((id, revision_of(&outcome)), (long, 1), "it waited for the leader");
    assert_eq!(value_of(client.ask(&read(), &get("k"))), "long", "what was refused never came");
}

#[test]
fn a_connection_over_its_limit_is_busy_and_others_are_not() {
    let (served, release) = unled(Limits { connection_in_flight: 8, ..Limits::default() });
    let mut greedy = Client::connect(served.address);
    let ids: Vec<_> = (1..=9).map(|number| greedy.request(&write(1, number), &set("k", "v", None))).collect();
    let (id, outcome) = greedy.answer();
    let Outcome::Error(error) = outcome else { panic!("the ninth is over the limit") };
    assert_eq!((id, error.code()), (ids[8], ErrorCode::Busy));
    assert!(error.retry_after_ms > 0 && error.text.contains("connection_in_flight"), "{}", error.text);

    let mut other = Client::connect(served.address);
    let waiting = other.request(&write(2, 1), &set("other", "v", None));
    release.send(()).expect("the shards run");
    assert_eq!(other.answer().0, waiting);
    (0..8).for_each(|_| drop(greedy.answer()));
    revision_of(&greedy.ask(&write(1, 9), &set("k", "v", None)));
}

#[test]
fn a_client_that_leaves_frees_what_it_had_in_flight() {
    let (served, release) = unled(Limits::default());
    let mut gone = Client::connect(served.address);
    for number in 1..=100 {
        gone.request(&write(1, number), &set("k", "v", None));
    }
    drop(gone);
    release.send(()).expect("the shards run");
    let mut client = Client::connect(served.address);
    let started = Instant::now();
    // Its writes are applied all the same: they were accepted.
    while !matches!(client.ask(&read(), &get("k")), Outcome::Value(value) if value.revision == 100) {
        assert!(started.elapsed() < PATIENCE);
    }
    let status = |client: &mut Client| match client.ask(&read(), &Request::StatusGet(StatusGet {})) {
        Outcome::Status(status) => status,
        other => panic!("{other:?}"),
    };
    while status(&mut client).connections > 1 {
        assert!(started.elapsed() < PATIENCE + Duration::from_secs(1), "the connection stays open");
    }
}

/// A stream of numbers that a seed decides.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64 (Marsaglia, 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}

#[test]
fn damaged_requests_with_good_checksums_are_answered_or_end_their_connection_only() {
    let seed = u64::from(std::process::id()) << 20 | 1;
    let served = led(2, 2, Settings::default());
    let mut bystander = Client::connect(served.address);
    let mut draw = Draw(seed);
    let guard = Some(LockGuard { name: b"k".to_vec(), token: 1 });
    let condition = Condition { revision: Some(1), value: Some(b"v".to_vec()), if_lock: guard, ..Condition::default() };
    let good: Vec<Request> = vec![
        get("k"),
        Request::KeySet(KeySet {
            key: b"k".to_vec(),
            value: b"v".to_vec(),
            ttl_ms: Some(9),
            condition,
            no_history: true,
        }),
        Request::SequenceNext(SequenceNext { name: b"s".to_vec(), idempotency_key: b"i".to_vec() }),
        Request::LockAcquire(LockAcquire { name: b"l".to_vec(), owner: b"o".to_vec(), ttl_ms: 5, wait_ms: 0 }),
    ];
    let mut client = Client::connect(served.address);
    let (mut answered, mut ended) = (0, 0);
    for round in 1..=2000_u64 {
        let request = &good[draw.below(good.len())];
        let mut payload = write(draw.below(3) as u64, round).encode().to_vec();
        request.encode_body(&mut payload);
        for _ in 0..=draw.below(4) {
            let at = draw.below(payload.len());
            payload[at] ^= 1 << draw.below(8);
        }
        // A wait that the damage made long would only be waited for.
        payload[32..36].copy_from_slice(&2000_u32.to_le_bytes());
        client.send(&serve_support::frame(request.kind(), round, |out| out.extend_from_slice(&payload)));
        match client.next() {
            Ok((header, body)) => {
                assert_eq!(header.request_id, round, "seed {seed}");
                let outcome = Outcome::decode(header.kind, &body).expect("an outcome");
                answered += 1;
                if matches!(&outcome, Outcome::Error(error) if error.code() == ErrorCode::BadFrame) {
                    client.expect_closed();
                    client = Client::connect(served.address);
                    ended += 1;
                }
            }
            Err(closed) => panic!("{closed:?} without an error frame, round {round}, seed {seed}"),
        }
    }
    assert!(answered > 0 && ended > 0 && ended < answered, "{answered} answers, {ended} ends: nothing was exercised");
    revision_of(&bystander.ask(&write(99, 1), &set("bystander", "v", None)));
}

#[test]
fn values_that_nobody_reads_are_not_looked_for_and_a_reader_beside_them_is_served() {
    const CLIENTS: usize = 60;
    const REQUESTS: usize = 200;
    let limits = Limits { max_value_bytes: 128 << 10, max_page_bytes: 128 << 10, ..Limits::default() };
    let most = limits.shard_unsent_bytes();
    let (gauge, gauged) = Gauge::new();
    // Both shards lead half of the keys: answers come from here, and over the lane.
    let served = led_with(2, 8, Settings::default(), limits, move |shards| {
        let shard = shards[0].clone();
        Linux::spawn(gauged.answer(move || shard.unsent().held()));
    });
    let mut reader = Client::connect(served.address);
    let keys: Vec<_> = (0..8_u64).map(|name| format!("space-{name}/k")).collect();
    let (short, long) = ("v".repeat(12 << 10), "v".repeat(60 << 10));
    for (key, number) in keys.iter().zip((1..).step_by(2)) {
        revision_of(&reader.ask(&write(7, number), &set(key, &short, None)));
        revision_of(&reader.ask(&write(7, number + 1), &set(&format!("{key}/long"), &long, None)));
    }
    let mut greedy: Vec<_> = (0..CLIENTS).map(|_| Client::connect(served.address)).collect();
    for client in &mut greedy {
        (0..REQUESTS)
            .for_each(|index| _ = client.request(&read(), &get(&format!("{}/long", keys[index % keys.len()]))));
    }
    for key in keys.iter().cycle().take(50) {
        assert_eq!(value_of(reader.ask(&read(), &get(key))).len(), short.len());
        let held = gauge.read();
        assert!(held <= most, "{held} bytes are held, {most} may be");
    }
    drop(greedy);
    gauge.until("all was given back", |held| held == 0);
    assert_eq!(value_of(reader.ask(&read(), &get(&keys[0]))).len(), short.len());
}

#[test]
fn a_node_says_that_it_serves_once_its_groups_are_led() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    let (begin, begun) = flume::bounded::<()>(1);
    let mut served = serve(2, Limits::default(), move |all| async move {
        for shard in &all {
            shard.view().join(kahuna_protocol::ClusterId([7; 16]));
        }
        let shards = all.clone();
        Linux::spawn(async move {
            let _ = Linux::across_threads(begun.recv_async()).await;
            open_groups(&shards, path, 4, Settings::default()).await;
            let _ = Linux::across_threads(begun.recv_async()).await;
            lead(&shards).await;
        });
    });
    served.dir = Some(dir);
    let mut client = Client::connect(served.address);
    let mut waits_until = |what: &str, met: fn(&str) -> bool| {
        let end = Instant::now() + PATIENCE;
        loop {
            let Outcome::Status(status) = client.ask(&read(), &Request::StatusGet(StatusGet {})) else {
                panic!("a status was expected");
            };
            if met(&status.waiting) {
                return;
            }
            assert!(Instant::now() < end, "never {what}: {:?}", status.waiting);
            std::thread::yield_now();
        }
    };
    waits_until("without a map", |waiting| waiting == "reading the range map");
    begin.send(()).expect("the shards run");
    waits_until("without leaders", |waiting| waiting.contains("2 of 2 groups on shard"));
    begin.send(()).expect("the shards run");
    waits_until("serving", str::is_empty);
}
