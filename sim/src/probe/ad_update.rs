//! What setting A or D adds to an access: the first access through an entry without the bit against the same access with
//! it, the TLBs flushed before both so that the walk cancels out.
//!
//! A is cleared as a program has it cleared, by the kernel's sweep over its entries (`/proc/PID/clear_refs`), on the same CPU. That
//! writes to the `struct page` of each page: of enough of them, their lines displace the program's, and what those misses cost is part
//! of the result, as it is part of the measurement.

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::{AccessedBit, DirtyBit, MachineSpec};
use daxsim_types::{AccessKind, LINE_BYTES, PageSize, VirtAddr};

use super::ProbeError;
use super::workbench::{START, Workbench};
use crate::mmu::entry::Entry;

const PAGE: u64 = PageSize::Size4K.bytes();

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AdUpdate {
    /// Pages, each accessed once, in order, at a line of its own.
    pub pages: u64,
}

/// Cycles of an access, each for a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitUpdate {
    /// Through an entry without the bit.
    pub clear: f64,
    /// Through an entry with it.
    pub set: f64,
    /// The difference: what setting it costs.
    pub update: f64,
}

impl AdUpdate {
    /// The first store through a clean writable entry.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if software sets D on this machine, or the pages do not fit it.
    pub fn dirty(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<BitUpdate, ProbeError> {
        if machine.mmu.dirty == DirtyBit::Software {
            return Err(ProbeError::NotHardware { bit: 'D', key: "mmu.dirty" });
        }
        self.measure(machine, kernel, AccessKind::Write, Entry::D)
    }

    /// The first load after A was cleared.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if software sets A on this machine, or the pages do not fit it.
    pub fn accessed(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<BitUpdate, ProbeError> {
        if machine.mmu.accessed == AccessedBit::Software {
            return Err(ProbeError::NotHardware { bit: 'A', key: "mmu.accessed" });
        }
        self.measure(machine, kernel, AccessKind::Read, Entry::A)
    }

    fn measure(
        &self,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        kind: AccessKind,
        bit: u64,
    ) -> Result<BitUpdate, ProbeError> {
        // A fence stands behind each access of the measured program: nothing overlaps, stores are written before the next.
        let mut fenced = machine.clone();
        fenced.cpu.window = 1;
        let mut bench = Workbench::new(&fenced, kernel, self.pages * PAGE, PageSize::Size4K)?;
        bench.run(self.pass(AccessKind::Read))?;
        bench.run(self.pass(AccessKind::Read))?;
        match kind {
            AccessKind::Read => bench.clear_young(self.pages * PAGE)?,
            _ => self.clear(&mut bench, bit),
        }
        let mut timed = || -> Result<f64, ProbeError> {
            bench.flush();
            let time = bench.run(self.pass(kind))?.time;
            Ok(bench.cycles(time) / self.pages as f64)
        };
        let (clear, set) = (timed()?, timed()?);
        Ok(BitUpdate { clear, set, update: clear - set })
    }

    /// One access to every page.
    fn pass(&self, kind: AccessKind) -> impl Iterator<Item = (VirtAddr, AccessKind)> + use<> {
        (0..self.pages).map(move |at| (VirtAddr(START.0 + at * PAGE + at * LINE_BYTES % PAGE), kind))
    }

    /// Clears the bit in every entry, in no time: a mapping that was only read from so far.
    fn clear(&self, bench: &mut Workbench, bit: u64) {
        let mm = bench.mm;
        bench.sim.with(|m| {
            for at in 0..self.pages {
                let va = VirtAddr(START.0 + at * PAGE);
                let entry = m.entry(mm, va, 0);
                m.inject_entry(mm, va, 0, Entry(entry.0 & !bit));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    fn machine(set: &[&str]) -> MachineSpec {
        let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        load_machine("skylake-sp-optane", &set).unwrap()
    }

    #[test]
    fn the_difference_is_the_assist_and_its_locked_access() {
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let with = |a: u32, d: u32| {
            let set = [format!("mmu.accessed_assist={a} cycles"), format!("mmu.dirty_assist={d} cycles")];
            let machine = machine(&[&set[0], &set[1]]);
            let probe = AdUpdate { pages: 64 };
            [probe.accessed(&machine, &kernel), probe.dirty(&machine, &kernel)].map(|u| u.unwrap().update)
        };
        let free = with(0, 0);
        let dear = with(100, 200);
        assert!(free.iter().all(|update| (0.0..30.0).contains(update)), "{free:?}");
        assert_eq!([dear[0] - free[0], dear[1] - free[1]], [100.0, 200.0]);
    }

    #[test]
    fn bits_that_software_sets_are_not_measured() {
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let machine = machine(&["mmu.dirty=software"]);
        let refused = AdUpdate { pages: 8 }.dirty(&machine, &kernel);
        assert_eq!(refused, Err(ProbeError::NotHardware { bit: 'D', key: "mmu.dirty" }));
    }
}
