//! Batches: the payload of a Raft entry.

use kahuna_protocol::batch::{Batch, BatchBuilder, COMMAND_RECLAIM};
use kahuna_protocol::key::KeyDelete;
use kahuna_protocol::meta::Tick;
use kahuna_protocol::{FrameError, Hlc, Request, RequestPrelude, SessionId};
use serde_json::json;

use crate::golden::check_vectors;
use crate::samples;
use crate::shape::{hex, request_json};

fn batch() -> (Batch, Vec<(Request, u16, RequestPrelude)>) {
    let delete = KeyDelete { key: b"a/b".to_vec(), condition: Default::default() };
    let prelude = |number| RequestPrelude {
        session: SessionId(0x1122_3344_5566_7788),
        number,
        acknowledged: 40,
        valid_until_ms: 1_700_000_010_000,
        timeout_ms: 5_000,
        ..Default::default()
    };
    let commands = vec![
        (samples::set_plain(), 0, prelude(42)),
        (delete.into(), COMMAND_RECLAIM, prelude(43)),
        (Request::from(Tick { to: samples::stamp() }), 0, RequestPrelude::default()),
    ];
    let mut builder = BatchBuilder::new();
    for (request, flags, prelude) in &commands {
        let mut body = Vec::new();
        request.encode_body(&mut body);
        builder.push(request.kind(), *flags, prelude, &body);
    }
    (builder.finish(Hlc(samples::stamp())), commands)
}

#[test]
fn batches_are_as_in_the_vectors() {
    let (batch, commands) = batch();
    let mut decoded = Vec::new();
    for (command, (request, flags, prelude)) in batch.commands().expect("a header").zip(&commands) {
        let command = command.expect("a command");
        assert_eq!(Request::decode(command.kind, command.body).as_ref(), Ok(request));
        assert_eq!((command.flags, command.session, command.number), (*flags, prelude.session, prelude.number));
        decoded.push(json!({
            "kind": command.kind,
            "flags": command.flags,
            "session": command.session.0,
            "number": command.number,
            "acknowledged": command.acknowledged,
            "valid_until_ms": command.valid_until_ms,
            "digest": format!("{:016x}", command.digest()),
            "body_type": Request::kind_name(command.kind),
            "body": request_json(request),
        }));
    }
    assert_eq!(decoded.len(), 3);
    let vector = json!({
        "name": "three commands",
        "stamp": batch.stamp().expect("a header").0,
        "commands": decoded,
        "hex": hex(batch.bytes()),
    });
    check_vectors("batches", "A batch of commands, the payload of one Raft entry.", vec![vector]);
}

#[test]
fn a_cut_or_longer_batch_is_refused_and_never_panics() {
    let (good, _) = batch();
    for length in 0..good.bytes().len() {
        let cut = Batch::from_bytes(good.bytes().slice(..length));
        let refused = match cut.commands() {
            Ok(mut commands) => commands.any(|command| matches!(command, Err(FrameError::Body(0)))),
            Err(error) => error == FrameError::Body(0),
        };
        assert!(refused, "{length} bytes");
    }
    let longer = Batch::from_bytes([&good.bytes()[..], &[0]].concat().into());
    assert!(longer.commands().expect("a header").any(|command| command.is_err()));
}
