//! Opening: read, judge, then make the judgement durable.
//!
//! Nothing on disk changes before the log is judged whole. Then, in this order: what was read is synced, files behind the
//! end lose their names, and a header-only batch of the new run claims all of it. A crash in between repeats the same.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::file_names::{generation_of, is_spare, is_unfinished, segment_of, segment_path};
use super::judge::{Judged, SegmentReader};
use super::pool::Pool;
use super::queue::Queue;
use super::release::Release;
use super::state::{Shared, State};
use crate::format::segment::SegmentHeader;
use crate::format::{FORMAT_VERSION, Position};
use crate::recovery::{NO_BATCH, Recovered, RecoveryReport, Survey, Whole};
use crate::{Disk, DiskFile, FileEntry, LogError, LogIdentity, LogOpenError, LogOptions, OpenMode};

/// The files of a log's directory, by the kind that their names show.
#[derive(Default)]
struct Files {
    /// Sequence numbers, rising.
    segments: Vec<u64>,
    spares: Vec<PathBuf>,
    /// Never finished, or spares of another length.
    useless: Vec<PathBuf>,
    /// Names of files that are not the log's.
    strays: Vec<String>,
    /// Bytes of the segments and the spares.
    bytes: u64,
}

pub async fn open<D: Disk>(
    disk: D,
    dir: &Path,
    identity: LogIdentity,
    options: LogOptions,
) -> Result<(Rc<Shared<D>>, Recovered), LogOpenError> {
    options.assert_valid();
    let found = disk.exists(dir).await.map_err(LogOpenError::io("look for", dir))?;
    let files = if found { list(&disk, dir, &options).await? } else { Files::default() };
    if files.segments.is_empty() && !options.create {
        return Err(LogOpenError::Missing { dir: dir.to_owned() });
    }
    let reader = SegmentReader { disk: &disk, dir, identity, usual_bytes: options.segment_bytes };
    let judged = reader.judge_segments(&files.segments).await?;
    if !found {
        disk.create_dir_all(dir).await.map_err(LogOpenError::io("create", dir))?;
    }
    let Judged { claims, whole: Whole { groups, index, end }, run, .. } = judged;
    let fresh = end.batches == 0;
    if fresh && !options.create {
        // The opening that made it did not return before a batch was durable.
        let Position { segment, offset } = end.position;
        return Err(LogOpenError::Corrupt { file: segment_path(dir, segment), offset, why: NO_BATCH.to_owned() });
    }
    if run == u64::MAX {
        let (file, why) = (segment_path(dir, end.position.segment), "its run has no next one".to_owned());
        return Err(LogOpenError::Corrupt { file, offset: 0, why });
    }
    let report = RecoveryReport {
        fresh,
        run: run + 1,
        segments: if fresh { 0 } else { end.segments },
        batches: end.batches,
        records: end.records,
        end: end.position,
        torn: end.torn,
        strays: files.strays.clone(),
    };
    let tail_bytes = judged.tail.map_or(options.segment_bytes, |header| header.segment_bytes);
    let queue = Queue::new(end.position, end.next_sequence, tail_bytes, options.segment_bytes, options.max_batch_bytes);
    let release = Release::new(claims.oldest_segment);
    let mut pool = Pool::new(&options);
    pool.allocated_bytes = files.bytes;
    let state = State::new(queue, index, end.position, end.next_sequence - 1, release, pool);
    let shared = Shared::new(disk, dir, identity, options, run + 1, state);
    shared.state().moves_from = judged.tail.map_or(0, |header| header.first_with_moved());
    shared.settle(&files, &claims, end.position, judged.tail, judged.next).await?;
    shared.begin_run().await?;
    Ok((shared, Recovered { groups, report }))
}

async fn list<D: Disk>(disk: &D, dir: &Path, options: &LogOptions) -> Result<Files, LogOpenError> {
    let mut files = Files::default();
    for FileEntry { name, len } in disk.list(dir).await.map_err(LogOpenError::io("list", dir))? {
        if let Some(segment) = segment_of(&name) {
            files.segments.push(segment);
            files.bytes += len;
        } else if is_spare(&name) && len == options.segment_bytes {
            files.spares.push(dir.join(name));
            files.bytes += len;
        } else if is_spare(&name) || is_unfinished(&name) {
            files.useless.push(dir.join(name));
        } else {
            files.strays.push(name);
        }
    }
    files.segments.sort_unstable();
    Ok(files)
}

impl<D: Disk> Shared<D> {
    /// Makes what was read durable, and takes away what must not be read again.
    async fn settle(
        &self,
        files: &Files,
        claims: &Survey,
        end: Position,
        tail: Option<SegmentHeader>,
        next: Option<SegmentHeader>,
    ) -> Result<(), LogOpenError> {
        // Batches above the highest claim were read, but perhaps never flushed.
        for &segment in &files.segments {
            if (claims.durable.segment.max(claims.oldest_segment)..=end.segment).contains(&segment) {
                let path = self.segment_path(segment);
                let file =
                    self.disk.open(&path, OpenMode::WriteDirect).await.map_err(LogOpenError::io("open", &path))?;
                file.sync().await.map_err(LogOpenError::io("sync", &path))?;
                if let Some(header) = tail.filter(|header| header.sequence == segment) {
                    self.state().add_prepared(&header, file);
                }
            }
        }
        // An opening that ended before it recorded its run has used names of that run, which is this one's again.
        let used = files.spares.iter().filter_map(|path| generation_of(path, self.run)).max();
        self.state().next_generation = used.map_or(1, |used| used + 1);
        let next = next.filter(|header| {
            header.version == FORMAT_VERSION && header.segment_bytes == self.options.segment_bytes && tail.is_some()
        });
        let old = files.segments.iter().filter(|&&segment| segment < claims.oldest_segment);
        for &segment in old {
            self.free_segment(segment).await.map_err(from_log_error)?;
        }
        let last_kept = next.map_or(end.segment, |header| header.sequence);
        let behind = files.segments.iter().rev().take_while(|&&segment| segment > last_kept);
        for &segment in behind {
            self.free_segment(segment).await.map_err(from_log_error)?;
            // The next opening must not find a later one without an earlier one.
            self.disk.sync_dir(&self.dir).await.map_err(LogOpenError::io("sync directory", &self.dir))?;
        }
        if let Some(header) = next {
            let path = self.segment_path(header.sequence);
            let file = self.disk.open(&path, OpenMode::WriteDirect).await.map_err(LogOpenError::io("open", &path))?;
            self.state().add_prepared(&header, file);
        }
        for path in &files.useless {
            self.remove_if_there(path).await.map_err(LogOpenError::io("remove", path))?;
        }
        for path in &files.spares {
            self.state().add_spare(path.clone());
        }
        self.remove_excess_spares().await?;
        self.disk.sync_dir(&self.dir).await.map_err(LogOpenError::io("sync directory", &self.dir))
    }

    async fn remove_excess_spares(&self) -> Result<(), LogOpenError> {
        loop {
            let Some(path) = self.state().pool.take_excess() else { return Ok(()) };
            self.remove_if_there(&path).await.map_err(LogOpenError::io("remove", &path))?;
            self.state().pool.allocated_bytes -= self.options.segment_bytes;
        }
    }

    /// Removes an unneeded file; it may be gone already.
    async fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Records the new run: the first batch of it, without records, durable before anything else is taken.
    async fn begin_run(&self) -> Result<(), LogOpenError> {
        let segment = {
            let mut state = self.state();
            let batch = state.queue.open_batch();
            batch.urgent = true;
            batch.position.segment
        };
        while self.state().prepared_upto < segment {
            let missing = self.state().prepared_upto.max(segment - 1) + 1;
            if !self.prepare(missing).await.map_err(from_log_error)? {
                let path = self.segment_path(missing);
                return Err(LogOpenError::io("allocate", &path)(io::ErrorKind::StorageFull.into()));
            }
        }
        self.flush().await.map_err(from_log_error)
    }
}

fn from_log_error(error: LogError) -> LogOpenError {
    match error {
        LogError::Failed { operation, path, source } => {
            let source = io::Error::new(source.kind(), source);
            LogOpenError::Io { operation, path, source }
        }
        LogError::Closed | LogError::TooLarge { .. } => unreachable!("the log is open, and the batch is one block"),
    }
}
