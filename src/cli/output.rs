//! How an answer looks: for people, for shells, for programs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use kahuna_client::protocol::Hlc;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value as Json;

/// Most characters that a table shows of a cell.
const MAX_CELL_CHARS: usize = 128;

/// The shape of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Aligned, with names (default on a terminal).
    Table,
    /// One line each: the value alone where there is one, else outcome and fields, tab separated (default elsewhere).
    Plain,
    /// One object.
    Json,
    /// One object a line.
    Jsonl,
    /// The value's bytes and nothing else.
    Raw,
}

impl Format {
    /// What fits where stdout goes.
    pub fn for_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Table } else { Self::Plain }
    }

    /// Whether a program reads it.
    pub fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl)
    }
}

/// What a verb has to show: named fields in order, and perhaps one value that is the point of it all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    fields: Vec<(&'static str, Json)>,
    /// What `raw` prints, and `plain` where it `is_value`.
    value: Option<Vec<u8>>,
    is_value: bool,
    /// When it was so, by the clock of its deadline.
    decided_at: Option<Hlc>,
}

impl Record {
    /// A record that starts with its outcome.
    pub fn new(outcome: &'static str) -> Self {
        Self::without_outcome().field("outcome", outcome)
    }

    /// A record inside another one.
    pub fn without_outcome() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn field(mut self, name: &'static str, value: impl Into<Json>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Adds a field if there is a value.
    pub fn optional(self, name: &'static str, value: Option<impl Into<Json>>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// Adds bytes: as text if they are UTF-8, else in base64 under `base64_name`.
    pub fn bytes(self, name: &'static str, base64_name: &'static str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.field(name, text),
            Err(_) => self.field(base64_name, base64(bytes)),
        }
    }

    /// `raw` prints these bytes; `plain` keeps its fields.
    pub fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(bytes.into()), ..self }
    }

    /// These bytes are what was asked for: `plain` prints them alone, too.
    pub fn value(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(bytes.into()), is_value: true, ..self }
    }

    /// Adds the time of the decision: in plain output a deadline is also printed as the time left from then on.
    pub fn decided_at(self, stamp: Hlc) -> Self {
        Self { decided_at: Some(stamp), ..self }
    }

    /// The text of a field; empty if there is none.
    pub fn text(&self, name: &str) -> String {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| text(value)).unwrap_or_default()
    }

    /// As one JSON value.
    pub fn json(&self) -> Json {
        serde_json::to_value(self).expect("field names are strings")
    }

    /// A field for people.
    fn shown(&self, name: &str, value: &Json) -> String {
        let plain = text(value);
        match (value.as_u64(), self.decided_at) {
            (Some(deadline_ms), Some(at)) if name == "deadline" => {
                let left = Duration::from_millis(deadline_ms.saturating_sub(at.millis()));
                format!("{plain}  (in {:.1} s)", left.as_secs_f64())
            }
            _ => plain,
        }
    }

    fn json_text(&self) -> String {
        serde_json::to_string(self).expect("field names are strings")
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Writes one record to stdout, as [`print_bytes`].
///
/// # Errors
/// Of stdout.
pub fn print(record: &Record, format: Format) -> io::Result<()> {
    print_bytes(&render(record, format))
}

/// Writes to stdout. A reader that is gone has seen enough: the process goes on to the exit code that its outcome has.
///
/// # Errors
/// Of stdout.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Prints a record to stderr as one line.
pub fn eprint_plain(record: &Record) {
    kahuna_shards::say!("{}", String::from_utf8_lossy(&render(record, Format::Plain)).trim_end_matches('\n'));
}

/// The bytes that stand for a record.
pub fn render(record: &Record, format: Format) -> Vec<u8> {
    let line = |text: String| (text + "\n").into_bytes();
    match (format, &record.value) {
        (Format::Json | Format::Jsonl, _) => line(record.json_text()),
        (Format::Raw, value) => value.clone().unwrap_or_default(),
        (Format::Plain, Some(value)) if record.is_value => [value, &b"\n"[..]].concat(),
        (Format::Plain, _) => {
            let cells = record.fields.iter().map(|(name, value)| match *name {
                "outcome" => text(value),
                name => format!("{name}={}", text(value)),
            });
            line(cells.collect::<Vec<_>>().join("\t"))
        }
        (Format::Table, _) => {
            let width = record.fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let lines =
                record.fields.iter().map(|(name, value)| format!("{name:width$}  {}\n", record.shown(name, value)));
            lines.collect::<String>().into_bytes()
        }
    }
}

/// Rows below a head, columns aligned. A cell is one line of at most [`MAX_CELL_CHARS`] characters: the rest of a longer
/// one is cut off and counted, and control characters are spelled out.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| cut(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(body).collect()
}

/// What a table shows of a cell.
fn cut(cell: &str) -> String {
    let mut shown = String::new();
    let mut chars = 0;
    for (at, char) in cell.char_indices() {
        let spelled = if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
        let spelled_chars = spelled.chars().count();
        if chars + spelled_chars > MAX_CELL_CHARS {
            return format!("{shown}… +{} characters", cell[at..].chars().count());
        }
        chars += spelled_chars;
        shown += &spelled;
    }
    shown
}

/// A value without JSON's quotes.
pub fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record::new("acquired").field("token", 7).field("owner", "me").raw("7")
    }

    fn rendered(record: &Record, format: Format) -> String {
        String::from_utf8(render(record, format)).expect("the sample is text")
    }

    #[test]
    fn the_outcome_comes_first_in_json() {
        assert_eq!(rendered(&sample(), Format::Json), "{\"outcome\":\"acquired\",\"token\":7,\"owner\":\"me\"}\n");
    }

    #[test]
    fn plain_is_the_value_where_there_is_one() {
        assert_eq!(rendered(&sample(), Format::Plain), "acquired\ttoken=7\towner=me\n");
        let value = Record::new("value").bytes("value", "value_base64", b"hi").value(*b"hi");
        assert_eq!(rendered(&value, Format::Plain), "hi\n");
        assert_eq!(rendered(&value, Format::Raw), "hi");
    }

    #[test]
    fn bytes_that_are_no_text_come_in_base64() {
        for (bytes, text) in [(&b"\xff"[..], "/w=="), (b"\xff\xfe", "//4="), (b"\xff\xfe\xfd", "//79")] {
            let record = Record::without_outcome().bytes("value", "value_base64", bytes);
            assert_eq!(record.text("value_base64"), text);
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [vec!["1".to_owned(), "up".to_owned()], vec!["10".to_owned(), "gone".to_owned()]];
        assert_eq!(table(&["node", "state"], &rows), "node  state\n1     up\n10    gone\n");
    }

    #[test]
    fn cells_of_a_table_are_one_line_and_not_too_wide() {
        let wide = "é".repeat(1 << 17);
        let rows = [vec![wide, "a".to_owned()], vec!["two\nlines\x1b[2J".to_owned(), "b".to_owned()]];
        let shown = table(&["value", "key"], &rows);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3, "{shown}");
        let cut = format!("{}… +{} characters", "é".repeat(MAX_CELL_CHARS), (1 << 17) - MAX_CELL_CHARS);
        assert_eq!(lines[1], format!("{cut}  a"));
        assert!(lines[2].starts_with("two\\nlines\\u{1b}[2J ") && lines[2].ends_with(" b"), "{shown}");
        let fits = "x".repeat(MAX_CELL_CHARS);
        assert_eq!(super::cut(&fits), fits);
    }
}
