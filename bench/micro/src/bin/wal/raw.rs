//! The limit: a loop of aligned writes to a preallocated, zero-filled file, on the io-uring crate alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};
use kahuna_microbench::{ThreadClock, percentile};
use kahuna_wal::{AlignedBuf, BLOCK_BYTES};

/// Length of the file that the loop goes round in.
pub const FILE_BYTES: u64 = 32 << 20;

/// Memory of so many bytes lies in a huge page, where the system has them.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Marks the completion of a write that a flush is linked to.
const LINKED: u64 = 1 << 32;

/// What makes a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// O_DIRECT, and `RWF_DSYNC` with each write: what the log does.
    RwfDsync,
    /// O_DIRECT and O_DSYNC.
    ODsync,
    /// O_DIRECT, and an fdatasync linked to each write.
    LinkedSync,
    /// Through the page cache, and an fdatasync linked to each write.
    BufferedSync,
}

/// How the kernel runs the work that completes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskRun {
    /// A ring without flags.
    Plain,
    /// IORING_SETUP_COOP_TASKRUN and SINGLE_ISSUER.
    Cooperative,
    /// IORING_SETUP_DEFER_TASKRUN and SINGLE_ISSUER.
    Deferred,
}

/// What the ring knows before the first write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    Nothing,
    File,
    Buffers,
    Both,
}

/// One way to write.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a write, a multiple of the block size.
    pub write_bytes: usize,
    /// Writes in flight.
    pub depth: usize,
    pub durable: Durable,
    pub registered: Registered,
    /// Whether each buffer lies in a huge page, if the system gives one.
    pub huge_pages: bool,
    pub task_run: TaskRun,
}

impl Options {
    /// The plain form that others are held against.
    pub fn plain(write_bytes: usize, depth: usize) -> Self {
        Self {
            write_bytes,
            depth,
            durable: Durable::RwfDsync,
            registered: Registered::Nothing,
            huge_pages: false,
            task_run: TaskRun::Plain,
        }
    }
}

impl Options {
    fn registers_file(&self) -> bool {
        matches!(self.registered, Registered::File | Registered::Both)
    }

    fn registers_buffers(&self) -> bool {
        matches!(self.registered, Registered::Buffers | Registered::Both)
    }

    fn buffer(&self) -> AlignedBuf {
        let mut buf = AlignedBuf::with_capacity(if self.huge_pages { HUGE_PAGE_BYTES } else { self.write_bytes });
        buf.resize_zeroed(self.write_bytes);
        buf
    }
}

/// What one round took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of one write, in microseconds.
    pub cpu_us: f64,
}

impl Sample {
    /// Sums up a round whose operations took `nanos`.
    pub fn new(nanos: &mut [u64], elapsed: Duration, cpu: Duration) -> Self {
        let micros = |share, nanos: &mut [u64]| percentile(nanos, share) as f64 / 1000.0;
        let count = nanos.len().max(1) as f64;
        Self {
            per_second: nanos.len() as f64 / elapsed.as_secs_f64(),
            p50_us: micros(0.5, nanos),
            p99_us: micros(0.99, nanos),
            cpu_us: cpu.as_secs_f64() * 1e6 / count,
        }
    }
}

/// Makes the file that [`run`] writes to: allocated, filled with zeros and flushed, so that no write changes metadata.
pub fn prepare(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

/// Keeps `options.depth` writes in flight for as long as `round`.
pub fn run(path: &Path, options: &Options, round: Duration) -> io::Result<Sample> {
    let mut writer = Writer::new(path, options)?;
    let clock = ThreadClock::start();
    let began = Instant::now();
    let mut nanos = Vec::with_capacity(1 << 16);
    let mut since = vec![began; options.depth];
    for (slot, since) in since.iter_mut().enumerate() {
        *since = Instant::now();
        writer.submit(slot)?;
    }
    let mut in_flight = options.depth;
    let mut elapsed = Duration::ZERO;
    while in_flight > 0 {
        writer.ring.submit_and_wait(1)?;
        while let Some(slot) = writer.completed()? {
            let now = Instant::now();
            if elapsed.is_zero() {
                nanos.push((now - since[slot]).as_nanos() as u64);
                if now - began < round {
                    since[slot] = now;
                    writer.submit(slot)?;
                    continue;
                }
                elapsed = now - began;
            }
            in_flight -= 1;
        }
    }
    Ok(Sample::new(&mut nanos, elapsed, clock.elapsed()))
}

struct Writer {
    // Dropped first: a ring that closes waits for nothing, so `run` leaves only when nothing is in flight.
    ring: IoUring,
    options: Options,
    file: File,
    bufs: Vec<AlignedBuf>,
    offset: u64,
}

impl Writer {
    fn new(path: &Path, options: &Options) -> io::Result<Self> {
        assert!(options.write_bytes.is_multiple_of(BLOCK_BYTES), "direct writes are whole blocks");
        let flags = match options.durable {
            Durable::RwfDsync | Durable::LinkedSync => libc::O_DIRECT,
            Durable::ODsync => libc::O_DIRECT | libc::O_DSYNC,
            Durable::BufferedSync => 0,
        };
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        let mut builder = IoUring::builder();
        match options.task_run {
            TaskRun::Plain => {}
            TaskRun::Cooperative => {
                builder.setup_single_issuer().setup_coop_taskrun();
            }
            TaskRun::Deferred => {
                builder.setup_single_issuer().setup_defer_taskrun();
            }
        }
        let ring = builder.build(32)?;
        let mut bufs: Vec<AlignedBuf> = (0..options.depth).map(|_| options.buffer()).collect();
        if options.registers_buffers() {
            let regions: Vec<libc::iovec> = bufs
                .iter_mut()
                .map(|buf| libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() })
                .collect();
            // SAFETY: the buffers live in the writer beside the ring and are neither moved in memory nor freed before it.
            unsafe { ring.submitter().register_buffers(&regions)? };
        }
        if options.registers_file() {
            ring.submitter().register_files(&[file.as_raw_fd()])?;
        }
        Ok(Self { ring, options: *options, file, bufs, offset: 0 })
    }

    fn submit(&mut self, slot: usize) -> io::Result<()> {
        let Options { write_bytes, durable, .. } = self.options;
        let offset = self.offset;
        self.offset =
            (offset + write_bytes as u64) % (FILE_BYTES - write_bytes as u64) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let memory = self.bufs[slot].as_ptr();
        let len = write_bytes as u32;
        let rw_flags = if durable == Durable::RwfDsync { libc::RWF_DSYNC } else { 0 };
        let fd = types::Fd(self.file.as_raw_fd());
        let file = types::Fixed(0);
        let write = match self.options.registered {
            Registered::Nothing => opcode::Write::new(fd, memory, len).offset(offset).rw_flags(rw_flags).build(),
            Registered::File => opcode::Write::new(file, memory, len).offset(offset).rw_flags(rw_flags).build(),
            Registered::Buffers => {
                opcode::WriteFixed::new(fd, memory, len, slot as u16).offset(offset).rw_flags(rw_flags).build()
            }
            Registered::Both => {
                opcode::WriteFixed::new(file, memory, len, slot as u16).offset(offset).rw_flags(rw_flags).build()
            }
        };
        match durable {
            Durable::RwfDsync | Durable::ODsync => self.push(&write.user_data(slot as u64)),
            Durable::LinkedSync | Durable::BufferedSync => {
                self.push(&write.flags(squeue::Flags::IO_LINK).user_data(slot as u64 | LINKED))?;
                let data_only = types::FsyncFlags::DATASYNC;
                let sync = if self.options.registers_file() {
                    opcode::Fsync::new(file).flags(data_only).build()
                } else {
                    opcode::Fsync::new(fd).flags(data_only).build()
                };
                self.push(&sync.user_data(slot as u64))
            }
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the entry names a buffer of this writer, which outlives the operation: see `ring`.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }

    /// The slot of the next write that is durable, if one is.
    fn completed(&mut self) -> io::Result<Option<usize>> {
        while let Some(completion) = self.ring.completion().next() {
            let result = completion.result();
            if result < 0 {
                return Err(io::Error::from_raw_os_error(-result));
            }
            let linked = completion.user_data() & LINKED != 0;
            let is_write = linked || matches!(self.options.durable, Durable::RwfDsync | Durable::ODsync);
            if is_write && result as usize != self.options.write_bytes {
                return Err(io::ErrorKind::WriteZero.into());
            }
            if !linked {
                return Ok(Some(completion.user_data() as usize));
            }
        }
        Ok(None)
    }
}
