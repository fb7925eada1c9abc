//! Replay: what a kernel recorded becomes the accesses and calls that caused it.
//!
//! Records are grouped into faults and calls ([`Grouper`]), what happened before the trace began is inferred from what the events
//! show ([`State`]), and each step runs in recorded order, one after another, on the CPU that recorded it. A fault counts as
//! reproduced if the simulated access takes exactly one fault with the recorded error code, return value and, where the
//! trace shows them, old and new entry.

mod group;
mod infer;
mod life;
mod other;
mod run;

pub use group::{Action as RecordedAction, Grouper, RecordedCall, RecordedFault};
pub use infer::State;
pub use run::{Divergence, Outcome, Replayer, Tally};
