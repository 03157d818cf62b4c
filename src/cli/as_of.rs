//! `--as-of`: a moment in the past, in the forms that people write.

use std::str::FromStr;

use kahuna::units::Span;
use kahuna_client::blocking::Client;
use kahuna_client::call::Stamped;
use kahuna_client::protocol::Hlc;
use kahuna_client::{Call, CallOptions};

use super::exit::Failure;

/// A moment in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// This one.
    At(Hlc),
    /// So long before the present one of the partition that is asked.
    Ago(Span),
}

impl AsOf {
    /// As the wire has it. `probe` is a read of the same partition: its answer's stamp is the present.
    pub fn stamp<C: Call>(self, client: &Client, probe: C, options: CallOptions) -> Result<u64, Failure> {
        match self {
            Self::At(stamp) => Ok(stamp.0),
            Self::Ago(ago) => {
                let (_, present) = client.call_with(Stamped(probe), options)?;
                Ok(present.0.saturating_sub(Hlc::from_millis(ago.millis()).0))
            }
        }
    }
}

impl FromStr for AsOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse() {
            return Ok(Self::Ago(ago));
        }
        let (millis, counter) = text.split_once('.').unwrap_or((text, "0"));
        match (millis.parse(), counter.parse::<u16>()) {
            (Ok(millis), Ok(counter)) => Ok(Self::At(Hlc(Hlc::from_millis(millis).0 + u64::from(counter)))),
            _ => Err("write a stamp such as 1735689600000.3, Unix milliseconds, or a time ago such as 30s".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stamp_reads_as_it_is_shown() {
        let stamp = Hlc(Hlc::from_millis(1_735_689_600_000).0 + 3);
        assert_eq!(stamp.to_string().parse(), Ok(AsOf::At(stamp)));
        assert_eq!("5".parse(), Ok(AsOf::At(Hlc::from_millis(5))));
        assert_eq!("5s".parse(), Ok(AsOf::Ago(Span(Duration::from_secs(5)))));
        assert!("yesterday".parse::<AsOf>().is_err());
    }
}
