//! What several operations of one command see of each other, and what their commit leaves.

use kahuna_protocol::key::{Condition, KeyDelete, KeyExtend, KeySet, LockGuard};
use kahuna_protocol::lock::{LockAcquire, LockRelease};
use kahuna_protocol::meta::{SetLed, Settings};
use kahuna_protocol::sequence::{SequenceCreate, SequenceDelete, SequenceNext};
use kahuna_protocol::{GroupId, Hlc, Outcome, Request, RequestRef};

use super::commit::Store;
use super::decide::{How, Refused, decide};
use super::draft::{Draft, Now, Write};
use super::effects::{Changed, Effects, Interest, Released};
use crate::Machine;
use crate::state::{Range, Version};

const NOW: Now = Now { stamp: Hlc(1_000 << 16), ms: 1_000, batch_ms: 1_000 };

fn set(condition: Condition) -> Request {
    KeySet { key: b"k".to_vec(), value: b"v".to_vec(), ttl_ms: Some(50), condition, no_history: false }.into()
}

fn acquire(owner: &str) -> Request {
    LockAcquire { name: b"k".to_vec(), owner: owner.into(), ttl_ms: 50, wait_ms: 0 }.into()
}

/// What the operations of one command come to, and their writes.
fn decide_all(machine: &Machine, requests: Vec<Request>) -> (Vec<Result<Outcome, Refused>>, Vec<Write>) {
    let mut writes = Vec::new();
    let mut draft = Draft::new(&machine.state, NOW, &mut writes);
    let decided = requests.into_iter().map(|request| {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let request = RequestRef::access(request.kind(), &body).expect("own archive validates");
        decide(request, &mut draft, How::default())
    });
    (decided.collect(), writes)
}

#[test]
fn an_operation_sees_what_those_before_it_in_the_command_decided_and_the_state_is_not_touched() {
    let machine = Machine::new(Settings::default(), Range::all(1));
    let before = machine.hash();
    let guarded = Condition {
        revision: Some(1),
        if_lock: Some(LockGuard { name: b"k".to_vec(), token: 1 }),
        ..Condition::default()
    };
    let name = || b"k".to_vec();
    let (decided, writes) = decide_all(
        &machine,
        vec![
            acquire("me"),
            acquire("you"),
            set(Condition { absent: true, ..Condition::default() }),
            set(guarded),
            KeyExtend { key: name(), ttl_ms: 70 }.into(),
            KeyDelete { key: name(), condition: Condition::default() }.into(),
            KeyExtend { key: name(), ttl_ms: 70 }.into(),
            LockRelease { name: name(), owner: b"me".to_vec() }.into(),
            acquire("you"),
            SequenceCreate { name: name(), initial: 0, increment: 5, max: None }.into(),
            SequenceNext { name: name(), idempotency_key: b"i".to_vec() }.into(),
            SequenceNext { name: name(), idempotency_key: b"i".to_vec() }.into(),
            SequenceDelete { name: name() }.into(),
            SequenceCreate { name: name(), initial: 0, increment: 5, max: None }.into(),
        ],
    );
    let names: Vec<&str> = decided
        .iter()
        .map(|outcome| Outcome::kind_name(outcome.as_ref().expect("decided").kind()).expect("listed"))
        .collect();
    let expected = [
        "Acquired",
        "Held",
        "Set",
        "Set",
        "KeyExtended",
        "Deleted",
        "NotFound",
        "Released",
        "Acquired",
        "SequenceCreated",
        "Allocated",
        "Allocated",
        "SequenceDeleted",
        "SequenceCreated",
    ];
    assert_eq!(names, expected);
    let number = |at: usize| match decided[at].as_ref().expect("decided") {
        Outcome::Acquired(body) => body.token,
        Outcome::Set(body) => body.revision,
        Outcome::Deleted(body) => body.revision,
        Outcome::SequenceCreated(body) => body.incarnation,
        other => panic!("{other:?}"),
    };
    assert_eq!([number(2), number(3), number(5)], [1, 1, 1], "a command makes one version of a key");
    assert_eq!([number(0), number(8)], [1, 2], "each grant has a token of its own");
    assert_eq!([number(9), number(13)], [1, 2], "each creation has an incarnation of its own");
    assert_eq!(decided[10].as_ref().ok(), decided[11].as_ref().ok(), "one draw under one idempotency key");
    let versions: Vec<&Version> = writes
        .iter()
        .filter_map(|write| if let Write::Version { version, .. } = write { Some(version) } else { None })
        .collect();
    assert!(matches!(versions.as_slice(), [Version { value: None, deadline_ms: None, .. }]), "{versions:?}");
    assert_eq!(machine.hash(), before, "nothing is changed before the commit");
}

#[test]
fn what_is_committed_is_what_the_operations_would_have_made_one_after_the_other() {
    let requests = || {
        let other = KeySet {
            key: b"other".to_vec(),
            value: Vec::new(),
            ttl_ms: None,
            condition: Condition::default(),
            no_history: true,
        };
        let create = SequenceCreate { name: b"k".to_vec(), initial: 0, increment: 5, max: None };
        let next = SequenceNext { name: b"k".to_vec(), idempotency_key: b"i".to_vec() };
        vec![acquire("me"), set(Condition::default()), other.into(), create.into(), next.into()]
    };
    let (mut together, mut alone) =
        (Machine::new(Settings::default(), Range::all(1)), Machine::new(Settings::default(), Range::all(1)));
    let commit = |machine: &mut Machine, requests| {
        let (_, mut writes) = decide_all(machine, requests);
        let mut effects = Effects::default();
        let mut store = Store { state: &mut machine.state, index: &mut machine.index };
        store.commit(&mut writes, Interest { keys: true, locks: true }, &mut effects);
        effects
    };
    let effects = commit(&mut together, requests());
    let one_by_one: Vec<Changed> =
        requests().into_iter().flat_map(|request| commit(&mut alone, vec![request]).changed).collect();
    assert_eq!(together.hash(), alone.hash());
    assert_eq!(effects.changed, one_by_one);
    assert_eq!(effects.changed.iter().map(|changed| changed.revision).collect::<Vec<_>>(), [1, 1]);
    let release = LockRelease { name: b"k".to_vec(), owner: b"me".to_vec() };
    let released = commit(&mut together, vec![release.into()]).released;
    assert!(matches!(released.as_slice(), [Released { token: 1, .. }]), "{released:?}");
}

#[test]
fn what_is_refused_adds_no_write() {
    let machine = Machine::new(Settings::default(), Range::all(1));
    let waiting = LockAcquire { name: b"k".to_vec(), owner: b"me".to_vec(), ttl_ms: 50, wait_ms: 1 };
    let (decided, writes) = decide_all(&machine, vec![waiting.into(), SetLed { group: GroupId(1) }.into()]);
    assert!(decided.iter().all(|decided| matches!(decided, Err(Refused::Untraced(_)))), "{decided:?}");
    assert!(writes.is_empty());
}
