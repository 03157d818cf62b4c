//! Rows that go out at once where they can, and are gathered where they must.

use std::io;

use serde_json::Value as Json;

use super::super::exit::Exit;
use super::super::output::{Format, Record, print, print_bytes, render, table};

/// Rows of one kind, at most so many of them.
pub struct Rows {
    format: Format,
    head: &'static [&'static str],
    limit: u64,
    gathered: Vec<Record>,
    /// Rows beyond the limit.
    pub left_out: u64,
}

impl Rows {
    /// `head` are the fields that a table shows.
    pub fn new(format: Format, head: &'static [&'static str], limit: Option<u64>) -> Self {
        Self { format, head, limit: limit.unwrap_or(u64::MAX), gathered: Vec::new(), left_out: 0 }
    }

    /// Takes one row.
    pub fn add(&mut self, row: Record) -> io::Result<()> {
        if self.limit == 0 {
            self.left_out += 1;
            return Ok(());
        }
        self.limit -= 1;
        match self.format {
            Format::Table | Format::Json => self.gathered.push(row),
            format => print_bytes(&render(&row, format))?,
        }
        Ok(())
    }

    /// The gathered rows as JSON.
    pub fn json(&self) -> Vec<Json> {
        self.gathered.iter().map(Record::json).collect()
    }

    /// Prints the gathered rows as a table, if that is the format and there are any.
    pub fn print_table(&self) -> io::Result<()> {
        if self.gathered.is_empty() || self.format != Format::Table {
            return Ok(());
        }
        let cells = |row: &Record| self.head.iter().map(|name| row.text(name)).collect();
        let rows: Vec<Vec<String>> = self.gathered.iter().map(cells).collect();
        print_bytes(format!("{}\n", table(self.head, &rows)).as_bytes())
    }
}

/// The last word on a file, and what the process ends with: a newer version is not damage.
pub fn judge_file(is_damaged: bool, is_newer: bool) -> (Exit, &'static str) {
    match (is_damaged, is_newer) {
        (_, true) => (Exit::HostNotFit, "newer"),
        (true, false) => (Exit::DataDamaged, "damaged"),
        (false, false) => (Exit::Ok, "whole"),
    }
}

/// Prints the last word: with all rows in it as JSON, below the tables for people.
pub fn finish(summary: Record, lists: &[(&'static str, &Rows)], format: Format) -> io::Result<()> {
    if format == Format::Json {
        let whole = lists.iter().fold(summary, |record, (name, rows)| record.field(name, rows.json()));
        return print(&whole, format);
    }
    for (_, rows) in lists {
        rows.print_table()?;
    }
    print(&summary, format)
}
