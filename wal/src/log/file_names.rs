//! The names of a log's files.
//!
//! `<sequence, 20 digits>.seg` is a segment, `<generation, 16 hexadecimal digits>.spare` waits for reuse, and
//! `<generation>.tmp` was never finished. A file of another name is not the log's, and stays as it is.

use std::path::{Path, PathBuf};

const SEGMENT_SUFFIX: &str = ".seg";
pub const SPARE_SUFFIX: &str = ".spare";
pub const UNFINISHED_SUFFIX: &str = ".tmp";

/// The file of a segment.
pub fn segment_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}{SEGMENT_SUFFIX}"))
}

/// The segment that a file name stands for.
pub fn segment_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SEGMENT_SUFFIX)?;
    let is_plain = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    // The first segment is 1, and the last one must have a next one.
    is_plain.then(|| digits.parse().ok()).flatten().filter(|&segment| segment != 0 && segment != u64::MAX)
}

/// Whether the log names its spares so.
pub fn is_spare(name: &str) -> bool {
    has_generation(name, SPARE_SUFFIX)
}

/// Whether the log names so what it has not finished.
pub fn is_unfinished(name: &str) -> bool {
    has_generation(name, UNFINISHED_SUFFIX)
}

/// Whether the log may have made a file of this name.
pub fn is_own(name: &str) -> bool {
    segment_of(name).is_some() || is_spare(name) || is_unfinished(name)
}

fn has_generation(name: &str, suffix: &str) -> bool {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    let digits = name.strip_suffix(suffix).filter(|digits| digits.len() == 16 && digits.bytes().all(is_digit));
    let generation = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    // No run comes near the last number, and there must be a next one.
    generation.is_some_and(|generation| generation as u32 <= u32::MAX / 2)
}

/// The number within its run that names a spare, when it is one of `run`.
pub fn generation_of(spare: &Path, run: u64) -> Option<u32> {
    let generation = u64::from_str_radix(spare.file_stem()?.to_str()?, 16).ok()?;
    (generation >> 32 == run).then_some(generation as u32)
}
