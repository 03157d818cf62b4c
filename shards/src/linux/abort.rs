//! The end of the process, at once.

use crate::env::{ExitCode, flush_said, say_in_background};

/// Prints `message` and ends the process.
pub(super) fn abort(code: ExitCode, message: &str) -> ! {
    say_in_background();
    crate::say!("kahuna: {message}");
    flush_said();
    exit_now(code)
}

/// Ends the process without running a destructor or an exit handler: those would run the code of half-finished tasks.
pub(super) fn exit_now(code: ExitCode) -> ! {
    // SAFETY: `_exit` takes any number, touches no memory of ours and does not return.
    unsafe { libc::_exit(code as i32) }
}
