//! What every verb that talks to a cluster takes.

use clap::Args;
use kahuna::address::Address;
use kahuna::units::Span;
use kahuna_client::blocking::Client;
use kahuna_client::call::Stamped;
use kahuna_client::protocol::Outcome;
use kahuna_client::{Call, CallOptions, Options};
use serde::Deserialize;

use super::exit::{Exit, Failure};
use super::outcome::record;
use super::output::{Format, eprint_plain, print};

/// The endpoint without a flag, an environment variable, or a setting.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2070";

/// Where the cluster is and how answers look.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// Nodes to ask, host:port,...; one that answers is enough [default: 127.0.0.1:2070]
    #[arg(short = 'c', long, env = "KAHUNA_ENDPOINTS", value_delimiter = ',', global = true)]
    pub endpoints: Option<Vec<Address>>,
    /// What answers look like [default: table on a terminal, plain elsewhere]
    #[arg(short, long, env = "KAHUNA_OUTPUT", value_enum, global = true)]
    pub output: Option<Format>,
    /// How long a request may take, all its attempts together [default: 5s]
    #[arg(long, env = "KAHUNA_TIMEOUT", global = true)]
    pub timeout: Option<Span>,
}

/// The same from the configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientFile {
    pub endpoints: Option<Vec<Address>>,
    pub output: Option<Format>,
    pub timeout: Option<Span>,
}

impl ClientArgs {
    /// Fills in from the file what neither flag nor environment sets.
    pub fn or(self, file: ClientFile) -> Self {
        Self {
            endpoints: self.endpoints.or(file.endpoints),
            output: self.output.or(file.output),
            timeout: self.timeout.or(file.timeout),
        }
    }

    /// The shape of the output.
    pub fn format(&self) -> Format {
        self.output.unwrap_or_else(Format::for_stdout)
    }

    /// The nodes to ask.
    pub fn endpoints(&self) -> Vec<String> {
        match &self.endpoints {
            Some(given) => given.iter().map(|address| address.0.clone()).collect(),
            None => vec![DEFAULT_ENDPOINT.to_owned()],
        }
    }

    /// A client for one request: it stays with the first node that answers.
    pub fn client(&self) -> Result<Client, Failure> {
        let defaults = Options::new(self.endpoints());
        let timeout = self.timeout.map_or(defaults.timeout, |span| span.0);
        if timeout.is_zero() {
            return Err(Failure::Usage("--timeout 0s leaves no time for an answer".to_owned()));
        }
        let options = Options { timeout, follow_leaders: false, name: "kahuna".to_owned(), ..defaults };
        Client::new(options).map_err(|error| Failure::Other(Exit::Internal, format!("cannot start a thread: {error}")))
    }

    /// Sends one request, prints its outcome, and returns the exit code.
    pub fn answer<C>(&self, call: C, options: CallOptions) -> Result<Exit, Failure>
    where
        C: Call,
        C::Answer: Into<Outcome>,
    {
        self.answer_of(&self.client()?, call, options)
    }

    /// The same with a client that is there.
    pub fn answer_of<C>(&self, client: &Client, call: C, options: CallOptions) -> Result<Exit, Failure>
    where
        C: Call,
        C::Answer: Into<Outcome>,
    {
        let (answer, stamp) = client.call_with(Stamped(call), options)?;
        let outcome = answer.into();
        let exit = Exit::of_outcome(&outcome);
        let absent = matches!(
            outcome,
            Outcome::NotFound(_) | Outcome::Compacted(_) | Outcome::SequenceNotFound(_) | Outcome::Exhausted(_)
        );
        let record = record(outcome).decided_at(stamp);
        match self.format() {
            // A script that reads a value from stdout must not take this for one.
            Format::Plain | Format::Raw if absent => eprint_plain(&record),
            Format::Raw if exit != Exit::Ok => eprint_plain(&record),
            format => print(&record, format)?,
        }
        Ok(exit)
    }
}
