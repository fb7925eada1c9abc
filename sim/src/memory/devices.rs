//! The memory controllers: which device holds a line, and what reaching it costs.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{CacheLine, Time};

use super::Level;
use super::dram::Dram;
use super::home::HomeDirectory;
use super::pmem::Pmem;
use super::profile::DeviceProfile;

/// DRAM and persistent memory behind the L3.
pub(super) struct Devices {
    pub dram: Dram,
    pub pmem: Pmem,
    pub dram_profile: DeviceProfile,
    pub pmem_profile: DeviceProfile,
    home: Option<HomeDirectory>,
    dram_write_latency: Time,
    pmem_write_latency: Time,
}

impl Devices {
    /// Idle devices.
    pub fn new(spec: &MachineSpec) -> Self {
        Self {
            dram: Dram::new(spec),
            pmem: Pmem::new(&spec.pmem),
            dram_profile: DeviceProfile::default(),
            pmem_profile: DeviceProfile::default(),
            home: spec.topology.memory_directory.then(HomeDirectory::default),
            // An estimate, for want of a parameter: a write is accepted after the time that a read
            // takes from the L3's miss. Measured (NVSL OptaneStudy, FAST'20): store and CLWB
            // 57.3 ns; load 81.4 ns, of which some 24 ns lie before the miss.
            dram_write_latency: spec.dram.read_latency,
            pmem_write_latency: spec.pmem.write_latency + spec.pmem.link_latency,
        }
    }

    /// A read that leaves the L3 at `arrive`: latency from there, and the device.
    #[inline]
    pub fn read(&mut self, line: CacheLine, arrive: Time) -> (Time, Level) {
        if self.pmem.holds(line) {
            let latency = self.pmem.read(line, arrive);
            self.pmem_profile.read(arrive, latency);
            (latency, Level::Pmem)
        } else {
            let latency = self.dram.read(line, arrive);
            self.dram_profile.read(arrive, latency);
            (latency, Level::Dram)
        }
    }

    /// Another socket has asked for `line`, and may modify it from `at` on: memory notes that, if it does.
    #[inline]
    pub fn give_away(&mut self, line: CacheLine, at: Time) {
        if self.home.as_mut().is_some_and(|home| home.give(line)) {
            self.note(line, at);
        }
    }

    /// Whether memory notes which lines are in another socket.
    pub const fn has_directory(&self) -> bool {
        self.home.is_some()
    }

    /// Takes it that another socket was given these lines at some time before.
    pub fn given_before(&mut self, lines: impl Iterator<Item = CacheLine>) {
        if let Some(home) = &mut self.home {
            for line in lines {
                home.give(line);
            }
        }
    }

    /// Writes what memory knows of a line, and not the line.
    #[cold]
    fn note(&mut self, line: CacheLine, at: Time) {
        if self.pmem.holds(line) {
            let stall = self.pmem.write_note(line, at);
            self.pmem_profile.write(at, stall);
        } else {
            let stall = self.dram.write(line, at);
            self.dram_profile.write(at, stall);
        }
    }

    /// A posted write, sent at `sent`, that reaches its controller at `arrive`: the wait for room in its queue.
    #[inline]
    pub fn post(&mut self, line: CacheLine, sent: Time, arrive: Time) -> Time {
        if let Some(home) = &mut self.home {
            home.come_back(line);
        }
        if self.pmem.holds(line) {
            let stall = self.pmem.write(line, sent, arrive);
            self.pmem_profile.write(arrive, stall);
            stall
        } else {
            let stall = self.dram.write(line, arrive);
            self.dram_profile.write(arrive, stall);
            stall
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
        let accepted = arrive + self.post(line, now, now + arrive);
        let profile = if self.pmem.holds(line) { &mut self.pmem_profile } else { &mut self.dram_profile };
        profile.writes.record(accepted);
        accepted
    }
}
