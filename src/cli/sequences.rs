//! The verbs of sequences.

use clap::Subcommand;
use kahuna_client::CallOptions;
use kahuna_client::protocol::sequence::{SequenceCreate, SequenceDelete, SequenceGet, SequenceNext, SequenceReserve};

use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};

/// What can be done to sequences.
#[derive(Subcommand, Debug)]
pub enum SequenceVerb {
    /// Create a sequence; the first value drawn is initial + increment. Exit code 3 if it exists
    Create {
        /// The sequence
        name: String,
        /// What counts as drawn already
        #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
        initial: i64,
        /// The step; a negative one counts down
        #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
        increment: i64,
        /// The last value that may be drawn, the lowest one for a negative step
        #[arg(long, allow_negative_numbers = true)]
        max: Option<i64>,
    },
    /// Draw the next value
    Next {
        /// The sequence
        name: String,
        /// A repeat with the same key within 10 minutes returns the first allocation
        #[arg(long, default_value = "", hide_default_value = true)]
        idempotency_key: String,
    },
    /// Draw COUNT values in one piece
    Reserve {
        /// The sequence
        name: String,
        /// How many
        count: u64,
        /// A repeat with the same key within 10 minutes returns the first allocation
        #[arg(long, default_value = "", hide_default_value = true)]
        idempotency_key: String,
    },
    /// Read a sequence without drawing
    Get {
        /// The sequence
        name: String,
    },
    /// Remove a sequence
    Del {
        /// The sequence
        name: String,
    },
}

/// Runs one verb.
pub fn run(verb: SequenceVerb, client: &ClientArgs) -> Result<Exit, Failure> {
    let plain = CallOptions::default();
    match verb {
        SequenceVerb::Create { name, initial, increment, max } => {
            client.answer(SequenceCreate { name: name.into_bytes(), initial, increment, max }, plain)
        }
        SequenceVerb::Next { name, idempotency_key } => {
            let (name, idempotency_key) = (name.into_bytes(), idempotency_key.into_bytes());
            client.answer(SequenceNext { name, idempotency_key }, plain)
        }
        SequenceVerb::Reserve { name, count, idempotency_key } => {
            let (name, idempotency_key) = (name.into_bytes(), idempotency_key.into_bytes());
            client.answer(SequenceReserve { name, count, idempotency_key }, plain)
        }
        SequenceVerb::Get { name } => client.answer(SequenceGet { name: name.into_bytes() }, plain),
        SequenceVerb::Del { name } => client.answer(SequenceDelete { name: name.into_bytes() }, plain),
    }
}
