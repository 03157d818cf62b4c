//! The bytes of segments, batches and records, written and read by their tables.

use kahuna_wal::LogIdentity;

/// The unit of alignment.
pub const BLOCK: usize = 4096;
/// The owner of every log here.
pub const IDENTITY: LogIdentity = LogIdentity { cluster: *b"the fuzzed one..", incarnation: 0x0102_0304, shard: 6 };

/// What a segment's header says, as far as it varies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub version: u32,
    pub sequence: u64,
    pub generation: u64,
    pub run: u64,
    pub len: u64,
}

/// What a batch's header says, its checksums apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub length: u32,
    pub sequence: u64,
    pub run: u64,
    pub durable: (u64, u64),
    pub oldest: u64,
    pub records: u32,
}

/// A record as it lies in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: u8,
    pub group: u32,
    pub index: u64,
    pub body: Vec<u8>,
}

/// Where a batch stands, which seeds its checksums.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub generation: u64,
    pub segment: u64,
    pub offset: u64,
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// Four bytes as a number.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Eight bytes as a number.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        put(&mut block, 0, b"KAHUNAWL");
        put(&mut block, 8, &self.version.to_le_bytes());
        put(&mut block, 12, &4096u32.to_le_bytes());
        put(&mut block, 16, &IDENTITY.cluster);
        put(&mut block, 32, &IDENTITY.incarnation.to_le_bytes());
        put(&mut block, 40, &IDENTITY.shard.to_le_bytes());
        put(&mut block, 48, &self.sequence.to_le_bytes());
        put(&mut block, 56, &self.generation.to_le_bytes());
        put(&mut block, 64, &self.run.to_le_bytes());
        put(&mut block, 72, &self.len.to_le_bytes());
        seal_segment(&mut block);
        block
    }

    /// The header of a segment's bytes, if they begin with exactly what [`SegmentHeader::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let block = bytes.get(..BLOCK)?;
        let header = Self {
            version: u32_at(block, 8),
            sequence: u64_at(block, 48),
            generation: u64_at(block, 56),
            run: u64_at(block, 64),
            len: u64_at(block, 72),
        };
        (header.encode() == block && (1..=2).contains(&header.version)).then_some(header)
    }
}

/// Makes the checksum of a header block right.
pub fn seal_segment(block: &mut [u8]) {
    let crc = crc32fast::hash(&block[..4092]);
    put(block, 4092, &crc.to_le_bytes());
}

impl Place {
    fn seed(&self, run: u64) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&IDENTITY.cluster);
        hasher.update(&IDENTITY.incarnation.to_le_bytes());
        hasher.update(&IDENTITY.shard.to_le_bytes());
        for field in [self.generation, self.segment, self.offset, run] {
            hasher.update(&field.to_le_bytes());
        }
        hasher
    }

    /// Both checksums of the batch in `batch`, header and records, whatever they say.
    fn checksums(&self, batch: &[u8]) -> (u32, u32) {
        let mut header = self.seed(u64_at(batch, 16));
        header.update(&batch[..56]);
        let mut whole = self.seed(u64_at(batch, 16));
        whole.update(&batch[..60]);
        whole.update(&batch[64..]);
        (header.finalize(), whole.finalize())
    }

    /// Makes the checksums right of whatever stands in `batch`.
    pub fn seal(&self, batch: &mut [u8]) {
        let header = self.checksums(batch).0;
        put(batch, 56, &header.to_le_bytes());
        let whole = self.checksums(batch).1;
        put(batch, 60, &whole.to_le_bytes());
    }
}

impl BatchHeader {
    /// Header and records as bytes, sealed for `place`.
    pub fn encode(&self, records: &[u8], place: &Place) -> Vec<u8> {
        let mut batch = vec![0; 64];
        put(&mut batch, 0, b"KWB1");
        put(&mut batch, 4, &self.length.to_le_bytes());
        put(&mut batch, 8, &self.sequence.to_le_bytes());
        put(&mut batch, 16, &self.run.to_le_bytes());
        put(&mut batch, 24, &self.durable.0.to_le_bytes());
        put(&mut batch, 32, &self.durable.1.to_le_bytes());
        put(&mut batch, 40, &self.oldest.to_le_bytes());
        put(&mut batch, 48, &self.records.to_le_bytes());
        batch.extend_from_slice(records);
        place.seal(&mut batch);
        batch
    }

    /// The header at the start of `bytes`, if its own checksum holds.
    pub fn decode(bytes: &[u8], place: &Place) -> Option<Self> {
        let header = bytes.get(..64)?;
        let verifies = u32_at(header, 56) == place.checksums(header).0;
        let length = u32_at(header, 4);
        let canonical = header[..4] == *b"KWB1" && header[52..56] == [0; 4] && length >= 64;
        (verifies && canonical).then(|| Self {
            length,
            sequence: u64_at(header, 8),
            run: u64_at(header, 16),
            durable: (u64_at(header, 24), u64_at(header, 32)),
            oldest: u64_at(header, 40),
            records: u32_at(header, 48),
        })
    }

    /// The bytes of the records, if the batch's checksum holds.
    pub fn records<'a>(&self, bytes: &'a [u8], place: &Place) -> Option<&'a [u8]> {
        let batch = bytes.get(..self.length as usize)?;
        (u32_at(batch, 60) == place.checksums(batch).1).then_some(&batch[64..])
    }

    /// The bytes it takes in the segment.
    pub fn padded(&self) -> u64 {
        u64::from(self.length).next_multiple_of(BLOCK as u64)
    }
}

impl Record {
    /// As bytes, whatever it says.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind, 0, 0, 0];
        bytes.extend_from_slice(&self.group.to_le_bytes());
        bytes.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// All records of a batch, if they are `count` and of known forms.
    pub fn decode_all(mut bytes: &[u8], count: u32) -> Option<Vec<Self>> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let header = bytes.get(..20)?;
            let end = 20 + u32_at(header, 8) as usize;
            let body = bytes.get(20..end)?.to_vec();
            let record = Self { kind: header[0], group: u32_at(header, 4), index: u64_at(header, 12), body };
            if header[1..4] != [0; 3] || !record.is_canonical() {
                return None;
            }
            records.push(record);
            bytes = &bytes[end..];
        }
        (records.len() == count as usize).then_some(records)
    }

    fn is_canonical(&self) -> bool {
        match self.kind {
            1 | 9 => self.body.len() >= 16,
            2 | 3 | 6 | 7 => self.index == 0,
            4 => self.body.is_empty(),
            5 => true,
            8 => self.index == 0 && self.body.is_empty(),
            _ => false,
        }
    }
}
