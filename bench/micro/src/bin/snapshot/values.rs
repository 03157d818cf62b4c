//! What is written.

use clap::ValueEnum;
use kahuna_protocol::batch::{Batch, BatchBuilder};
use kahuna_protocol::key::{Condition, KeySet};
use kahuna_protocol::{Hlc, Request, RequestPrelude};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// Different values; each key gets one of them.
const POOL: usize = 1 << 14;

/// The words that text is made of.
const WORDS: &str = "status active region europe instance leader replica address port weight version owner service \
                     deadline created updated enabled false true primary secondary capacity limit name host zone";

/// What values look like.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Values {
    /// Random bytes: keys, tokens, what is packed or encrypted already.
    #[default]
    Random,
    /// Fields with words and numbers, as configuration has them.
    Text,
}

/// Keys and values to write.
#[derive(Clone)]
pub struct Workload {
    /// How many keys there are.
    pub keys: u32,
    pool: Vec<Vec<u8>>,
    rng: SmallRng,
}

impl Workload {
    /// `keys` keys with values of `value_bytes`; always the same.
    pub fn new(keys: u32, values: Values, value_bytes: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(7);
        let pool = (0..POOL).map(|_| value(values, value_bytes, &mut rng)).collect();
        Self { keys, pool, rng }
    }

    /// Sets of the keys in `keys`.
    pub fn batch(&mut self, keys: impl IntoIterator<Item = u32>, now: Hlc) -> Batch {
        let mut builder = BatchBuilder::new();
        let mut body = Vec::new();
        for key in keys {
            let request = Request::from(KeySet {
                key: format!("key-{key:08}").into_bytes(),
                value: self.pool[self.rng.random_range(0..POOL)].clone(),
                ttl_ms: None,
                condition: Condition::default(),
                no_history: false,
            });
            body.clear();
            request.encode_body(&mut body);
            builder.push(request.kind(), 0, &RequestPrelude::default(), &body);
        }
        builder.finish(now)
    }

    /// Sets of `count` keys drawn from all.
    pub fn random_batch(&mut self, count: usize, now: Hlc) -> Batch {
        let drawn: Vec<u32> = (0..count).map(|_| self.rng.random_range(0..self.keys)).collect();
        self.batch(drawn, now)
    }
}

fn value(values: Values, bytes: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut value = vec![0; bytes];
    match values {
        Values::Random => rng.fill_bytes(&mut value),
        Values::Text => {
            let words: Vec<&str> = WORDS.split(' ').collect();
            let mut text = String::from("{");
            while text.len() < bytes {
                let mut word = || words[rng.random_range(0..words.len())];
                text += &format!("\"{}\": \"{}-{}\", ", word(), word(), rng.random_range(0..10_000u32));
            }
            value.copy_from_slice(&text.as_bytes()[..bytes]);
        }
    }
    value
}
