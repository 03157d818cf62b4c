//! The sets of logs in a data directory, and which of them are left over.

use std::fs;
use std::io;
use std::path::Path;

use crate::node::manifest::Manifest;

/// Prints what the start, or a recovery, waits for.
pub fn say_held(file: &Path) {
    let file = file.display();
    crate::say!(
        "waiting for whoever holds {file}: writes of a process that was killed, or a program that locked it (`fuser {file}`)"
    );
}

/// Removes the rest of an interrupted founding or move: every set of logs but the valid one, and all sets of a pending
/// node. Lost logs stay for the operator, and so do files of other names, such as a copy that was put aside.
///
/// # Errors
/// When a directory cannot be read or removed.
pub fn remove_other_log_sets(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let valid = manifest.founding.as_ref().map(|_| Manifest::log_set_dir(dir, manifest.log_set));
    let lost = manifest.lost_log_dirs(dir);
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_log_set(&path) || Some(&path) == valid.as_ref() {
            continue;
        }
        if lost.iter().all(|log| !log.starts_with(&path)) {
            fs::remove_dir_all(&path)?;
            continue;
        }
        for log in fs::read_dir(&path)? {
            let log = log?.path();
            if !lost.contains(&log) {
                fs::remove_dir_all(&log)?;
            }
        }
    }
    Ok(())
}

/// Whether it has the name that this program gives to a set of logs.
fn is_log_set(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.strip_prefix("logs-")).and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| Some(Manifest::log_set_dir(Path::new(""), number).as_path()) == name.map(Path::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_name_of_a_log_set_counts_as_one() {
        for (name, is_set) in
            [("logs-0", true), ("logs-12", true), ("logs-0-damaged", false), ("logs-old", false), ("logs-007", false)]
        {
            assert_eq!(is_log_set(&Path::new("/data").join(name)), is_set, "{name}");
        }
    }
}
