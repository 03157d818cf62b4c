//! Reading a log's files for the pure judge, each while the one before it is replayed.

use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use super::file_names::segment_path;
use crate::format::segment::{SegmentHeader, bytes_to_read};
use crate::format::{BLOCK_BYTES, FORMAT_VERSION};
use crate::recovery::{Refusal, Scan, Survey, Whole, check_header, claims_or_empty, survey};
use crate::{AlignedBuf, Disk, DiskFile, LogIdentity, LogOpenError, OpenMode};

/// A log that was judged whole.
pub struct Judged {
    pub claims: Survey,
    pub whole: Whole,
    /// The highest run found in any header.
    pub run: u64,
    /// The header of the segment where the log ends, when it has one.
    pub tail: Option<SegmentHeader>,
    /// The segment behind the end was prepared and never written.
    pub next: Option<SegmentHeader>,
}

/// Reads segments for the pure judge.
pub struct SegmentReader<'a, D: Disk> {
    pub disk: &'a D,
    pub dir: &'a Path,
    pub identity: LogIdentity,
    /// The length of a segment as it is made now. One of another length is looked at before it is read.
    pub usual_bytes: u64,
}

impl<D: Disk> SegmentReader<'_, D> {
    /// Judges the log that the `segments`, rising, hold.
    pub async fn judge_segments(&self, segments: &[u64]) -> Result<Judged, LogOpenError> {
        let mut run = 0;
        let mut claims = None;
        let mut last_read = None;
        let mut unwritten = Vec::new();
        for &segment in segments.iter().rev() {
            let (header, bytes) = self.read(segment).await?;
            run = run.max(header.run);
            claims = survey(&header, &bytes);
            if claims.is_some() {
                last_read = Some((header, bytes));
                break;
            }
            unwritten.push(header);
        }
        let claims = claims_or_empty(claims, segments).map_err(|refusal| self.refused(refusal))?;
        let is_needed = |segment: &u64| {
            *segment >= claims.oldest_segment && unwritten.iter().all(|header| header.sequence != *segment)
        };
        let needed: Vec<u64> = segments.iter().copied().filter(is_needed).collect();
        // Two segments are held at once: one that is replayed, and the next, which is read meanwhile.
        let mut last_read = last_read.filter(|_| needed.len() <= 2);
        let mut ahead: Option<Begun<_>> = None;
        let mut scan = Scan::new(claims, segments);
        let mut headers = Vec::new();
        for (at, &segment) in needed.iter().enumerate() {
            let (header, bytes) = match (ahead.take(), last_read.take_if(|(header, _)| header.sequence == segment)) {
                (_, Some(read)) => read,
                (Some(reading), None) => reading.end().await?,
                (None, None) => self.read(segment).await?,
            };
            if let Some(&next) = needed.get(at + 1)
                && last_read.is_none()
            {
                ahead = Some(Begun::begin(self.read(next)).await);
            }
            run = run.max(header.run);
            headers.push(header);
            scan.segment(&header, &bytes).map_err(|refusal| self.refused(refusal))?;
        }
        let whole = scan.finish().map_err(|refusal| self.refused(refusal))?;
        let end = whole.end.position;
        let of = |segment: u64| move |header: &&SegmentHeader| header.sequence == segment;
        let tail = headers.iter().chain(&unwritten).find(of(end.segment)).copied();
        let next = unwritten.iter().find(of(end.segment + 1)).copied();
        Ok(Judged { claims, whole, run: run.max(claims.run), tail, next })
    }

    async fn read(&self, segment: u64) -> Result<(SegmentHeader, AlignedBuf), LogOpenError> {
        let path = segment_path(self.dir, segment);
        let file = self.disk.open(&path, OpenMode::Read).await.map_err(LogOpenError::io("open", &path))?;
        let len = file.len().await.map_err(LogOpenError::io("stat", &path))?;
        let len = if len == self.usual_bytes {
            len
        } else {
            bytes_to_read(len, &file.read_at(0, BLOCK_BYTES).await.map_err(LogOpenError::io("read", &path))?)
        };
        let len = usize::try_from(len).expect("a segment is far smaller than the address space");
        let bytes = file.read_at(0, len).await.map_err(LogOpenError::io("read", &path))?;
        let header = check_header(&self.identity, segment, &bytes).map_err(|refusal| self.refused(refusal))?;
        Ok((header, bytes))
    }

    fn refused(&self, refusal: Refusal) -> LogOpenError {
        match refusal {
            Refusal::Corrupt { at, why } => {
                LogOpenError::Corrupt { file: segment_path(self.dir, at.segment), offset: at.offset, why }
            }
            Refusal::Foreign { segment, found } => {
                LogOpenError::Foreign { file: segment_path(self.dir, segment), found, expected: self.identity }
            }
            Refusal::Newer { segment, found } => {
                LogOpenError::NewerFormat { file: segment_path(self.dir, segment), found, supported: FORMAT_VERSION }
            }
        }
    }
}

/// A future that was polled once, so that what it asks the disk for is under way.
struct Begun<F: Future> {
    future: Pin<Box<F>>,
    output: Option<F::Output>,
}

impl<F: Future> Begun<F> {
    async fn begin(future: F) -> Self {
        let mut future = Box::pin(future);
        let output = poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        Self { future, output }
    }

    async fn end(self) -> F::Output {
        match self.output {
            Some(output) => output,
            None => self.future.await,
        }
    }
}
