//! The memory controllers: which device holds a line, and what reaching it costs.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, Time};

use super::Level;
use super::dram::Dram;
use super::pmem::Pmem;

/// DRAM and persistent memory behind the L3.
pub(super) struct Devices {
    pub dram: Dram,
    pub pmem: Pmem,
    dram_write_latency: Time,
    pmem_write_latency: Time,
}

impl Devices {
    /// Idle devices.
    pub fn new(spec: &MachineSpec) -> Self {
        Self {
            dram: Dram::new(spec),
            pmem: Pmem::new(&spec.pmem),
            // An estimate, for want of a parameter: a write is accepted after the time that a read
            // takes from the L3's miss. Measured (NVSL OptaneStudy, FAST'20): store and CLWB
            // 57.3 ns; load 81.4 ns, of which some 24 ns lie before the miss.
            dram_write_latency: spec.dram.read_latency,
            pmem_write_latency: spec.pmem.write_latency,
        }
    }

    /// A read that leaves the L3 at `arrive`: latency from there, and the device.
    #[inline]
    pub fn read(&mut self, line: CacheLine, arrive: Time) -> (Time, Level) {
        if self.pmem.holds(line) {
            (self.pmem.read(line, arrive), Level::Pmem)
        } else {
            (self.dram.read(line, arrive), Level::Dram)
        }
    }

    /// A posted write, sent at `sent`, that reaches its controller at `arrive`: the wait for room in its queue.
    #[inline]
    pub fn post(&mut self, line: CacheLine, sent: Time, arrive: Time) -> Time {
        if self.pmem.holds(line) {
            self.pmem.write(line, sent, arrive)
        } else {
            self.dram.write(line, arrive)
        }
    }

    /// A cache now holds `line` modified.
    #[inline]
    pub fn modified(&mut self, line: CacheLine) {
        if self.pmem.holds(line) {
            self.pmem.domain.modified(line);
        }
    }

    /// A write that a core waits for, sent at `now` but not before its data is there at
    /// `now + data`: latency from `now` until the controller has accepted it.
    pub fn write(&mut self, line: CacheLine, now: Time, data: Time) -> Time {
        let latency = if self.pmem.holds(line) { self.pmem_write_latency } else { self.dram_write_latency };
        let arrive = latency + data;
        arrive + self.post(line, now, now + arrive)
    }
}
