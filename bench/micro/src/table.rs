//! Results as a table for people or as JSON for programs.

use std::fmt::Write;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns.
    #[default]
    Table,
    /// An array with one object per row.
    Json,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words, left-aligned.
    Text(String),
    /// A number, and how many decimals are shown.
    Number(f64, usize),
}

/// Rows of results with named columns.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table. A column's name says its unit and is its key in JSON.
    pub fn new(columns: impl IntoIterator<Item = &'static str>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row. Panics unless it has one cell per column.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let row: Vec<Cell> = row.into_iter().collect();
        assert_eq!(row.len(), self.columns.len(), "one cell per column");
        self.rows.push(row);
    }

    /// The table as text that ends with a line feed.
    pub fn render(&self, output: Output) -> String {
        match output {
            Output::Table => self.render_columns(),
            Output::Json => {
                let rows: Vec<Value> = self.rows.iter().map(|row| self.object(row)).collect();
                format!("{:#}\n", Value::Array(rows))
            }
        }
    }

    fn object(&self, row: &[Cell]) -> Value {
        let pairs = self.columns.iter().zip(row).map(|(name, cell)| {
            let value = match cell {
                Cell::Text(text) => json!(text),
                Cell::Number(number, decimals) => {
                    let scale = 10f64.powi(i32::try_from(*decimals).unwrap_or(i32::MAX));
                    json!((number * scale).round() / scale)
                }
            };
            ((*name).to_owned(), value)
        });
        Value::Object(pairs.collect::<Map<_, _>>())
    }

    fn render_columns(&self) -> String {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::show).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| shown.iter().map(|row| row[at].len()).chain([self.columns[at].len()]).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        let names = self.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (number, line) in std::iter::once(&names).chain(&shown).enumerate() {
            for (at, cell) in line.iter().enumerate() {
                let width = widths[at];
                let words = number > 0 && matches!(self.rows[number - 1][at], Cell::Text(_)) || number == 0 && at == 0;
                let _ = if words { write!(text, "{cell:<width$}  ") } else { write!(text, "{cell:>width$}  ") };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

impl Cell {
    fn show(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number, decimals) => format!("{number:.decimals$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_json_keeps_names_and_decimals() {
        let mut table = Table::new(["what", "us"]);
        table.push([Cell::Text("one".into()), Cell::Number(1.26, 1)]);
        table.push([Cell::Text("eleven".into()), Cell::Number(110.0, 1)]);
        assert_eq!(table.render(Output::Table), "what       us\none       1.3\neleven  110.0\n");
        let parsed: Value = serde_json::from_str(&table.render(Output::Json)).expect("it is JSON");
        assert_eq!(parsed, json!([{"what": "one", "us": 1.3}, {"what": "eleven", "us": 110.0}]));
    }
}
