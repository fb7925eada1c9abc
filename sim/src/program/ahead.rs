//! A look at accesses to come, so that the host's memory has near what they will need.
//!
//! A stream that misses everything makes the simulator miss everything, too: the entry that a walk ends with, the sets of lines
//! in the larger caches, the sets where these cast lines out to, and where the TLBs will hold the translation. Asked for some
//! accesses ahead, they come while others are simulated. Nothing of the machine changes: no result can depend on it.

use daxsim_types::{CacheLine, PageSize, Pfn, PhysAddr, VirtAddr};

use crate::machine::Machine;
use crate::mmu::table::Slot;

/// How many accesses ahead the entry is asked for that a walk ends with. That takes about as long as an access.
const WALKS: usize = 6;
/// How many accesses ahead the sets are asked for of the lines of that entry and of the data.
const DATA: usize = 4;
/// How many accesses later the sets are asked for that those of the L2 cast lines out to.
const VICTIMS: usize = 2;

/// Where the walk of an address ends, and at which level.
type End = (VirtAddr, Slot, u32);

/// Where looking ahead has come to.
pub(crate) struct Ahead {
    /// Where the last walks end whose entries were asked for.
    ends: [End; WALKS - DATA],
    /// Lines of the entry and of the data, of the last accesses whose sets were asked for.
    lines: [[CacheLine; 2]; VICTIMS],
}

impl Ahead {
    pub(crate) const fn new() -> Self {
        let nowhere = (VirtAddr(u64::MAX), Slot { table: Pfn(0), index: 0 }, 0);
        Self { ends: [nowhere; WALKS - DATA], lines: [[CacheLine(0); 2]; VICTIMS] }
    }

    /// An access of CPU `index` has missed all caches; `next` gives the addresses that are translated after it, by their number.
    /// Where one misses, others will, and what is far for the machine is far for the host.
    pub(crate) fn look(&mut self, m: &Machine, index: usize, next: impl Fn(usize) -> Option<VirtAddr>) {
        let lines = next(DATA).and_then(|va| {
            m.cpus[index].tlbs.warm(va);
            let known = self.ends.iter().find(|end| end.0 == va);
            lines(m, known.copied().unwrap_or_else(|| end(m, index, va)))
        });
        if let Some(va) = next(WALKS) {
            let end = end(m, index, va);
            m.tables.warm(end.1);
            self.ends.copy_within(..WALKS - DATA - 1, 1);
            self.ends[0] = end;
        }
        let [last, newer] = self.lines;
        self.lines = [newer, lines.unwrap_or_default()];
        lines.iter().flatten().for_each(|line| m.memory.warm(index, *line));
        last.iter().for_each(|line| m.memory.warm_victim(index, *line));
    }
}

#[inline]
fn end(m: &Machine, index: usize, va: VirtAddr) -> End {
    let (slot, level) = m.tables.last_slot(m.cpus[index].cr3, va);
    (va, slot, level)
}

/// The lines of the entry that a walk ends with, and of what it maps.
fn lines(m: &Machine, (va, slot, level): End) -> Option<[CacheLine; 2]> {
    let entry = m.tables.read(slot);
    let inside = va.0 & ((PageSize::Size4K.bytes() << (9 * level)) - 1);
    let at = PhysAddr(entry.pfn_at(level).addr().0 | inside);
    entry.is_present().then(|| [m.host_line(slot.line()), m.host_line(at.line())])
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};
    use daxsim_types::{AccessKind, CpuId, FileSystem};

    use super::*;
    use crate::Simulation;

    const START: u64 = 0x1000_0000_0000;

    /// What is done with a machine whose CPU 0 has 16 pages.
    fn with_pages<R>(f: impl FnOnce(&mut Machine) -> R) -> R {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let sim = Simulation::new(machine, kernel, FileSystem::Ext4, false);
        let mm = sim.with(|m| {
            let mm = m.new_mm();
            m.map_anonymous(mm, START, 16);
            mm
        });
        sim.place(CpuId(0), mm).unwrap();
        sim.with(f)
    }

    #[test]
    fn what_is_asked_for_is_where_the_walk_will_lead() {
        with_pages(|m| {
            for va in (0..16).map(|page| VirtAddr(START + page * 4096 + page * 64)) {
                let [_, data] = lines(m, end(m, 0, va)).unwrap();
                assert_eq!(m.translate(0, va, AccessKind::Read, true).unwrap().line(), data);
            }
            assert_eq!(lines(m, end(m, 0, VirtAddr(START + 16 * 4096))), None);
        });
    }

    #[test]
    fn looking_leaves_no_trace() {
        with_pages(|m| {
            let state =
                |m: &Machine| (m.memory.stats(), m.cpus[0].tlbs.entries().count(), m.cpus[0].psc.len());
            let before = state(m);
            let page = |page: u64| VirtAddr(START + page * 4096);
            let mut ahead = Ahead::new();
            for first in 0..20 {
                ahead.look(m, 0, |n| Some(page(first + n as u64)).filter(|_| n < 8));
            }
            assert_eq!(state(m), before);
        });
    }
}
