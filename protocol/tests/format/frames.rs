//! Frames, good and bad.

use std::fmt::Write;

use kahuna_protocol::frame::{FLAG_FORWARDED, FLAG_REPLY, OverLong, archive_into, encode_frame};
use kahuna_protocol::handshake::{KIND_HELLO, KIND_WELCOME};
use kahuna_protocol::key::{KeyGet, KeySet};
use kahuna_protocol::request::Class;
use kahuna_protocol::{
    Durability, FrameError, FrameReader, Hlc, Outcome, OutcomeRef, ReadLevel, Request, RequestPrelude, RequestRef,
    SessionId,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value as Json, json};

use crate::golden::{check_block, check_vectors};
use crate::samples;
use crate::shape::{Shape, hex, outcome_json, request_json};

const MAX_PAYLOAD: u32 = 1 << 20;

fn prelude() -> RequestPrelude {
    RequestPrelude {
        session: SessionId(0x1122_3344_5566_7788),
        number: 42,
        acknowledged: 40,
        valid_until_ms: 1_700_000_010_000,
        timeout_ms: 5_000,
        read: ReadLevel::Linearizable,
        durability: Durability::Persistent,
    }
}

fn prelude_json(prelude: &RequestPrelude) -> Json {
    json!({
        "session": prelude.session.0,
        "number": prelude.number,
        "acknowledged": prelude.acknowledged,
        "valid_until_ms": prelude.valid_until_ms,
        "timeout_ms": prelude.timeout_ms,
        "read": prelude.read as u8,
        "durability": prelude.durability as u8,
    })
}

fn frame(kind: u16, flags: u8, request_id: u64, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, kind, flags, request_id, Hlc(samples::stamp()), payload);
    bytes
}

pub fn request_frame(request: &Request) -> Vec<u8> {
    frame(request.kind(), 0, 7, |out| {
        out.extend_from_slice(&prelude().encode());
        request.encode_body(out);
    })
}

fn vector(name: &str, body_type: &str, bytes: &[u8], prelude: Json, body: Json) -> Json {
    let mut reader = FrameReader::new(MAX_PAYLOAD);
    reader.extend(bytes);
    let (header, _) = reader.next().expect("a good frame").expect("a whole frame");
    json!({
        "name": name,
        "header": {
            "version": header.version,
            "flags": header.flags,
            "kind": header.kind,
            "length": header.length,
            "request_id": header.request_id,
            "hlc": header.hlc.0,
            "crc": header.crc,
        },
        "prelude": prelude,
        "body_type": body_type,
        "body": body,
        "hex": hex(bytes),
    })
}

#[test]
fn the_worked_example_is_as_documented() {
    let bytes = request_frame(&samples::set_plain());
    let parts = [
        (4, "header: magic"),
        (1, "version 1"),
        (1, "flags: none"),
        (2, "kind 0x0201, KeySet"),
        (4, "length 111"),
        (4, "crc"),
        (8, "request id 7"),
        (8, "hlc: 1,700,000,000,000 ms, counter 5"),
        (8, "prelude: session"),
        (8, "number 42"),
        (8, "acknowledged 40"),
        (8, "valid until 1,700,000,010,000 ms"),
        (4, "timeout 5,000 ms"),
        (1, "linearizable"),
        (1, "persistent"),
        (2, "zeros"),
        (3, "body: the key, a/b"),
        (5, "the value, hello"),
        (8, "root: key, 8 bytes back, 3 long"),
        (8, "value, 13 bytes back, 5 long"),
        (9, "no ttl"),
        (2, "condition: neither absent nor present"),
        (9, "no value"),
        (9, "no revision"),
        (17, "no lock"),
        (1, "history is kept"),
    ];
    let mut text = String::from("```text\n");
    let mut at = 0;
    for (length, meaning) in parts {
        writeln!(text, "{at:3}  {:<34}  {meaning}", hex(&bytes[at..at + length])).expect("a String takes everything");
        at += length;
    }
    assert_eq!(at, bytes.len());
    text.push_str("```\n");
    check_block("example", &text);
}

fn type_of(name: &str) -> String {
    if name == "Error" { "ErrorReply".to_owned() } else { name.to_owned() }
}

#[test]
fn frames_are_as_in_the_vectors() {
    let mut vectors = Vec::new();
    let hello = samples::hello();
    let bytes = frame(KIND_HELLO, 0, 0, |out| archive_into(&hello, out));
    vectors.push(vector("hello", "Hello", &bytes, Json::Null, hello.json()));
    let welcome = samples::welcome();
    let bytes = frame(KIND_WELCOME, FLAG_REPLY, 0, |out| archive_into(&welcome, out));
    vectors.push(vector("welcome", "Welcome", &bytes, Json::Null, welcome.json()));
    for request in samples::requests() {
        let name = Request::kind_name(request.kind()).expect("listed");
        let bytes = request_frame(&request);
        vectors.push(vector(name, name, &bytes, prelude_json(&prelude()), request_json(&request)));
    }
    for (at, outcome) in samples::outcomes().into_iter().enumerate() {
        let name = Outcome::kind_name(outcome.kind()).expect("listed");
        let flags = FLAG_REPLY | if at % 2 == 1 { FLAG_FORWARDED } else { 0 };
        let bytes = frame(outcome.kind(), flags, 7, |out| outcome.encode_body(out));
        vectors.push(vector(name, &type_of(name), &bytes, Json::Null, outcome_json(&outcome)));
    }
    let about = "One frame of every kind. hex is the whole frame; header, prelude and body say what its bytes mean. \
                 bytes are given as hex and, where they are UTF-8, as text; an absent value is null.";
    check_vectors("frames", about, vectors);
}

#[test]
fn while_the_disk_is_full_only_what_frees_room_or_keeps_a_lock_goes_on() {
    let mut go_on = Vec::new();
    for request in samples::requests() {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        let view = RequestRef::access(request.kind(), &body).expect("just encoded");
        match view.class() {
            Class::Write if view.grows() => {}
            Class::Write => go_on.push(Request::kind_name(request.kind()).expect("listed")),
            Class::Read | Class::Node | Class::System => assert!(!view.grows(), "{request:?}"),
        }
    }
    go_on.dedup();
    assert_eq!(go_on, ["LockExtend", "LockRelease", "KeyDelete", "SequenceDelete"]);
}

#[test]
fn there_is_a_sample_of_every_kind_and_it_comes_back() {
    let mut kinds: Vec<_> = samples::requests().iter().map(Request::kind).collect();
    kinds.dedup();
    assert_eq!(kinds, Request::KINDS);
    let kinds: Vec<_> = samples::outcomes().iter().map(Outcome::kind).collect();
    assert_eq!(kinds, Outcome::KINDS);
    for request in samples::requests() {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        assert_eq!(Request::decode(request.kind(), &body), Ok(request));
    }
    for outcome in samples::outcomes() {
        let mut body = Vec::new();
        outcome.encode_body(&mut body);
        assert_eq!(Outcome::decode(outcome.kind(), &body), Ok(outcome));
    }
}

/// What a receiver makes of the bytes: header, checksum, prelude and body.
fn judge(bytes: &[u8]) -> Result<(), FrameError> {
    let mut reader = FrameReader::new(MAX_PAYLOAD);
    reader.extend(bytes);
    while let Some((header, payload)) = reader.next()? {
        if header.kind & 0x8000 != 0 {
            OutcomeRef::access(header.kind, &payload)?;
        } else {
            let (_, body) = RequestPrelude::split(&payload)?;
            RequestRef::access(header.kind, body)?;
        }
    }
    Ok(())
}

#[test]
fn bad_frames_are_refused_for_the_right_reason() {
    let good = request_frame(&samples::set_plain());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let mut long = good.clone();
    long[8..12].copy_from_slice(&(MAX_PAYLOAD + 1).to_le_bytes());
    let good_prelude = prelude().encode();
    let mut bad_read = good_prelude;
    bad_read[36] = 3;
    let bad: Vec<(&str, &str, Vec<u8>)> = vec![
        ("bad magic", "Magic", with(3, b'!')),
        ("version of the future", "Version", with(4, 2)),
        ("version 0", "Version", with(4, 0)),
        ("length over the limit of 1 MiB", "TooLong", long),
        ("flipped bit in the header", "Crc", with(16, good[16] ^ 1)),
        ("flipped bit in the payload", "Crc", with(80, good[80] ^ 0x40)),
        ("unknown request kind", "UnknownKind", frame(0x02ff, 0, 7, |out| out.extend_from_slice(&good_prelude))),
        ("unknown outcome kind", "UnknownKind", frame(0x82ff, FLAG_REPLY, 7, |_| {})),
        ("no room for the prelude", "Prelude", frame(0x0201, 0, 7, |out| out.extend_from_slice(&good_prelude[..39]))),
        ("read level 3", "Prelude", frame(0x0202, 0, 7, |out| out.extend_from_slice(&bad_read))),
        ("no body", "Body", frame(0x0201, 0, 7, |out| out.extend_from_slice(&good_prelude))),
        ("value points outside of the body", "Body", {
            frame(0x0201, 0, 7, |out| {
                out.extend_from_slice(&good_prelude);
                samples::set_plain().encode_body(out);
                let root = out.len() - KeySet::size();
                out[root + 8..root + 12].copy_from_slice(&(-1000_i32).to_le_bytes());
            })
        }),
    ];
    let mut vectors = Vec::new();
    for (name, reason, bytes) in bad {
        let error = judge(&bytes).expect_err(name);
        assert!(format!("{error:?}").starts_with(reason), "{name}: {error:?}");
        vectors.push(json!({ "name": name, "reason": reason, "hex": hex(&bytes) }));
    }
    check_vectors("refused", "Frames that a receiver must refuse, and why.", vectors);
}

fn all_frames() -> Vec<Vec<u8>> {
    let requests = samples::requests().into_iter().map(|request| request_frame(&request));
    let outcomes = samples::outcomes().into_iter();
    let outcomes = outcomes.map(|outcome| frame(outcome.kind(), FLAG_REPLY, 7, |out| outcome.encode_body(out)));
    requests.chain(outcomes).collect()
}

#[test]
fn a_frame_with_a_flipped_bit_is_never_taken() {
    for good in all_frames() {
        assert_eq!(judge(&good), Ok(()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(MAX_PAYLOAD);
            reader.extend(&bad);
            assert!(!matches!(reader.next(), Ok(Some(_))), "bit {bit} of {}", hex(&good));
        }
    }
}

#[test]
fn a_cut_frame_is_never_taken() {
    for good in all_frames() {
        for length in 0..good.len() {
            let mut reader = FrameReader::new(MAX_PAYLOAD);
            reader.extend(&good[..length]);
            assert_eq!(reader.next(), Ok(None), "{length} bytes of {}", hex(&good));
        }
    }
}

#[test]
fn bodies_of_garbage_under_a_right_checksum_never_panic() {
    let good = all_frames();
    for seed in 0..20_000 {
        let mut dice = SmallRng::seed_from_u64(seed);
        let template = &good[dice.random_range(0..good.len())];
        let kind = u16::from_le_bytes([template[6], template[7]]);
        let mut payload = template[32..].to_vec();
        for _ in 0..dice.random_range(1..=8) {
            match dice.random_range(0..4) {
                0 => payload.truncate(dice.random_range(0..=payload.len())),
                1 => payload.push(dice.random()),
                _ if payload.is_empty() => {}
                _ => {
                    let at = dice.random_range(0..payload.len());
                    payload[at] = dice.random();
                }
            }
        }
        let bytes = frame(kind, 0, 7, |out| out.extend_from_slice(&payload));
        let judged = std::panic::catch_unwind(|| {
            if judge(&bytes).is_ok() {
                // What validates can be copied out, whatever it holds.
                let outcome = Outcome::decode(kind, &payload).is_ok();
                let request =
                    RequestPrelude::split(&payload).is_ok_and(|(_, body)| Request::decode(kind, body).is_ok());
                assert!(outcome || request);
            }
        });
        assert!(judged.is_ok(), "seed {seed}: {}", hex(&bytes));
    }
}

#[test]
fn garbage_streams_never_panic() {
    for seed in 0..5_000 {
        let mut dice = SmallRng::seed_from_u64(seed);
        let length = dice.random_range(0..300_usize);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.random()).collect();
        let known = dice.random_range(0..33).min(length);
        bytes[..known].copy_from_slice(&request_frame(&samples::set_plain())[..known]);
        let judged = std::panic::catch_unwind(|| judge(&bytes));
        assert!(judged.is_ok(), "seed {seed}: {}", hex(&bytes));
    }
}

#[test]
fn a_body_is_made_within_its_bound_or_not_at_all() {
    let request: Request = KeyGet { key: b"a key".to_vec(), revision: Some(7), as_of: None }.into();
    let mut whole = Vec::new();
    request.encode_body(&mut whole);
    let mut bounded = b"before".to_vec();
    assert_eq!(request.encode_body_at_most(whole.len(), &mut bounded), Ok(()));
    assert_eq!(bounded, [b"before", whole.as_slice()].concat());
    let most = whole.len() - 1;
    assert_eq!(request.encode_body_at_most(most, &mut Vec::new()), Err(OverLong { most }));
}
