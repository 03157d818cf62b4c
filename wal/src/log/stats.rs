//! Counters of a log, since it was opened.

/// What a log did since it was opened, and how large it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Durable writes of batches, seals included. Each is one flush of the device.
    pub flushes: u64,
    /// Of these, batches without records.
    pub seals: u64,
    /// Bytes of batches written, headers and padding included.
    pub bytes: u64,
    /// Records appended, repeated marks included.
    pub records: u64,
    /// Records repeated so that an old segment could go.
    pub repeated: u64,
    /// Entries copied so that an old segment could go.
    pub moved: u64,
    /// Bytes of the records that must not be lost: live entries, and the newest marks.
    pub live_bytes: u64,
    /// Segments between the oldest that recovery needs and the one written to, both included.
    pub segments: u64,
    /// The segment that is written to.
    pub tail_segment: u64,
    /// Segments whose file was given free since the opening.
    pub released: u64,
    /// Files held for reuse beyond the reserve.
    pub spares: u64,
    /// Files of the reserve, for a disk that is full: [`LogOptions::reserve_segments`](crate::LogOptions) of them when whole.
    pub reserve: u64,
    /// Bytes of all files of the log: segments, also the one prepared, spares and reserve.
    pub allocated_bytes: u64,
    /// Bytes that wait for a write.
    pub queued_bytes: u64,
}
