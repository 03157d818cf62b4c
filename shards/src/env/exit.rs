//! Why a process ends: one number per reason, the same ones that the command line documents.

/// The exit code of a process that ends because of a fault, not because it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Something went wrong that no other code describes.
    Internal = 1,
    /// Stored data is damaged: the log or a snapshot does not verify.
    DataDamaged = 65,
    /// A panic or a broken invariant.
    Bug = 70,
    /// A write or a flush failed. It is never retried: what the device then holds is unknown.
    DiskFailed = 74,
    /// The host refuses something the process cannot do without.
    HostNotFit = 78,
}
