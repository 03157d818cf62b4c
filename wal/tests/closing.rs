//! The end of a log: what it still waits for when all records are durable.

mod common;

use std::cell::Cell;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;

use common::held::HeldDisk;
use common::memory::{MemoryDisk, spin};
use common::{IDENTITY, alongside, entry, yield_once};
use kahuna_wal::{Log, LogOptions};

/// Whoever opens the log next waits for files that are open for writing. So a closed log ends only when the file that it
/// was making ready is closed, although no record waits for it.
#[test]
fn a_log_ends_only_behind_the_file_that_is_being_made_ready() {
    let disk = HeldDisk::new(&MemoryDisk::default());
    let opened = spin(Log::open(disk.clone(), Path::new("/log"), IDENTITY, LogOptions::small()));
    let (log, _) = opened.expect("the log opens");
    disk.hold_allocations(true);
    let told = Rc::new(Cell::new(false));
    let tell = told.clone();
    log.append(1, [entry(1, "an entry")], move |outcome| tell.set(outcome.is_ok()));
    let ended = Rc::new(Cell::new(false));
    let run = async {
        let outcome = log.run().await;
        ended.set(true);
        outcome.expect("nothing fails");
    };
    spin(alongside(pin!(run), async {
        yield_once().await;
        assert_eq!(disk.allocating(), 1, "the next segment is being made");
        log.close();
        for _ in 0..20 {
            yield_once().await;
        }
        assert!(told.get(), "the record is durable");
        assert!(!ended.get(), "a file is still open");
        disk.hold_allocations(false);
        while !ended.get() {
            yield_once().await;
        }
    }));
    assert_eq!(disk.allocating(), 0);
}
