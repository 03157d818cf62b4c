//! What is printed: one row per patch, first the tree as it is.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use kahuna_sim::finding::Judge;
use serde::Serialize;

use super::trial::Trial;
use crate::Format;

/// Characters of a finding that are shown.
const TEXT_SHOWN: usize = 160;

/// One build and its verdict.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// The patch; none for the tree as it is.
    pub(crate) patch: Option<String>,
    pub(crate) breaks: String,
    /// Who must find it.
    pub(crate) judges: Vec<Judge>,
    /// Whether it is as it must be: caught, or without a patch valid in all seeds.
    pub(crate) ok: bool,
    /// Why no seed ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) trial: Trial,
    pub(crate) build_ms: u64,
    pub(crate) run_ms: u64,
}

impl Row {
    /// Prints it, and the finding that it rests on below it.
    ///
    /// # Errors
    /// Of standard output.
    pub(crate) fn print(&self, format: Format) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(self)?),
            Format::Plain => out.write_all(self.plain().as_bytes()),
        }
    }

    fn plain(&self) -> String {
        let name = self.patch.as_deref().unwrap_or("(as it is)");
        let Trial { seeds, caught, valid, by, first } = &self.trial;
        let mut text = format!("{:<6} {name:<32} ", if self.ok { "ok" } else { "FAILED" });
        // Writing to a String does not fail.
        let _ = match (&self.error, &self.patch, first) {
            (Some(error), ..) => write!(text, "{error}"),
            (None, None, _) => write!(text, "{valid} of {seeds} seeds valid"),
            (None, Some(_), Some(first)) => {
                write!(text, "{:<14} seed {:<4} {} of {seeds} seeds", first.judge.name(), first.seed, caught.len())
            }
            (None, Some(_), None) => write!(text, "not caught in {seeds} seeds by {}", names(&self.judges)),
        };
        let seen: Vec<String> = by.iter().map(|(judge, count)| format!("{count} {}", judge.name())).collect();
        let _ = writeln!(
            text,
            "  [{}]  {:.0} s to build, {:.0} s to run",
            seen.join(", "),
            self.build_ms as f64 / 1000.0,
            self.run_ms as f64 / 1000.0
        );
        if let Some(first) = first {
            let shown: String = first.text.lines().next().unwrap_or_default().chars().take(TEXT_SHOWN).collect();
            let _ = writeln!(text, "       {shown}");
        }
        text
    }
}

fn names(judges: &[Judge]) -> String {
    judges.iter().map(|judge| judge.name()).collect::<Vec<_>>().join(" or ")
}
