//! Memory accesses of virtual CPUs, handed from one process to another through shared memory.
//!
//! One ring for each vCPU, with one writer ([`Producer`]) and one reader ([`Reader`]). A full ring makes its vCPU wait: nothing is lost.
//! The order of each vCPU is kept. Batches bear a stamp of one counter for all vCPUs, and the reader hands them out by it; what
//! that keeps of the order among vCPUs is said at [`Batch::stamp`]. Either side sees that the other has ended, also if it was killed.
//!
//! ```no_run
//! use std::time::Duration;
//! use daxsim_ring::{Batch, Geometry, Place, Reader, Received};
//!
//! let mut reader = Reader::create(&Place::Memory, Geometry::default())?;
//! // Start the writer with `reader.path()` here.
//! let mut batch = Batch::default();
//! loop {
//!     match reader.next_batch(&mut batch, Duration::from_millis(100))? {
//!         Received::Batch => batch.accesses().for_each(|access| println!("{} {access:?}", batch.vcpu)),
//!         Received::Nothing => {} // look whether the child process still runs
//!         Received::End(_) => break,
//!     }
//! }
//! # Ok::<(), daxsim_ring::RingError>(())
//! ```

mod error;
mod layout;
mod liveness;
mod mapping;
mod protocol;
mod reader;
mod record;
mod sync;
mod writer;

#[cfg(test)]
mod tests;

pub use error::RingError;
pub use layout::{Geometry, MOST_RINGS};
pub use reader::{Batch, Ending, Place, Reader, Received};
pub use record::{Access, Control, Item, Items, Op};
pub use writer::{Producer, ReaderGone, Writer};
