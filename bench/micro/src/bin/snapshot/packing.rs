//! What LZ4 makes of a snapshot's blocks.

use std::borrow::Cow;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use kahuna_machine::block_bytes;
use kahuna_microbench::{Cell, Table, ThreadClock};

/// Of a block: length, checksum, number, kind.
const HEADER_BYTES: usize = 16;
const PACKED: u32 = 0x100;

/// Packs and unpacks the plain form of every block of the file at `path`. Times are the thread's own.
pub fn measure(path: &Path) -> Result<Table, Box<dyn Error>> {
    let file = std::fs::read(path)?;
    let mut at = u32::from_le_bytes(file[8..12].try_into()?) as usize;
    let (mut blocks, mut plain_bytes) = (0, 0);
    let (mut packing, mut unpacking, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    while let Some(head) = file[at..].first_chunk() {
        let block = &file[at..at + block_bytes(*head)];
        at += block.len();
        blocks += 1;
        let plain = plain(block)?;
        plain_bytes += HEADER_BYTES + plain.len();
        let began = ThreadClock::start();
        let packed = lz4_flex::block::compress(&plain);
        let took = began.elapsed();
        packing += took;
        slowest = slowest.max(took);
        let began = ThreadClock::start();
        let unpacked = lz4_flex::block::decompress(&packed, plain.len())?;
        unpacking += began.elapsed();
        assert_eq!(unpacked, *plain);
    }
    let mut table =
        Table::new(["blocks", "plain_mb", "file_mb", "ratio", "packing_s", "unpacking_s", "slowest_block_us"]);
    table.push([
        Cell::Number(f64::from(blocks), 0),
        Cell::Number(plain_bytes as f64 / 1e6, 1),
        Cell::Number(file.len() as f64 / 1e6, 1),
        Cell::Number(file.len() as f64 / plain_bytes as f64, 2),
        Cell::Number(packing.as_secs_f64(), 2),
        Cell::Number(unpacking.as_secs_f64(), 2),
        Cell::Number(slowest.as_secs_f64() * 1e6, 0),
    ]);
    Ok(table)
}

/// The payload of a block before it was packed, if it was.
fn plain(block: &[u8]) -> Result<Cow<'_, [u8]>, Box<dyn Error>> {
    let (header, payload) = block.split_at(HEADER_BYTES);
    if u32::from_le_bytes(header[12..].try_into()?) & PACKED == 0 {
        return Ok(payload.into());
    }
    let (length, packed) = payload.split_first_chunk().ok_or("a packed block without its length")?;
    Ok(lz4_flex::block::decompress(packed, u32::from_le_bytes(*length) as usize)?.into())
}
