//! How a demo ends.

use crate::cli::Exit;

/// How a demo ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked for, or with the script's code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

impl End {
    /// Ends the process, unless all went well. The code is the script's, or that of a signal: it has no name in [`Exit`].
    pub fn exit(self) -> Exit {
        match self {
            Self::Code(0) => Exit::Ok,
            Self::Code(code) => std::process::exit(i32::from(code)),
            Self::Signal(signal) => std::process::exit(128 + signal),
        }
    }
}
