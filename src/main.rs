//! The `kahuna` binary.

mod cli;
mod demo;

use std::panic;

use kahuna_shards::env::ExitCode;
use kahuna_shards::linux::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> std::process::ExitCode {
    end_process_on_panic();
    cli::run()
}

/// Makes a panic on any thread the end of the process, after the usual message: half a process is worse than none.
fn end_process_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        // SAFETY: `_exit` takes any number, touches no memory of ours and does not return.
        unsafe { libc::_exit(ExitCode::Bug as i32) }
    }));
}
