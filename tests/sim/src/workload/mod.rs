//! What clients do while faults happen, and what they were told, as a history for the [checker](crate::check).
//!
//! Each file is one claim: it draws its operations from the seed, records them, and looks at once at what no history
//! can show. A [`Process`] is a client with a session of its own; it has one operation open at a time.

mod cuts;
pub(crate) mod exactly_once;
mod kinds;
mod lives;
mod locks;
mod named;
mod past;
pub(crate) mod process;
mod recorder;
mod registers;
pub(crate) mod reliance;
mod sequences;

pub use kinds::Workload;
pub use process::Process;
pub use recorder::Recorder;
pub(crate) use recorder::fill;
