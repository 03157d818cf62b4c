//! Limits of the process: memory it may lock, files it may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::finding::{Finding, Trouble};

/// Below this a shard's executor refuses to start; with this much for each, its buffers are registered as well.
const MEMLOCK_BYTES_PER_SHARD: u64 = 512 << 10;

/// Memory that io_uring may register.
pub(super) fn memlock(shards: u16) -> Finding {
    let needed = MEMLOCK_BYTES_PER_SHARD * u64::from(shards.max(1));
    let result = match raise(Resource::Memlock) {
        None => Ok("unlimited".to_owned()),
        Some(limit) if limit >= needed => Ok(format!("{} KiB, {} needed", limit >> 10, needed >> 10)),
        Some(limit) => Err(Trouble::new(
            format!("the limit of locked memory is {} KiB, and {shards} shards need {} KiB", limit >> 10, needed >> 10),
            format!(
                "run `sudo prlimit --pid $$ --memlock={needed}:{needed}` in this shell, set LimitMEMLOCK={needed} in a \
                 systemd unit, or give fewer --shards"
            ),
        )),
    };
    Finding::new("locked memory", result)
}

/// Descriptors.
pub(super) fn open_files(shards: u16, needed: u64) -> Finding {
    let result = match raise(Resource::Nofile) {
        None => Ok("unlimited".to_owned()),
        Some(limit) if limit >= needed => Ok(format!("{limit}, {needed} needed")),
        Some(limit) => Err(Trouble::new(
            format!("the limit of open files is {limit}, and {shards} shards need {needed}"),
            format!(
                "run `sudo prlimit --pid $$ --nofile={needed}:{needed}` in this shell, or set LimitNOFILE={needed} in a \
                 systemd unit"
            ),
        )),
    };
    Finding::new("open files", result)
}

/// Raises the soft limit to the hard one; returns what holds then, `None` for no limit.
fn raise(resource: Resource) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let raised = setrlimit(resource, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }
}
