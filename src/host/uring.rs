//! Whether io_uring is there, allowed, and can do what the node needs.

use std::io;

use io_uring::{IoUring, Probe, opcode};

use super::finding::{Finding, Trouble};

/// Nonzero when the administrator switched io_uring off.
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// What the executor and the shard's own ring submit. The newest of them came with Linux 5.6.
const OPERATIONS: &[(u8, &str)] = &[
    (opcode::Nop::CODE, "nop"),
    (opcode::Readv::CODE, "readv"),
    (opcode::Writev::CODE, "writev"),
    (opcode::Fsync::CODE, "fsync"),
    (opcode::ReadFixed::CODE, "read_fixed"),
    (opcode::WriteFixed::CODE, "write_fixed"),
    (opcode::PollAdd::CODE, "poll_add"),
    (opcode::PollRemove::CODE, "poll_remove"),
    (opcode::SendMsg::CODE, "sendmsg"),
    (opcode::RecvMsg::CODE, "recvmsg"),
    (opcode::Timeout::CODE, "timeout"),
    (opcode::TimeoutRemove::CODE, "timeout_remove"),
    (opcode::Accept::CODE, "accept"),
    (opcode::AsyncCancel::CODE, "async_cancel"),
    (opcode::LinkTimeout::CODE, "link_timeout"),
    (opcode::Connect::CODE, "connect"),
    (opcode::Fallocate::CODE, "fallocate"),
    (opcode::OpenAt::CODE, "openat"),
    (opcode::Close::CODE, "close"),
    (opcode::Statx::CODE, "statx"),
    (opcode::Read::CODE, "read"),
    (opcode::Write::CODE, "write"),
    (opcode::Send::CODE, "send"),
    (opcode::Recv::CODE, "recv"),
];

/// Makes a small ring, asks what it can do, and lets it do nothing once. A ring that does not fit into the memory that
/// may be locked is no finding if that was found too little already.
pub(super) fn check(memory_fits: bool) -> Option<Finding> {
    let result = match IoUring::new(8) {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && !memory_fits => return None,
        Err(error) => Err(refused("io_uring_setup", &error)),
        Ok(ring) => probe(ring),
    };
    Some(Finding::new("io_uring", result))
}

fn probe(mut ring: IoUring) -> Result<String, Trouble> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(|error| refused("io_uring_register", &error))?;
    let missing: Vec<&str> =
        OPERATIONS.iter().filter(|(code, _)| !probe.is_supported(*code)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let cause = format!("this kernel's io_uring cannot {}", missing.join(", "));
        return Err(Trouble::new(cause, "install Linux 5.13 or newer"));
    }
    // A shard waits with a time limit (5.11), and watches sockets for more than one event (5.13). Only the former has a flag
    // of its own; tagged resources came with the latter.
    if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_resource_tagging() {
        let cause = "this kernel's io_uring cannot watch a socket for more than one event, or wait with a time limit";
        return Err(Trouble::new(cause, "install Linux 5.13 or newer"));
    }
    // SAFETY: a nop refers to no memory and no descriptor.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.expect("a fresh ring of eight takes one entry");
    ring.submit_and_wait(1).map_err(|error| refused("io_uring_enter", &error))?;
    Ok(format!("allowed, {} operations there", OPERATIONS.len()))
}

/// The likely source of the refusal.
fn refused(call: &str, error: &io::Error) -> Trouble {
    let switched_off = std::fs::read_to_string(SYSCTL).is_ok_and(|text| text.trim() != "0");
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) if switched_off => Trouble::new(
            format!("io_uring is switched off on this host ({call}: {error})"),
            "run `sudo sysctl kernel.io_uring_disabled=0`",
        ),
        Some(libc::EPERM | libc::EACCES) => Trouble::new(
            format!("io_uring is not allowed here, most likely by a container's seccomp filter ({call}: {error})"),
            "allow io_uring_setup, io_uring_enter and io_uring_register in its profile, or run it with \
             `--security-opt seccomp=unconfined`",
        ),
        Some(libc::ENOSYS) => Trouble::new(
            format!("io_uring is not there: an old kernel, or a seccomp filter that hides it ({call}: {error})"),
            "install Linux 5.13 or newer, or run the container with `--security-opt seccomp=unconfined`",
        ),
        Some(libc::ENOMEM) => Trouble::new(
            format!("no memory for io_uring ({call}: {error})"),
            "raise the limit of locked memory: `sudo prlimit --pid $$ --memlock=8388608:8388608`",
        ),
        Some(libc::EMFILE | libc::ENFILE) => Trouble::new(
            format!("no descriptor left for io_uring ({call}: {error})"),
            "raise the limit of open files: `ulimit -n 4096`",
        ),
        _ => Trouble::new(format!("io_uring cannot be used ({call}: {error})"), "see `dmesg` for what the kernel says"),
    }
}
