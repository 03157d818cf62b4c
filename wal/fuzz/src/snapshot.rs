//! A snapshot of everything a machine can hold, as plain blocks, and what makes bent ones look whole again.

use kahuna_machine::{Machine, Range, Restore};
use kahuna_protocol::batch::{BatchBuilder, digest};
use kahuna_protocol::key::{Condition, KeyDelete, KeySet};
use kahuna_protocol::lock::{LockAcquire, LockRelease};
use kahuna_protocol::meta::Settings;
use kahuna_protocol::sequence::{SequenceCreate, SequenceReserve};
use kahuna_protocol::{Hlc, Request, RequestPrelude};

/// Before the payload of a block: length, checksum, number, kind.
const HEADER: usize = 16;
const PACKED: u32 = 0x100;

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"))
}

/// A machine with keys, locks, sequences, sessions and answers of each kind.
pub fn machine() -> Machine {
    let mut machine = Machine::new(Settings::default(), Range::all(0));
    let mut number = 0;
    let mut run = |requests: Vec<Request>| {
        let mut builder = BatchBuilder::new();
        for request in requests {
            number += 1;
            let mut body = Vec::new();
            request.encode_body(&mut body);
            let prelude =
                RequestPrelude { session: number % 3, number, valid_until_ms: 1_000_000, ..RequestPrelude::default() };
            builder.push(request.kind(), 0, &prelude, &body);
        }
        machine.apply(&builder.finish(Hlc::from_millis(1000 + number))).expect("a readable batch");
    };
    let set = |key: &str, value: &[u8], ttl_ms: Option<u64>| -> Request {
        let (key, value) = (key.into(), value.to_vec());
        KeySet { key, value, ttl_ms, condition: Condition::default(), no_history: false }.into()
    };
    for round in 0..3 {
        run(vec![set("a/one", &[round; 40], None), set("a/two", b"", Some(5000)), set("b", &[7; 200], None)]);
    }
    run(vec![KeyDelete { key: "a/two".into(), condition: Condition::default() }.into()]);
    for name in ["l", "a/l"] {
        run(vec![LockAcquire { name: name.into(), owner: "me".into(), ttl_ms: 900, wait_ms: 0 }.into()]);
    }
    run(vec![LockRelease { name: "l".into(), owner: "me".into() }.into()]);
    run(vec![SequenceCreate { name: "s".into(), initial: 5, increment: -2, max: Some(-100) }.into()]);
    let draw = |key: &[u8]| SequenceReserve { name: "s".into(), count: 3, idempotency_key: key.to_vec() };
    run(vec![draw(b"once").into(), draw(b"once").into()]);
    machine
}

/// The blocks of a machine's snapshot, unpacked.
pub fn plain_blocks(machine: &Machine) -> Vec<Vec<u8>> {
    machine.freeze().into_blocks().map(unpack).collect()
}

fn unpack(block: Vec<u8>) -> Vec<u8> {
    if word(&block, 12) & PACKED == 0 {
        return block;
    }
    let length = word(&block, HEADER) as usize;
    let payload = lz4_flex::block::decompress(&block[HEADER + 4..], length).expect("just packed");
    let mut plain = [&block[..HEADER], &payload].concat();
    let kind = word(&block, 12) & !PACKED;
    plain[12..16].copy_from_slice(&kind.to_le_bytes());
    seal(&mut plain);
    plain
}

/// The same block with its payload packed.
pub fn pack(block: &[u8]) -> Vec<u8> {
    let payload = &block[HEADER..];
    let mut packed = block[..HEADER].to_vec();
    packed[12..16].copy_from_slice(&(word(block, 12) | PACKED).to_le_bytes());
    packed.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    packed.extend_from_slice(&lz4_flex::block::compress(payload));
    seal(&mut packed);
    packed
}

/// Makes length and checksum of a block right.
pub fn seal(block: &mut [u8]) {
    let length = (block.len() - HEADER) as u32;
    block[..4].copy_from_slice(&length.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&block[..4]);
    crc.update(&block[8..]);
    block[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
}

/// Makes numbers, lengths, checksums and the trailer's hash of plain blocks right.
pub fn seal_all(blocks: &mut [Vec<u8>]) {
    let mut hash = 0u64;
    let last = blocks.len().saturating_sub(1);
    for (number, block) in blocks.iter_mut().enumerate() {
        block[8..12].copy_from_slice(&(number as u32).to_le_bytes());
        if number == last && block.len() == HEADER + 16 {
            block[HEADER + 8..].copy_from_slice(&hash.to_le_bytes());
        }
        seal(block);
        hash = digest(hash, block);
    }
}

/// The machine that blocks hold, if they are a snapshot.
pub fn restore(blocks: &[Vec<u8>]) -> Option<Machine> {
    let mut restore = Restore::new();
    for block in blocks {
        restore.push_block(block).ok()?;
    }
    restore.finish().ok()
}
