//! Main memory: channels of one latency (`flat`), or of banks whose commands keep the timings of a JEDEC speed bin (`banked`).
//!
//! Of the second kind:
//! - `mapping`: from a line to channel, rank, bank and row. `timing`: clocks between commands.
//! - `channel`: where the commands of a request are placed. `columns` (reads and writes on the bus), `activates` (of a rank) and
//!   `bank` are the commands placed so far, `refresh` is the time when there are none. `writes` is the write queue.
//!
//! Simplified: the command bus carries any number of commands at a time; a precharge does not keep
//! another bank from one; there is no power-down.

mod activates;
mod bank;
mod banked;
mod channel;
mod columns;
mod flat;
mod mapping;
mod refresh;
#[cfg(test)]
mod tests;
mod timing;
mod writes;

use daxsim_configs::machine::{DramTiming, MachineSpec};
use daxsim_types::{CacheLine, Time};

use self::banked::Banked;
use self::flat::Flat;
use super::stats::{DeviceStats, DramStats};

/// Main memory and its controllers.
pub(super) struct Dram {
    kind: Kind,
    stats: DeviceStats,
}

enum Kind {
    Flat(Flat),
    Banked(Box<Banked>),
}

impl Dram {
    /// Idle, as the machine has it.
    pub fn new(spec: &MachineSpec) -> Self {
        let kind = match spec.dram_banks.timing {
            DramTiming::Flat => Kind::Flat(Flat::new(&spec.dram, spec.pmem.wpq_lines)),
            DramTiming::Banks => {
                Kind::Banked(Box::new(Banked::new(&spec.dram_banks, &spec.dram_preset, spec.dram.channels)))
            }
        };
        Self { kind, stats: DeviceStats::default() }
    }

    /// A read of `line` that reaches the controller at `arrive`: its latency from there.
    #[inline]
    pub fn read(&mut self, line: CacheLine, arrive: Time) -> Time {
        match &mut self.kind {
            Kind::Flat(flat) => flat.read(line, arrive, &mut self.stats),
            Kind::Banked(banked) => banked.read(line, arrive, &mut self.stats),
        }
    }

    /// A posted write of `line` that reaches the controller at `arrive`: how long it waits for room in the channel's write
    /// queue.
    #[inline]
    pub fn write(&mut self, line: CacheLine, arrive: Time) -> Time {
        match &mut self.kind {
            Kind::Flat(flat) => flat.write(line, arrive, &mut self.stats),
            Kind::Banked(banked) => banked.write(line, arrive, &mut self.stats),
        }
    }

    /// What was asked of it, and what moved.
    pub fn stats(&self) -> DeviceStats {
        match &self.kind {
            Kind::Flat(_) => self.stats,
            Kind::Banked(banked) => {
                let (media_bytes_read, media_bytes_written) = banked.moved();
                DeviceStats { media_bytes_read, media_bytes_written, ..self.stats }
            }
        }
    }

    /// What happened in the banks.
    pub fn bank_stats(&self) -> DramStats {
        match &self.kind {
            Kind::Flat(_) => DramStats::default(),
            Kind::Banked(banked) => banked.stats(),
        }
    }
}
