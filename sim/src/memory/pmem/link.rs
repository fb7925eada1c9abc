//! The link between memory controller and DIMM: DDR-T, or that of a CXL device.

use daxsim_configs::machine::PmemSpec;
use daxsim_types::Time;

use super::busy::Busy;

/// Two directions, each busy for the length of a line. A read takes its time on the way back when it is asked for, as DDR-T
/// grants it.
pub(super) struct Link {
    read_interval: Time,
    write_interval: Time,
    reads: Busy,
    writes: Busy,
}

impl Link {
    /// An idle link.
    pub fn new(spec: &PmemSpec) -> Self {
        Self {
            read_interval: spec.link_read_occupancy,
            write_interval: spec.link_write_occupancy,
            reads: Busy::default(),
            writes: Busy::default(),
        }
    }

    /// When the line of a read that is ready for it at `at` is sent.
    #[inline]
    pub fn read(&mut self, at: Time) -> Time {
        self.reads.take(at, self.read_interval)
    }

    /// When a write that is ready for it at `at` is sent.
    #[inline]
    pub fn write(&mut self, at: Time) -> Time {
        self.writes.take(at, self.write_interval)
    }
}
