//! `check`: everything `serve` asks of the host, line by line.

use std::io::Write;

use kahuna::host::{self, Needs};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{Format, Record, print};
use super::serve::exit_of;
use super::serve_args::NodeArgs;

/// Runs every check and prints what each found.
pub fn run(args: NodeArgs, format: Format) -> Result<Exit, Failure> {
    let allow_tmpfs = args.allow_tmpfs.unwrap_or(false);
    let config = args.config()?;
    let findings = host::check(&Needs::of(&config, allow_tmpfs));
    let exit = exit_of(&findings);
    if format.is_json() {
        let lines = findings.iter().map(|finding| match &finding.result {
            Ok(found) => json!({ "check": finding.what, "ok": true, "found": found }),
            Err(trouble) => {
                json!({ "check": finding.what, "ok": false, "cause": trouble.cause, "remedy": trouble.remedy })
            }
        });
        let outcome = if exit == Exit::Ok { "fit" } else { "not_fit" };
        print(&Record::new(outcome).field("checks", lines.collect::<Vec<_>>()), format)?;
    } else {
        let mut out = std::io::stdout().lock();
        for finding in &findings {
            match &finding.result {
                Ok(found) => writeln!(out, "ok    {:<15} {found}", finding.what)?,
                Err(trouble) => writeln!(out, "FAIL  {:<15} {}; {}", finding.what, trouble.cause, trouble.remedy)?,
            }
        }
    }
    Ok(exit)
}
