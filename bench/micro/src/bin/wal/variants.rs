//! The raw loop in all its variants, each beside the plain form.

use std::io;
use std::path::Path;
use std::time::Duration;

use kahuna_microbench::{Cell, Table, median};

use super::raw::{self, Durable, Options, Registered, Sample, TaskRun};

const SIZES: [usize; 3] = [4 << 10, 40 << 10, 80 << 10];
const DEPTHS: [usize; 3] = [1, 2, 4];

/// Rounds of every variant in turn, the plain form among them.
pub fn measure(dir: &Path, rounds: u32, round: Duration) -> io::Result<Table> {
    // What a buffered write leaves in the page cache changes the direct writes of the same blocks.
    let (direct, buffered) = (dir.join("direct"), dir.join("buffered"));
    raw::prepare(&direct)?;
    raw::prepare(&buffered)?;
    let variants: Vec<(&str, Options)> = SIZES.into_iter().flat_map(of_size).collect();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); variants.len()];
    for number in 0..=rounds {
        for ((_, options), samples) in variants.iter().zip(&mut samples) {
            let path = if options.durable == Durable::BufferedSync { &buffered } else { &direct };
            let sample = raw::run(path, options, round)?;
            if number > 0 {
                samples.push(sample);
            }
        }
    }
    let mut table = Table::new(["variant", "KiB", "depth", "writes_per_s", "p50_us", "p99_us", "cpu_us"]);
    for ((name, options), samples) in variants.iter().zip(&samples) {
        let of = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        table.push([
            Cell::Text((*name).into()),
            Cell::Number((options.write_bytes >> 10) as f64, 0),
            Cell::Number(options.depth as f64, 0),
            Cell::Number(of(|sample| sample.per_second), 0),
            Cell::Number(of(|sample| sample.p50_us), 1),
            Cell::Number(of(|sample| sample.p99_us), 1),
            Cell::Number(of(|sample| sample.cpu_us), 1),
        ]);
    }
    Ok(table)
}

fn of_size(write_bytes: usize) -> Vec<(&'static str, Options)> {
    let plain = Options::plain(write_bytes, 1);
    let mut variants: Vec<_> =
        DEPTHS.map(|depth| ("direct, RWF_DSYNC", Options::plain(write_bytes, depth))).into_iter().collect();
    variants.extend([
        ("direct, O_DSYNC", Options { durable: Durable::ODsync, ..plain }),
        ("direct, linked fdatasync", Options { durable: Durable::LinkedSync, ..plain }),
        ("buffered, linked fdatasync", Options { durable: Durable::BufferedSync, ..plain }),
        ("registered file", Options { registered: Registered::File, ..plain }),
        ("registered buffers", Options { registered: Registered::Buffers, ..plain }),
        ("registered buffers and file", Options { registered: Registered::Both, ..plain }),
        ("huge pages", Options { huge_pages: true, ..plain }),
        ("huge pages, registered file", Options { huge_pages: true, registered: Registered::File, ..plain }),
        (
            "huge pages, registered buffers and file",
            Options { huge_pages: true, registered: Registered::Both, ..plain },
        ),
        ("COOP_TASKRUN", Options { task_run: TaskRun::Cooperative, ..plain }),
        ("DEFER_TASKRUN", Options { task_run: TaskRun::Deferred, ..plain }),
        (
            "all of registered, DEFER_TASKRUN",
            Options { registered: Registered::Both, task_run: TaskRun::Deferred, ..plain },
        ),
    ]);
    variants
}
