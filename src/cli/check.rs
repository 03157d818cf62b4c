//! `check`: everything `serve` asks of the host, line by line.

use kahuna::host::{self, Needs};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{Format, Record, print, print_bytes};
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
        let lines = findings.iter().map(|finding| match &finding.result {
            Ok(found) => format!("ok    {:<15} {found}\n", finding.what),
            Err(trouble) => format!("FAIL  {:<15} {}; {}\n", finding.what, trouble.cause, trouble.remedy),
        });
        print_bytes(lines.collect::<String>().as_bytes())?;
    }
    Ok(exit)
}
