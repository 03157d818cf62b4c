//! Reading bent snapshots whose checksums hold: nothing panics, and whatever is taken for a machine can be written and read
//! again as the same one.

#![no_main]

use std::cell::OnceCell;

use arbitrary::{Arbitrary, Unstructured};
use kahuna_wal_fuzz::snapshot::{machine, pack, plain_blocks, restore, seal, seal_all};
use libfuzzer_sys::fuzz_target;

/// What happens to the blocks of a whole snapshot.
#[derive(Arbitrary, Debug)]
enum Bend {
    /// Another byte in a payload.
    Set { block: u8, offset: u16, value: u8 },
    /// Some bytes more.
    Insert { block: u8, offset: u16, bytes: [u8; 8], count: u8 },
    /// Some bytes fewer.
    Remove { block: u8, offset: u16, count: u8 },
    /// A stretch stands twice.
    Repeat { block: u8, offset: u16, count: u8, to: u16 },
    /// A block is cut in two items blocks.
    Split { block: u8, offset: u16 },
    /// A block is gone.
    Drop { block: u8 },
    /// Two blocks change places.
    Swap { one: u8, other: u8 },
    /// Another kind of block.
    Kind { block: u8, kind: u32 },
}

/// What happens once all checksums are right: to a block as it stands in the file.
#[derive(Arbitrary, Debug)]
enum Last {
    Nothing,
    Pack,
    /// Packed, and a byte of that changed, with a checksum that holds.
    BendPacked {
        block: u8,
        offset: u16,
        value: u8,
    },
    /// A byte changed, and nothing mended.
    Flip {
        block: u8,
        offset: u16,
        mask: u8,
    },
}

const HEADER: usize = 16;

thread_local! {
    static BASE: OnceCell<Vec<Vec<u8>>> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(last) = Last::arbitrary(&mut input) else { return };
    let Ok(bends) = Vec::<Bend>::arbitrary_take_rest(input) else { return };
    let mut blocks = BASE.with(|base| base.get_or_init(|| plain_blocks(&machine())).clone());
    bends.iter().take(16).for_each(|bend| bend.apply(&mut blocks));
    seal_all(&mut blocks);
    last.apply(&mut blocks);

    let Some(machine) = restore(&blocks) else {
        assert!(!(bends.is_empty() && matches!(last, Last::Nothing | Last::Pack)), "a whole snapshot is taken");
        return;
    };
    let again = plain_blocks(&machine);
    let second = restore(&again).expect("what was taken can be written and read again");
    assert_eq!(second.hash(), machine.hash());
    assert!(plain_blocks(&second) == again, "and is the same then");
});

impl Bend {
    fn apply(&self, blocks: &mut Vec<Vec<u8>>) {
        let count = blocks.len();
        let at = |block: u8| usize::from(block) % count.max(1);
        if count == 0 {
            return;
        }
        // A place in the payload, its end included.
        let place = |block: &[u8], offset: u16| HEADER + usize::from(offset) % (block.len() - HEADER + 1);
        match *self {
            Self::Set { block, offset, value } => {
                let block = &mut blocks[at(block)];
                let place = place(block, offset);
                if let Some(byte) = block.get_mut(place) {
                    *byte = value;
                }
            }
            Self::Insert { block, offset, bytes, count } => {
                let block = &mut blocks[at(block)];
                let place = place(block, offset);
                block.splice(place..place, bytes.into_iter().take(usize::from(count % 9)));
            }
            Self::Remove { block, offset, count } => {
                let block = &mut blocks[at(block)];
                let place = place(block, offset);
                let end = (place + usize::from(count)).min(block.len());
                block.drain(place..end);
            }
            Self::Repeat { block, offset, count, to } => {
                let block = &mut blocks[at(block)];
                let (from, to) = (place(block, offset), place(block, to));
                let copy = block[from..(from + usize::from(count)).min(block.len())].to_vec();
                block.splice(to..to, copy);
            }
            Self::Split { block, offset } => {
                let index = at(block);
                let place = place(&blocks[index], offset);
                let rest = blocks[index].split_off(place);
                let second = [&blocks[index][..HEADER], &rest].concat();
                blocks.insert(index + 1, second);
            }
            Self::Drop { block } => drop(blocks.remove(at(block))),
            Self::Swap { one, other } => blocks.swap(at(one), at(other)),
            Self::Kind { block, kind } => blocks[at(block)][12..16].copy_from_slice(&kind.to_le_bytes()),
        }
    }
}

impl Last {
    fn apply(&self, blocks: &mut [Vec<u8>]) {
        let count = blocks.len();
        match *self {
            Self::Nothing => {}
            Self::Pack => {
                let items = blocks.iter_mut().filter(|block| block[12..16] == [2, 0, 0, 0]);
                items.for_each(|block| *block = pack(block));
            }
            Self::BendPacked { block, offset, value } if count > 0 => {
                let block = &mut blocks[usize::from(block) % count];
                *block = pack(block);
                let place = HEADER + usize::from(offset) % (block.len() - HEADER);
                block[place] = value;
                seal(block);
            }
            Self::Flip { block, offset, mask } if count > 0 => {
                let block = &mut blocks[usize::from(block) % count];
                let place = usize::from(offset) % block.len();
                block[place] ^= mask;
            }
            Self::BendPacked { .. } | Self::Flip { .. } => {}
        }
    }
}
