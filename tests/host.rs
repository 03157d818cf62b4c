//! A host that is not fit: the real binary, as a user without privileges, says what is wrong and what mends it, exits
//! with 78 and never panics.
//!
//! Each test takes one thing away from the child before it starts: io_uring by a seccomp filter, memory by a limit, the
//! directory by its mode. Run as root, the children become `nobody`.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, Rlimit, Signal, getuid, set_parent_process_death_signal, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use tempfile::TempDir;

/// `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;
const HOST_NOT_FIT: i32 = 78;

/// What is taken away from a child.
#[derive(Clone, Default)]
struct Lack {
    /// System calls that answer EPERM.
    calls: Vec<i64>,
    /// Soft and hard limit of locked memory, in bytes.
    memlock: Option<(u64, u64)>,
    /// Soft and hard limit of open files.
    files: Option<(u64, u64)>,
}

/// A place that an unprivileged user can write, with a binary that it can run.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("our own directory");
        let built = Path::new(env!("CARGO_BIN_EXE_kahuna"));
        let binary = dir.path().join("kahuna");
        if fs::hard_link(built, &binary).is_err() {
            fs::copy(built, &binary).expect("the binary can be copied");
        }
        Self { dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `kahuna VERB` on free ports, with its data here.
    fn command(&self, verb: &str, data: &Path, lack: Lack) -> Command {
        let mut command = Command::new(self.dir.path().join("kahuna"));
        command.arg(verb).arg("--data-dir").arg(data).args(["--shards", "1", "--partitions", "1"]);
        command.env("KAHUNA_LISTEN", "127.0.0.1:0").env("KAHUNA_PEER_LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
        let filter = (!lack.calls.is_empty()).then(|| forbid(&lack.calls));
        let unprivileged = move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            let limit = |resource, limits: Option<(u64, u64)>| match limits {
                Some((soft, hard)) => setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) }),
                None => Ok(()),
            };
            limit(Resource::Memlock, lack.memlock)?;
            limit(Resource::Nofile, lack.files)?;
            if getuid().is_root() {
                // SAFETY: plain system calls on numbers; an empty list of groups is read from nowhere.
                let refused =
                    unsafe { libc::setgroups(0, std::ptr::null()) + libc::setgid(NOBODY) + libc::setuid(NOBODY) };
                if refused != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                set_parent_process_death_signal(Some(Signal::KILL))?;
            }
            if let Some(filter) = &filter {
                seccompiler::apply_filter(filter).map_err(|_| std::io::ErrorKind::PermissionDenied)?;
            }
            Ok(())
        };
        // SAFETY: between fork and exec it makes system calls on values prepared before, and allocates nothing.
        unsafe { command.pre_exec(unprivileged) };
        command
    }

    /// What a `serve` that must not start says. It must hold every one of `words`.
    #[track_caller]
    fn refuses(&self, data: &Path, flags: &[&str], lack: Lack, words: &[&str]) {
        let output = self.command("serve", data, lack).args(flags).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(HOST_NOT_FIT), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(said.lines().count(), 1, "one plain message: {said}");
        for word in words {
            assert!(said.contains(word), "{said:?} does not say {word:?}");
        }
    }

    /// A running node; returns when it listens.
    fn serves(&self, data: &Path, lack: Lack) -> Running {
        let mut child = self.command("serve", data, lack).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let listening = out.lines().map_while(Result::ok).any(|line| line.starts_with("listening on"));
        assert!(listening, "the node ended before it listened: {:?}", child.wait());
        Running(child)
    }
}

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("our own child");
        self.0.wait().expect("our own child");
    }
}

fn forbid(calls: &[i64]) -> BpfProgram {
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture with seccomp");
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).expect("a small number"));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    filter.try_into().expect("a program")
}

/// Claim: where nothing is missing, an unprivileged user can run a node, and `check` says so line by line.
#[test]
fn a_fit_host_passes_and_a_node_starts() {
    let place = Place::new();
    let output = place.command("check", &place.data(), Lack::default()).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().count() >= 9 && said.lines().all(|line| line.starts_with("ok")), "{said}");
    assert!(!place.data().exists(), "a check leaves nothing behind");
    drop(place.serves(&place.data(), Lack::default()));
}

/// Claim: each system call of io_uring, when it is blocked, is named with the remedy.
#[test]
fn blocked_io_uring_is_named() {
    let place = Place::new();
    for (call, name) in [
        (libc::SYS_io_uring_setup, "io_uring_setup"),
        (libc::SYS_io_uring_register, "io_uring_register"),
        (libc::SYS_io_uring_enter, "io_uring_enter"),
    ] {
        let lack = Lack { calls: vec![call], ..Lack::default() };
        place.refuses(&place.data(), &[], lack, &["io_uring", name, "seccomp", "--security-opt"]);
    }
    assert!(!place.data().exists(), "a refused start leaves nothing behind");
}

/// Claim: too little lockable memory is named with what is needed; a soft limit alone is raised.
#[test]
fn too_little_lockable_memory_is_named() {
    let place = Place::new();
    let tiny = Lack { memlock: Some((64 << 10, 64 << 10)), ..Lack::default() };
    place.refuses(&place.data(), &[], tiny, &["locked memory is 64 KiB", "need 512 KiB", "--memlock=524288"]);
    let soft = Lack { memlock: Some((64 << 10, 1 << 20)), ..Lack::default() };
    drop(place.serves(&place.data(), soft));
}

/// Claim: too few descriptors are named with what is needed.
#[test]
fn too_few_open_files_are_named() {
    let place = Place::new();
    let few = Lack { files: Some((64, 64)), ..Lack::default() };
    place.refuses(&place.data(), &[], few, &["open files is 64", "LimitNOFILE"]);
}

/// Claim: a directory that cannot be written is named, whether it exists or would have to be made.
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    let closed = place.dir.path().join("closed");
    fs::create_dir(&closed).expect("our own directory");
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("our own directory");
    place.refuses(&closed, &[], Lack::default(), &["cannot be written", "chown", "--data-dir"]);
    place.refuses(&closed.join("below"), &[], Lack::default(), &["cannot be written"]);
    let file = place.dir.path().join("file");
    File::create(&file).expect("our own file");
    place.refuses(&file, &[], Lack::default(), &["is not a directory"]);
}

/// Claim: data in memory is refused unless it is asked for.
#[test]
fn tmpfs_is_refused_unless_asked_for() {
    let place = Place::new();
    let Ok(memory) = TempDir::new_in("/dev/shm") else {
        eprintln!("no tmpfs here to try it on");
        return;
    };
    fs::set_permissions(memory.path(), Permissions::from_mode(0o777)).expect("our own directory");
    place.refuses(&memory.path().join("data"), &[], Lack::default(), &["tmpfs", "--allow-tmpfs"]);
    let mut allowed = place.command("check", memory.path(), Lack::default());
    let output = allowed.arg("--allow-tmpfs").output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Claim: a port that somebody listens on is named, for clients and for peers, also when it is shared by SO_REUSEPORT.
#[test]
fn a_taken_port_is_named() {
    let place = Place::new();
    let plain = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = plain.local_addr().expect("bound").to_string();
    place.refuses(&place.data(), &["--listen", &address], Lack::default(), &[&address, "taken", "ss -ltnp"]);
    place.refuses(&place.data(), &["--peer-listen", &address], Lack::default(), &[&address, "--peer-listen"]);
    let shared = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let shared = shared.expect("a socket");
    rustix::net::sockopt::set_socket_reuseport(&shared, true).expect("an option");
    rustix::net::bind(&shared, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    rustix::net::listen(&shared, 1).expect("bound");
    let listener = TcpListener::from(shared);
    let address = listener.local_addr().expect("bound").to_string();
    place.refuses(&place.data(), &["--listen", &address], Lack::default(), &[&address, "taken"]);
}

/// Claim: a directory with somebody else's files is refused and left alone.
#[test]
fn a_foreign_directory_is_refused() {
    let place = Place::new();
    let data = place.data();
    fs::create_dir(&data).expect("our own directory");
    fs::set_permissions(&data, Permissions::from_mode(0o777)).expect("our own directory");
    fs::write(data.join("thesis.tex"), "years of work").expect("our own file");
    place.refuses(&data, &[], Lack::default(), &["thesis.tex", "--data-dir"]);
    let left: Vec<_> = fs::read_dir(&data).expect("readable").collect();
    assert_eq!(left.len(), 1, "nothing was added: {left:?}");
}

/// Claim: a directory in use is refused while it is, and data of a newer format is refused always.
#[test]
fn data_in_use_and_data_of_a_newer_format_are_refused() {
    let place = Place::new();
    let data = place.data();
    let running = place.serves(&data, Lack::default());
    place.refuses(&data, &[], Lack::default(), &["in use by another process", "fuser"]);
    drop(running);
    drop(place.serves(&data, Lack::default()));
    let manifest = data.join("manifest");
    let mut bytes = fs::read(&manifest).expect("a manifest");
    bytes[8] += 1;
    fs::write(&manifest, bytes).expect("our own file");
    place.refuses(&data, &[], Lack::default(), &["newer", "install the newer version"]);
}

/// Claim: a manifest that is damaged, and whose copy is, is damaged data, not an unfit host; while one of both is whole the
/// node serves, and writes the other again.
#[test]
fn a_damaged_manifest_has_an_exit_code_of_its_own() {
    let place = Place::new();
    drop(place.serves(&place.data(), Lack::default()));
    let damage = |name: &str| {
        let path = place.data().join(name);
        let mut bytes = fs::read(&path).expect("a manifest");
        *bytes.last_mut().expect("not empty") ^= 1;
        fs::write(&path, bytes).expect("our own file");
    };
    for name in ["manifest", "manifest.copy"] {
        damage(name);
        drop(place.serves(&place.data(), Lack::default()));
    }
    for name in ["manifest", "manifest.copy"] {
        damage(name);
    }
    let output = place.command("serve", &place.data(), Lack::default()).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("damaged"), "{said}");
}
