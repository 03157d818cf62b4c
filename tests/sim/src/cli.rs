//! The command line of this crate's programs.

use std::process::ExitCode;

use clap::Parser;

/// The command line is wrong (`EX_USAGE`); clap's own code would read as "unknown".
const EXIT_USAGE: u8 = 64;

/// What the command line says.
///
/// # Errors
/// The code to exit with, when it is wrong or asked for help: then that is printed.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
        // Nothing is left to say when even this cannot be printed.
        let _ = error.print();
        ExitCode::from(code)
    })
}
