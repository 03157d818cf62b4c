//! Durations and sizes as people write them: a number and a unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A duration with its unit: `250ms`, `30s`, `1.5h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A number of bytes with its unit: `4096B`, `64MiB`, `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The unit is missing or none of those known.
    #[error("{text:?} needs a unit: one of {units}, as in {example}")]
    Unit {
        /// What was written.
        text: String,
        /// The units that exist.
        units: String,
        /// One that would do.
        example: &'static str,
    },
    /// What stands before the unit is not a number, or one too large.
    #[error("{0:?} does not start with a number that fits")]
    Number(String),
}

const DURATIONS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// The quantity in the smallest unit. A fraction is exact to that unit, and cut below it.
fn parse(text: &str, units: &[(&str, u64)], example: &'static str) -> Result<u64, UnitError> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..number_end], text[number_end..].trim_start());
    let bad_number = || UnitError::Number(text.to_owned());
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
        return Err(UnitError::Unit { text: text.to_owned(), units, example });
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.len() > 18 {
        return Err(bad_number());
    }
    let whole: u64 = whole.parse().map_err(|_| bad_number())?;
    let numerator: u128 = fraction.parse().map_err(|_| bad_number())?;
    let part = numerator * u128::from(*factor) / 10_u128.pow(u32::try_from(fraction.len()).expect("18 at most"));
    let total = u128::from(whole) * u128::from(*factor) + part;
    u64::try_from(total).map_err(|_| bad_number())
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text.trim(), DURATIONS, "30s").map(|nanos| Self(Duration::from_nanos(nanos)))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text.trim(), SIZES, "64MiB").map(Self)
    }
}

impl Span {
    /// Whole milliseconds, rounded up, so that what is short does not become none.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZES[..5].iter().rev().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = binary.unwrap_or(&SIZES[0]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_a_unit() {
        let parsed = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(parsed("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parsed("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parsed("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parsed("0.001s"), Ok(Duration::from_millis(1)));
        assert_eq!(parsed(" 2 m "), Ok(Duration::from_secs(120)));
        assert_eq!(parsed("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_a_reason() {
        for text in ["30", "", "s", "-1s", "1.s", ".5s", "1..2s", "1e3s", "3 weeks", "99999999999d", "1.2.3s"] {
            assert!(text.parse::<Span>().is_err(), "{text:?} was taken");
        }
        let error = "30".parse::<Span>().expect_err("no unit");
        assert_eq!(error.to_string(), "\"30\" needs a unit: one of ns us ms s m h d, as in 30s");
        assert!("64mib".parse::<Size>().is_err(), "units are spelled exactly");
    }

    #[test]
    fn sizes_are_binary_or_decimal_and_print_as_they_are_read() {
        for (text, bytes) in [("64MiB", 64 << 20), ("4096B", 4096), ("0.5KiB", 512), ("1GB", 1_000_000_000)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bytes in [0, 1, 1023, 1024, 64 << 20, 3 << 29, 1_000_000] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        assert!("16777216TiB".parse::<Size>().is_err(), "beyond 64 bits");
    }

    #[test]
    fn short_is_not_none() {
        assert_eq!(Span(Duration::from_micros(1)).millis(), 1);
    }
}
