//! What LZ4 would make of a snapshot's blocks.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use kahuna_machine::block_bytes;
use kahuna_microbench::{Cell, Table};

/// Packs and unpacks every block of the file at `path`.
pub fn measure(path: &Path) -> Result<Table, Box<dyn Error>> {
    let file = std::fs::read(path)?;
    let mut at = u32::from_le_bytes(file[8..12].try_into()?) as usize;
    let (mut blocks, mut packed_bytes) = (0, 0);
    let (mut packing, mut unpacking, mut slowest) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    while let Some(head) = file[at..].first_chunk() {
        let block = &file[at..at + block_bytes(*head)];
        at += block.len();
        blocks += 1;
        let began = Instant::now();
        let packed = lz4_flex::block::compress(block);
        let took = began.elapsed();
        packing += took;
        slowest = slowest.max(took);
        packed_bytes += packed.len().min(block.len());
        let began = Instant::now();
        let unpacked = lz4_flex::block::decompress(&packed, block.len())?;
        unpacking += began.elapsed();
        assert_eq!(unpacked, block);
    }
    let mut table =
        Table::new(["blocks", "file_mb", "packed_mb", "ratio", "packing_s", "unpacking_s", "slowest_block_us"]);
    table.push([
        Cell::Number(f64::from(blocks), 0),
        Cell::Number(file.len() as f64 / 1e6, 1),
        Cell::Number(packed_bytes as f64 / 1e6, 1),
        Cell::Number(packed_bytes as f64 / file.len() as f64, 2),
        Cell::Number(packing.as_secs_f64(), 2),
        Cell::Number(unpacking.as_secs_f64(), 2),
        Cell::Number(slowest.as_secs_f64() * 1e6, 0),
    ]);
    Ok(table)
}
