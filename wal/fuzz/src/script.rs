//! Logs that the fuzzer's bytes describe: mostly valid ones, then bent, with checksums that hold all the same.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;

use crate::bytes::{BLOCK, BatchHeader, Place, Record, SegmentHeader, seal_segment, u32_at};

/// Blocks of a segment.
const BLOCKS: u64 = 8;
const LEN: u64 = BLOCKS * BLOCK as u64;

/// One log: how it is written, and what happens to it then.
#[derive(Arbitrary, Debug)]
pub struct Script {
    /// So many segments are of the format's first version.
    old: u8,
    steps: Vec<Step>,
    bends: Vec<Bend>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A batch of these records.
    Batch { records: Vec<Given>, claims: Claims, long: bool },
    /// The next segment, and which is the oldest needed from here on.
    Roll { oldest: u8, skip: bool },
    /// The log is opened again.
    Run,
}

#[derive(Arbitrary, Debug)]
enum Claims {
    /// All before the batch is durable: one flush at a time.
    AllBefore,
    /// Nothing new: flushes overlap.
    Stale,
}

/// A record, by and large a sensible one.
#[derive(Arbitrary, Debug)]
enum Given {
    Entry {
        group: u8,
        len: u8,
    },
    EntryAt {
        group: u8,
        index: u8,
        len: u8,
    },
    /// The copy of an entry so far back, or of one that never was.
    Moved {
        group: u8,
        back: u8,
    },
    Mark {
        kind: u8,
        group: u8,
        byte: u8,
    },
    Truncate {
        group: u8,
        from: u8,
    },
    Purge {
        group: u8,
        upto: u8,
    },
    Destroyed {
        group: u8,
    },
    Any {
        kind: u8,
        group: u8,
        index: u64,
        body: Vec<u8>,
    },
}

/// What happens to the written bytes.
#[derive(Arbitrary, Debug)]
enum Bend {
    Flip {
        segment: u8,
        offset: u16,
        mask: u8,
    },
    /// Zeros over a block.
    Wipe {
        segment: u8,
        block: u8,
    },
    /// One block lands where another stood.
    Misdirect {
        from: u8,
        from_block: u8,
        to: u8,
        to_block: u8,
    },
    Cut {
        segment: u8,
        offset: u16,
    },
    Remove {
        segment: u8,
    },
    /// Another value in a batch or its records, and checksums that hold.
    Forge {
        segment: u8,
        block: u8,
        offset: u16,
        value: u8,
    },
    /// Another value in a segment's header, and a checksum that holds.
    ForgeHeader {
        segment: u8,
        offset: u8,
        value: u8,
    },
}

/// A log in the making.
struct Writer {
    segments: Vec<(u64, Vec<u8>)>,
    offset: u64,
    sequence: u64,
    run: u64,
    durable: (u64, u64),
    oldest: u64,
    /// The last index of each of four groups.
    last: [u64; 4],
    /// What was last written at a group's index.
    written: BTreeMap<(u32, u64), Vec<u8>>,
    /// Segments up to this number are of version 1.
    old: u64,
}

/// Bytes of segments, by rising number.
pub type Segments = Vec<(u64, Vec<u8>)>;

impl Script {
    /// The log that comes of it.
    pub fn segments(&self) -> Segments {
        let mut writer = Writer {
            segments: Vec::new(),
            offset: BLOCK as u64,
            sequence: 1,
            run: 1,
            durable: (1, BLOCK as u64),
            oldest: 1,
            last: [0; 4],
            written: BTreeMap::new(),
            old: u64::from(self.old % 4),
        };
        writer.segments.push((1, writer.fresh(1)));
        for step in self.steps.iter().take(24) {
            writer.step(step);
        }
        let mut segments = writer.segments;
        for bend in self.bends.iter().take(6) {
            bend.apply(&mut segments);
        }
        segments
    }
}

impl Writer {
    fn fresh(&self, sequence: u64) -> Vec<u8> {
        let version = if sequence <= self.old { 1 } else { 2 };
        let header = SegmentHeader { version, sequence, generation: 100 + sequence, run: self.run, len: LEN };
        let mut bytes = header.encode();
        bytes.resize(LEN as usize, 0);
        bytes
    }

    fn number(&self) -> u64 {
        self.segments.last().expect("there is always one").0
    }

    fn roll(&mut self, skip: bool) {
        let next = self.number() + 1 + u64::from(skip);
        if self.segments.len() < 6 {
            self.segments.push((next, self.fresh(next)));
            self.offset = BLOCK as u64;
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Run => self.run += 1,
            Step::Roll { oldest, skip } => {
                self.roll(*skip && *oldest == 0x55);
                if *oldest < 4 {
                    self.oldest = self.oldest.max(u64::from(*oldest));
                }
            }
            Step::Batch { records, claims, long } => {
                let mut bytes: Vec<u8> = records.iter().take(8).flat_map(|given| self.record(given).encode()).collect();
                let mut count = records.len().min(8) as u32;
                if *long {
                    bytes.extend(Record { kind: 2, group: 9, index: 0, body: vec![7; 5000] }.encode());
                    count += 1;
                }
                self.batch(&bytes, count, matches!(claims, Claims::AllBefore));
            }
        }
    }

    fn batch(&mut self, records: &[u8], count: u32, claims: bool) {
        let length = 64 + records.len() as u64;
        if self.offset + length > LEN {
            self.roll(false);
        }
        let padded = length.next_multiple_of(BLOCK as u64);
        if self.offset + padded > LEN {
            return;
        }
        if claims {
            self.durable = (self.number(), self.offset);
        }
        let header = BatchHeader {
            length: length as u32,
            sequence: self.sequence,
            run: self.run,
            durable: self.durable,
            oldest: self.oldest,
            records: count,
        };
        let (segment, at) = (self.number(), self.offset as usize);
        let place = Place { generation: 100 + segment, segment, offset: self.offset };
        let batch = header.encode(records, &place);
        self.segments.last_mut().expect("there is always one").1[at..at + batch.len()].copy_from_slice(&batch);
        self.offset += padded;
        self.sequence += 1;
    }

    fn record(&mut self, given: &Given) -> Record {
        let written = &mut self.written;
        let mut entry = |group: u8, index: u64, len: u8| {
            let (group, body) = (u32::from(group % 4), vec![index as u8; 16 + usize::from(len)]);
            written.insert((group, index), body.clone());
            Record { kind: 1, group, index, body }
        };
        match *given {
            Given::Entry { group, len } => {
                let last = &mut self.last[usize::from(group % 4)];
                *last += 1;
                entry(group, *last, len)
            }
            Given::EntryAt { group, index, len } => {
                self.last[usize::from(group % 4)] = u64::from(index);
                entry(group, u64::from(index), len)
            }
            Given::Moved { group, back } => {
                let index = self.last[usize::from(group % 4)].saturating_sub(u64::from(back));
                let group = u32::from(group % 4);
                let body = self.written.get(&(group, index)).cloned().unwrap_or_else(|| vec![back; 20]);
                Record { kind: 9, group, index, body }
            }
            Given::Mark { kind, group, byte } => {
                let kind = [2, 3, 6, 7][usize::from(kind % 4)];
                Record { kind, group: u32::from(group % 4), index: 0, body: vec![byte; usize::from(byte % 40)] }
            }
            Given::Truncate { group, from } => {
                let last = &mut self.last[usize::from(group % 4)];
                *last = (*last).min(u64::from(from).saturating_sub(1));
                Record { kind: 4, group: u32::from(group % 4), index: u64::from(from), body: Vec::new() }
            }
            Given::Purge { group, upto } => {
                let last = &mut self.last[usize::from(group % 4)];
                *last = (*last).max(u64::from(upto));
                Record { kind: 5, group: u32::from(group % 4), index: u64::from(upto), body: vec![upto; 17] }
            }
            Given::Destroyed { group } => {
                self.last[usize::from(group % 4)] = 0;
                Record { kind: 8, group: u32::from(group % 4), index: 0, body: Vec::new() }
            }
            Given::Any { kind, group, index, ref body } => {
                Record { kind, group: u32::from(group), index, body: body.iter().take(64).copied().collect() }
            }
        }
    }
}

impl Bend {
    fn apply(&self, segments: &mut Segments) {
        let count = segments.len();
        let at = |segment: u8| usize::from(segment) % count.max(1);
        if count == 0 {
            return;
        }
        match *self {
            Self::Flip { segment, offset, mask } => {
                let bytes = &mut segments[at(segment)].1;
                if let Some(byte) = bytes.get_mut(usize::from(offset)) {
                    *byte ^= mask;
                }
            }
            Self::Wipe { segment, block } => {
                if let Some(block) = block_of(&mut segments[at(segment)].1, block) {
                    block.fill(0);
                }
            }
            Self::Misdirect { from, from_block, to, to_block } => {
                let copy = block_of(&mut segments[at(from)].1, from_block).map(|block| block.to_vec());
                if let (Some(copy), Some(block)) = (copy, block_of(&mut segments[at(to)].1, to_block)) {
                    block.copy_from_slice(&copy);
                }
            }
            Self::Cut { segment, offset } => segments[at(segment)].1.truncate(usize::from(offset)),
            Self::Remove { segment } => drop(segments.remove(at(segment))),
            Self::Forge { segment, block, offset, value } => {
                let (number, bytes) = &mut segments[at(segment)];
                forge(*number, bytes, u64::from(block) % BLOCKS, usize::from(offset), value);
            }
            Self::ForgeHeader { segment, offset, value } => {
                if let Some(block) = block_of(&mut segments[at(segment)].1, 0) {
                    block[usize::from(offset)] = value;
                    seal_segment(block);
                }
            }
        }
    }
}

fn block_of(bytes: &mut [u8], block: u8) -> Option<&mut [u8]> {
    let start = usize::from(block) % BLOCKS as usize * BLOCK;
    bytes.get_mut(start..start + BLOCK)
}

/// Puts `value` into the batch at a block and seals it again, by the length that it says then if that is possible.
fn forge(segment: u64, bytes: &mut [u8], block: u64, offset: usize, value: u8) {
    let at = block as usize * BLOCK;
    let Some(rest) = bytes.get_mut(at..).filter(|rest| block > 0 && rest.len() >= 64 && rest[..4] == *b"KWB1") else {
        return;
    };
    let written = (u32_at(rest, 4) as usize).clamp(64, rest.len());
    rest[offset % written] = value;
    let length = (u32_at(rest, 4) as usize).clamp(64, rest.len());
    let place = Place { generation: 100 + segment, segment, offset: at as u64 };
    place.seal(&mut rest[..length]);
}
