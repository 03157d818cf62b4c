//! The configuration file: TOML, one table for the node and one for the commands.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use kahuna::units::Size;
use serde::Deserialize;

use super::client_args::ClientFile;
use super::exit::Failure;
use super::serve_args::NodeArgs;

/// The most bytes of a file.
const MAX_BYTES: u64 = 1 << 20;

/// What a file may hold. An unknown name is an error: a misspelled setting would be a silent default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// What `serve` and `check` read.
    pub serve: NodeArgs,
    /// What every other verb reads.
    pub client: ClientFile,
}

impl ConfigFile {
    /// Reads `path`; without one there is nothing in it.
    ///
    /// # Errors
    /// `Usage` when it cannot be read or does not parse; the text names the place.
    pub fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::default()) };
        let unreadable = |error| Failure::Usage(format!("cannot read the configuration {}: {error}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        // One more than it may be: what is named by mistake may have no end.
        let bytes = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
        if bytes as u64 > MAX_BYTES {
            return Err(Failure::Usage(format!(
                "the configuration {} is longer than {}, the most that is read",
                path.display(),
                Size(MAX_BYTES)
            )));
        }
        toml::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_are_read() {
        let text =
            "[serve]\nnode_id = 2\nheartbeat = \"60ms\"\npeers = [\"1=a:1\", \"2=b:1\"]\n[client]\noutput = \"json\"\n";
        let file: ConfigFile = toml::from_str(text).expect("a good file");
        assert_eq!(file.serve.node_id, Some(2));
        assert_eq!(file.serve.heartbeat.map(|span| span.0.as_millis()), Some(60));
        assert_eq!(file.serve.peers.map(|peers| peers.len()), Some(2));
        assert_eq!(file.client.output, Some(crate::cli::output::Format::Json));
    }

    #[test]
    fn a_misspelled_name_and_a_missing_unit_are_errors() {
        for text in ["[serve]\nnode_idd = 2\n", "[serve]\nheartbeat = \"60\"\n", "[sevre]\n"] {
            assert!(toml::from_str::<ConfigFile>(text).is_err(), "{text}");
        }
    }
}
