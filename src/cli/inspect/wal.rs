//! `inspect wal`: segments, their batches and records, and what they amount to.

use std::path::{Path, PathBuf};

use clap::Args;
use kahuna_client::protocol::ClusterId;
use kahuna_wal::inspect::{BatchHeader, Damage, Part, Segment, SegmentHeader, SegmentHeaderError, segment_path};
use kahuna_wal::recovery::{End, Refusal, scan_with};
use kahuna_wal::{GroupId, GroupLog};

use super::super::exit::{Exit, Failure};
use super::super::output::{Format, Record};
use super::detail::detail;
use super::files::{Content, Files, read_segment, segments};
use super::rows::{Rows, finish, judge_file};

/// How often a verdict of damage is looked at again: on a running node it may be a write that was half read.
const SECOND_LOOKS: u32 = 3;

#[derive(Args, Debug)]
pub struct WalArgs {
    /// A segment file (*.seg), or a directory of them
    path: PathBuf,
    /// One row per record instead of one per batch
    #[arg(long)]
    records: bool,
    /// At most this many batches or records; the verdict is of all of them
    #[arg(long)]
    limit: Option<u64>,
}

/// Prints the content, then whether it is whole.
pub fn run(args: &WalArgs, format: Format) -> Result<Exit, Failure> {
    let files = Files::at(&args.path)?;
    let mut view = View::new(args, format);
    for path in files.paths()? {
        if let Some(content) = read_segment(&path)? {
            view.segment(&path, &content)?;
        }
    }
    let mut verdict = Verdict::of(&files)?;
    for _ in 0..SECOND_LOOKS {
        if verdict.damage.is_some() {
            verdict = Verdict::of(&files)?;
        }
    }
    view.finish(verdict)
}

/// Everything that is shown.
struct View<'a> {
    args: &'a WalArgs,
    format: Format,
    segments: Rows,
    rows: Rows,
    batches: u64,
    records: u64,
    bytes: u64,
    torn: u64,
    unreadable: u64,
}

impl<'a> View<'a> {
    fn new(args: &'a WalArgs, format: Format) -> Self {
        let head: &[&str] = if args.records {
            &["segment", "offset", "group", "kind", "index", "bytes", "detail"]
        } else {
            &["segment", "offset", "outcome", "batch", "run", "records", "bytes", "durable_segment", "durable_offset"]
        };
        let segments = &["segment", "outcome", "bytes", "shard", "incarnation", "generation", "run", "file"];
        Self {
            args,
            format,
            segments: Rows::new(format, segments, None),
            rows: Rows::new(format, head, args.limit),
            batches: 0,
            records: 0,
            bytes: 0,
            torn: 0,
            unreadable: 0,
        }
    }

    fn segment(&mut self, path: &Path, content: &Content) -> Result<(), Failure> {
        let file = path.display().to_string();
        let segment = match Segment::decode(&content.bytes) {
            Ok(segment) => segment,
            Err(error) => {
                let row = Record::new("unreadable").field("file", file).field("bytes", content.len);
                return Ok(self.segments.add(row.field("why", header_error(&error)))?);
            }
        };
        self.segments.add(segment_row(&segment.header).field("file", file))?;
        segment.parts().try_for_each(|part| self.part(segment.header.sequence, part))
    }

    fn part(&mut self, segment: u64, part: Part<'_>) -> Result<(), Failure> {
        let row = |outcome, offset| Record::new(outcome).field("segment", segment).field("offset", offset);
        match part {
            Part::Unreadable { offset, bytes } => {
                self.unreadable += bytes;
                self.rows.add(row("unreadable", offset).field("bytes", bytes))?;
            }
            Part::Torn { offset, header } => {
                self.torn += 1;
                self.rows.add(batch_row(row("torn", offset), &header))?;
            }
            Part::Batch { offset, header, records } => {
                self.batches += 1;
                self.records += u64::from(header.records);
                self.bytes += u64::from(header.length);
                if !self.args.records {
                    return Ok(self.rows.add(batch_row(row("batch", offset), &header))?);
                }
                for record in records {
                    self.rows.add(match record {
                        Ok(record) => row("record", offset)
                            .field("batch", header.sequence)
                            .field("group", record.group)
                            .field("kind", record.kind_name)
                            .field("index", record.index)
                            .field("bytes", record.body.len())
                            .field("detail", detail(&record)),
                        Err(why) => row("unreadable", offset).field("batch", header.sequence).field("detail", why),
                    })?;
                }
            }
        }
        Ok(())
    }

    fn finish(self, verdict: Verdict) -> Result<Exit, Failure> {
        let Self { args, format, segments, rows, .. } = self;
        let (exit, outcome) = judge_file(verdict.damage.is_some(), verdict.is_newer);
        let mut summary = Record::new(outcome)
            .field("path", args.path.display().to_string())
            .field("batches_total", self.batches)
            .field("records_total", self.records)
            .field("bytes_total", self.bytes)
            .field("torn_total", self.torn)
            .field("unreadable_bytes", self.unreadable)
            .field("rows_left_out", rows.left_out);
        if let Some((file, Damage { offset, why })) = verdict.damage {
            kahuna_shards::say!("kahuna: {}: {outcome} at offset {offset}: {why}", file.display());
            summary = summary.field("damaged_file", file.display().to_string()).field("damaged_offset", offset);
            summary = summary.field("why", why);
        }
        let mut groups = Rows::new(format, &["group", "first", "last", "entries", "purged", "marks"], None);
        if let Some(log) = verdict.log {
            summary = summary
                .field("end_segment", log.end.position.segment)
                .field("end_offset", log.end.position.offset)
                .field("next_batch", log.end.next_sequence)
                .field("tail_cut", log.end.torn);
            log.groups.into_iter().try_for_each(|group| groups.add(group))?;
        }
        let name = if args.records { "records" } else { "batches" };
        finish(summary, &[("segments", &segments), (name, &rows), ("groups", &groups)], format)?;
        Ok(exit)
    }
}

fn header_error(error: &SegmentHeaderError) -> String {
    match error {
        SegmentHeaderError::Damaged(why) => (*why).to_owned(),
        SegmentHeaderError::Newer(version) => format!("format version {version} is newer than this program"),
    }
}

fn segment_row(header: &SegmentHeader) -> Record {
    Record::new("segment")
        .field("segment", header.sequence)
        .field("bytes", header.segment_bytes)
        .field("cluster", ClusterId(header.identity.cluster).to_string())
        .field("incarnation", format!("{:016x}", header.identity.incarnation))
        .field("shard", header.identity.shard)
        .field("generation", format!("{:016x}", header.generation))
        .field("run", header.run)
}

fn batch_row(row: Record, header: &BatchHeader) -> Record {
    row.field("batch", header.sequence)
        .field("run", header.run)
        .field("records", header.records)
        .field("bytes", header.length)
        .field("durable_segment", header.durable.segment)
        .field("durable_offset", header.durable.offset)
        .field("oldest_segment", header.oldest_segment)
}

fn group_row(group: GroupId, log: &GroupLog) -> Record {
    let marks = [
        ("created", log.created.is_some()),
        ("vote", log.vote.is_some()),
        ("committed", log.committed.is_some()),
        ("snapshot", log.snapshot.is_some()),
    ];
    let marks: Vec<&str> = marks.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    Record::new("group")
        .field("group", group)
        .optional("first", log.entries.front().map(|entry| entry.index))
        .optional("last", log.entries.back().map(|entry| entry.index))
        .field("entries", log.entries.len())
        .optional("purged", log.purged.as_ref().map(|(upto, _)| *upto))
        .field("marks", marks.join(","))
}

/// Totals of a whole log.
struct Whole {
    end: End,
    groups: Vec<Record>,
}

/// What the files amount to together.
struct Verdict {
    damage: Option<(PathBuf, Damage)>,
    /// Because this program is too old.
    is_newer: bool,
    /// Known of a directory that is whole.
    log: Option<Whole>,
}

impl Verdict {
    fn damaged(path: &Path, offset: u64, why: String) -> Self {
        Self { damage: Some((path.to_owned(), Damage { offset, why })), is_newer: false, log: None }
    }

    /// Of a file whose header is of no use.
    fn headless(path: &Path, error: &SegmentHeaderError) -> Self {
        let is_newer = matches!(error, SegmentHeaderError::Newer(_));
        Self { is_newer, ..Self::damaged(path, 0, header_error(error)) }
    }

    fn of(files: &Files) -> Result<Self, Failure> {
        match files {
            Files::One(path) => Self::of_file(path),
            Files::Log(dir) => Self::of_log(dir),
        }
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        let content = read_segment(path)?.unwrap_or_default();
        Ok(match Segment::decode(&content.bytes).map(|segment| segment.damage()) {
            Ok(None) => Self { damage: None, is_newer: false, log: None },
            Ok(Some(Damage { offset, why })) => Self::damaged(path, offset, why),
            Err(error) => Self::headless(path, &error),
        })
    }

    /// Judges the log as an opening would; the owner is taken from the newest readable header.
    fn of_log(dir: &Path) -> Result<Self, Failure> {
        let segments = segments(dir)?;
        let owner = segments.iter().rev().find_map(|(_, path)| {
            let content = read_segment(path).ok()??;
            Some(SegmentHeader::decode(&content.bytes).ok()?.identity)
        });
        let Some(owner) = owner else {
            let path = segments.last().map_or(dir, |(_, path)| path);
            let head = read_segment(path)?.unwrap_or_default().bytes;
            return Ok(match SegmentHeader::decode(&head) {
                Err(newer @ SegmentHeaderError::Newer(_)) => Self::headless(path, &newer),
                _ => Self::damaged(path, 0, "no segment has a readable header".to_owned()),
            });
        };
        let numbers: Vec<u64> = segments.iter().map(|(number, _)| *number).collect();
        let path = |segment: u64| segment_path(dir, segment);
        let outcome = scan_with(&owner, &numbers, |segment| match read_segment(&path(segment)) {
            Ok(content) => Ok(content.unwrap_or_default().bytes),
            Err(failure) => Err(Trouble::Unreadable(failure)),
        });
        match outcome {
            Ok((groups, end)) => {
                let groups = groups.iter().map(|(group, log)| group_row(*group, log)).collect();
                Ok(Self { damage: None, is_newer: false, log: Some(Whole { end, groups }) })
            }
            Err(Trouble::Unreadable(failure)) => Err(failure),
            Err(Trouble::Refused(Refusal::Corrupt { at, why })) => Ok(Self::damaged(&path(at.segment), at.offset, why)),
            Err(Trouble::Refused(Refusal::Foreign { segment, found })) => {
                let why = format!("it belongs to {found}, the newest segment to {owner}");
                Ok(Self::damaged(&path(segment), 0, why))
            }
            Err(Trouble::Refused(Refusal::Newer { segment, found })) => {
                Ok(Self::headless(&path(segment), &SegmentHeaderError::Newer(found)))
            }
        }
    }
}

/// Why there is no verdict that all is whole.
enum Trouble {
    Refused(Refusal),
    Unreadable(Failure),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
