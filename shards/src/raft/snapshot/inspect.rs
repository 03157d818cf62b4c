//! Looking into a snapshot file without a replica: for a person with a damaged disk. Pure; damage ends nothing.

use kahuna_machine::{Fault, Machine, Restore, block_bytes, check_block};

use super::header::{Header, PROBE_BYTES};

/// Before the payload of a block: length, checksum, number, kind.
const BLOCK_HEADER_BYTES: usize = 16;
const PACKED: u32 = 0x100;

/// What stands in a snapshot file.
#[derive(Debug)]
pub struct View {
    /// What it is of, if its header can be read.
    pub header: Option<Header>,
    /// Its blocks, as far as their lengths lead.
    pub blocks: Vec<BlockView>,
    /// The state that it holds, if it is whole.
    pub machine: Option<Machine>,
    /// The first damage: its offset in bytes, and what is wrong there.
    pub damage: Option<(u64, String)>,
    /// That is no damage: a newer program wrote it.
    pub is_newer: bool,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockView {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes, header included.
    pub bytes: u64,
    /// What it holds: `head`, `items`, `trailer`, or `unknown`.
    pub kind: &'static str,
    /// Whether its payload is packed.
    pub packed: bool,
    /// Whether its frame verifies.
    pub intact: bool,
}

impl View {
    /// Looks at all bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        let mut view = Self { header: None, blocks: Vec::new(), machine: None, damage: None, is_newer: false };
        let length = match Header::length(bytes.get(..PROBE_BYTES).unwrap_or(bytes)) {
            Ok(length) => length,
            Err(error) => {
                view.found(0, error.to_string());
                return view;
            }
        };
        let header = bytes.get(..length);
        match header.map(Header::read) {
            Some(Ok(header)) => view.header = Some(header),
            Some(Err(error)) => match header.and_then(Header::newer) {
                Some(format) => {
                    view.is_newer = true;
                    view.found(0, format!("format {format} is newer than this program"));
                }
                None => view.found(0, error.to_string()),
            },
            None => view.found(bytes.len() as u64, "the file ends within its header".to_owned()),
        }
        view.blocks(bytes, length);
        view
    }

    fn blocks(&mut self, bytes: &[u8], mut start: usize) {
        let mut restore = Restore::new();
        for number in 0.. {
            let rest = bytes.get(start..).unwrap_or_default();
            let Some(block) = rest.first_chunk().and_then(|head| rest.get(..block_bytes(*head))) else {
                if !rest.is_empty() {
                    self.found(start as u64, "no whole block here".to_owned());
                }
                break;
            };
            let offset = start as u64;
            let fault = check_block(number, block).and_then(|()| match self.damage {
                None => restore.push_block(block),
                Some(_) => Ok(()),
            });
            if let Err(error) = &fault {
                self.is_newer |= self.damage.is_none() && matches!(error.fault, Fault::Version(_));
                self.found(offset, error.to_string());
            }
            let kind = block[..BLOCK_HEADER_BYTES].last_chunk().map_or(0, |kind| u32::from_le_bytes(*kind));
            self.blocks.push(BlockView {
                offset,
                bytes: block.len() as u64,
                kind: match kind & !PACKED {
                    1 => "head",
                    2 => "items",
                    3 => "trailer",
                    _ => "unknown",
                },
                packed: kind & PACKED != 0,
                intact: check_block(number, block).is_ok(),
            });
            start += block.len();
        }
        if self.damage.is_none() {
            match restore.finish() {
                Ok(machine) => self.machine = Some(machine),
                Err(error) => self.found(start as u64, error.to_string()),
            }
        }
    }

    /// The first one counts.
    fn found(&mut self, offset: u64, why: String) {
        self.damage.get_or_insert((offset, why));
    }
}
