//! What runs left behind that were killed themselves.

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use super::{hosts::PREFIX, tools};

/// The process that something with this name belongs to.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_dead(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

/// Ends the nodes of dead runs, and removes their namespaces and mounts.
pub(super) fn remove() {
    let listed = tools::run("ip", &["netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| owner(name).is_some_and(is_dead)) {
        let inside = tools::run("ip", &["netns", "pids", name]).unwrap_or_default();
        let pids = inside.lines().filter_map(|line| line.trim().parse().ok()).filter_map(Pid::from_raw);
        for pid in pids {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        report(name, tools::run("ip", &["netns", "delete", name]).err());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for at in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let name = Path::new(at).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if owner(name).is_some_and(is_dead) {
            report(at, tools::run("umount", &["--lazy", at]).err());
            // Not empty when it is mounted still.
            let _ = fs::remove_dir(at);
        }
    }
}

fn report(what: &str, failure: Option<super::ChaosError>) {
    match failure {
        None => eprintln!("chaos: removed {what}, which a dead run left behind"),
        Some(error) => eprintln!("chaos: {what} of a dead run stays: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are() {
        assert_eq!(owner("kahuna-chaos-17-n1"), Some(17));
        assert_eq!(owner("kahuna-chaos-17"), Some(17));
        assert_eq!(owner("kahuna-chaos--n1"), None);
        assert_eq!(owner("other-17-n1"), None);
        assert!(!is_dead(std::process::id()));
    }
}
