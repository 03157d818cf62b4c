//! The `kahuna` binary.

mod cli;
mod demo;

use std::panic;

use kahuna_shards::env::{ExitCode, flush_said, say_panic};
use kahuna_shards::linux::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> std::process::ExitCode {
    end_process_on_panic();
    let code = cli::run();
    flush_said();
    code
}

/// Makes a panic on any thread the end of the process, after a message: half a process is worse than none.
fn end_process_on_panic() {
    panic::set_hook(Box::new(move |info| {
        say_panic(info);
        // SAFETY: `_exit` takes any number, touches no memory of ours and does not return.
        unsafe { libc::_exit(ExitCode::Bug as i32) }
    }));
}
