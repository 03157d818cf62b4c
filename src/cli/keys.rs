//! The verbs of keys. They stand at the top and again under `kv`.

use std::io::Read;
use std::str::FromStr;

use clap::{Args, Subcommand};
use kahuna::units::Span;
use kahuna_client::CallOptions;
use kahuna_client::blocking::Client;
use kahuna_client::protocol::key::{
    Condition, KeyAppend, KeyDelete, KeyExists, KeyExtend, KeyGet, KeyPersist, KeySet, LockGuard,
};
use kahuna_client::protocol::limits::MAX_BODY_BYTES;

use super::as_of::AsOf;
use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::freshness::Freshness;
use super::scan::{ScanArgs, scan};

/// What can be done to keys.
#[derive(Subcommand, Debug)]
pub enum KeyVerb {
    /// Write a key
    Set(SetArgs),
    /// Write a key's value with more bytes behind it, up to 1MiB; its time to live stays
    Append(AppendArgs),
    /// Read a key's value
    Get(GetArgs),
    /// Ask whether a key exists
    Exists(GetArgs),
    /// Remove a key
    Del(DelArgs),
    /// Give an existing key a new time to live; its revision stays
    Extend(ExtendArgs),
    /// Take a key's time to live away; its revision stays
    Persist {
        /// The key
        key: String,
    },
    /// List the keys of one bucket, in name order
    Scan(ScanArgs),
}

#[derive(Args, Debug)]
pub struct SetArgs {
    /// The key
    key: String,
    /// Its value; `-` reads stdin to the end
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// How long it lives; without this an earlier time to live is cleared
    #[arg(long)]
    ttl: Option<Span>,
    /// Only if the key does not exist
    #[arg(long, conflicts_with = "xx")]
    nx: bool,
    /// Only if the key exists
    #[arg(long)]
    xx: bool,
    #[command(flatten)]
    when: WhenArgs,
    /// The revision that this replaces need not be kept
    #[arg(long)]
    no_history: bool,
}

#[derive(Args, Debug)]
pub struct AppendArgs {
    /// The key; one that does not exist begins empty
    key: String,
    /// What to append; `-` reads stdin to the end
    #[arg(allow_negative_numbers = true)]
    suffix: String,
    /// Only if the key exists
    #[arg(long)]
    xx: bool,
    #[command(flatten)]
    when: WhenArgs,
    /// The revision that this replaces need not be kept
    #[arg(long)]
    no_history: bool,
}

#[derive(Args, Debug)]
pub struct DelArgs {
    /// The key
    key: String,
    #[command(flatten)]
    when: WhenArgs,
}

#[derive(Args, Debug)]
struct WhenArgs {
    /// Only if the key has this value
    #[arg(long, allow_negative_numbers = true)]
    if_value: Option<String>,
    /// Only if the key is at this revision; 0 means that it does not exist
    #[arg(long)]
    if_revision: Option<u64>,
    /// Only while this lock is held with this token
    #[arg(long, value_name = "NAME:TOKEN")]
    if_lock: Option<Guard>,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// The key
    key: String,
    /// The revision wanted instead of the newest
    #[arg(long, conflicts_with = "as_of")]
    revision: Option<u64>,
    /// As of when: a stamp as `modified` shows it, Unix milliseconds, or a time ago such as 30s, by the servers' clock
    #[arg(long)]
    as_of: Option<AsOf>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t)]
    read: Freshness,
}

#[derive(Args, Debug)]
pub struct ExtendArgs {
    /// The key
    key: String,
    /// How long it lives from now on
    #[arg(long)]
    ttl: Span,
}

/// `NAME:TOKEN`. A name may hold colons; the token is behind the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guard {
    name: String,
    token: u64,
}

impl FromStr for Guard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, token) = text.rsplit_once(':').ok_or("write NAME:TOKEN")?;
        let token = token.parse().map_err(|_| format!("{token:?} is not a token"))?;
        Ok(Self { name: name.to_owned(), token })
    }
}

impl GetArgs {
    /// The client to ask, the moment that is asked about, and how to ask.
    fn prepare(&self, args: &ClientArgs) -> Result<(Client, Option<u64>, CallOptions), Failure> {
        let (client, options) = (args.client()?, CallOptions { read: self.read.into(), ..CallOptions::default() });
        let probe = KeyExists { key: self.key.clone().into_bytes(), revision: None, as_of: None };
        let as_of = self.as_of.map(|as_of| as_of.stamp(&client, probe, options.clone())).transpose()?;
        Ok((client, as_of, options))
    }
}

impl WhenArgs {
    fn condition(self, absent: bool, present: bool) -> Condition {
        Condition {
            absent,
            present,
            value: self.if_value.map(String::into_bytes),
            revision: self.if_revision,
            if_lock: self.if_lock.map(|guard| LockGuard { name: guard.name.into_bytes(), token: guard.token }),
        }
    }
}

/// Runs one verb.
pub fn run(verb: KeyVerb, client: &ClientArgs) -> Result<Exit, Failure> {
    let plain = CallOptions::default;
    match verb {
        KeyVerb::Set(args) => {
            let call = KeySet {
                key: args.key.into_bytes(),
                value: value_or_stdin(args.value)?,
                ttl_ms: args.ttl.map(Span::millis),
                condition: args.when.condition(args.nx, args.xx),
                no_history: args.no_history,
            };
            client.answer(call, plain())
        }
        KeyVerb::Append(args) => {
            let (suffix, condition) = (value_or_stdin(args.suffix)?, args.when.condition(false, args.xx));
            let call = KeyAppend { key: args.key.into_bytes(), suffix, condition, no_history: args.no_history };
            client.answer(call, plain())
        }
        KeyVerb::Get(args) => {
            let (session, as_of, options) = args.prepare(client)?;
            let call = KeyGet { key: args.key.into_bytes(), revision: args.revision, as_of };
            client.answer_of(&session, call, options)
        }
        KeyVerb::Exists(args) => {
            let (session, as_of, options) = args.prepare(client)?;
            let call = KeyExists { key: args.key.into_bytes(), revision: args.revision, as_of };
            client.answer_of(&session, call, options)
        }
        KeyVerb::Del(args) => {
            let condition = args.when.condition(false, false);
            client.answer(KeyDelete { key: args.key.into_bytes(), condition }, plain())
        }
        KeyVerb::Extend(args) => {
            client.answer(KeyExtend { key: args.key.into_bytes(), ttl_ms: args.ttl.millis() }, plain())
        }
        KeyVerb::Persist { key } => client.answer(KeyPersist { key: key.into_bytes() }, plain()),
        KeyVerb::Scan(args) => scan(args, client),
    }
}

fn value_or_stdin(value: String) -> Result<Vec<u8>, Failure> {
    if value != "-" {
        return Ok(value.into_bytes());
    }
    let mut bytes = Vec::new();
    let unreadable = |error| Failure::Usage(format!("cannot read the value from stdin: {error}"));
    let most = MAX_BODY_BYTES as u64;
    std::io::stdin().take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(Failure::Usage(format!("the value from stdin has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_may_have_colons_in_its_name() {
        assert_eq!("a:b:7".parse(), Ok(Guard { name: "a:b".to_owned(), token: 7 }));
        assert!("a".parse::<Guard>().is_err() && "a:x".parse::<Guard>().is_err());
    }
}
