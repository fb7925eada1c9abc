//! Readers for what daxsim replays and compares with: workload scripts, recorded kernel traces,
//! fault tables, extent lists and operation logs; and generators of address streams.
//!
//! All readers stream, hold bounded memory, and report what they cannot use with the file, the
//! line and what was expected. Nothing here knows of a machine.

pub mod access;
pub mod derive;
pub mod drmemtrace;
pub mod dxt;
pub mod fault_table;
pub mod ftrace;
pub mod generate;
pub mod layout;
pub mod open;
pub mod oplog;
pub mod ops_table;
pub mod perf;
pub mod recording;
pub mod script;
pub mod tracedat;

mod error;
mod fixed;
mod lines;
mod sniff;
mod store;
mod xz;
mod zip;

pub use error::TraceError;
pub use open::{Compression, Input, InputKind, open};
