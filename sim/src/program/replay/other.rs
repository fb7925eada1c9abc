//! Faults outside DAX mappings: anonymous memory, and files in the page cache. Mappings made in the trace are known from their
//! calls; those of the program itself, its heap and stack are inferred from the faults in them.

use daxsim_types::{PageSize, VmFault};

use super::group::RecordedFault;
use super::infer::{MAP_PRIVATE, MAP_TYPE, MapCall, PendingMap, Process, State};
use crate::kernel::filemap::{CacheId, CacheOps};
use crate::kernel::vma::{Backing, Vma};
use crate::kernel::{DEFAULT_MAP_WINDOW, MmId};
use crate::machine::Machine;
use crate::simulation::Simulation;

/// Nothing that calls map without an address lies above this but stack and vDSO, with five levels too: `mmap_base` keeps the stack's limit of 8 MiB and its
/// randomization of 16 GiB free (arch/x86/mm/mmap.c:mmap_base, stack_maxrandom_size).
const STACKS: u64 = DEFAULT_MAP_WINDOW - (16 << 30) - (8 << 20);
/// `MAP_STACK`: a stack of a thread, which gets no huge pages (`calc_vm_flag_bits`, since Linux 6.7).
const MAP_STACK: u32 = 0x2_0000;
/// Reasons to leave a fault out.
const NO_RESULT: &str = "faults outside DAX mappings without a result (page faults disabled, or no probe)";
const NO_MAPPING: &str = "faults outside DAX mappings that failed";

/// What a fault in an unknown mapping shows of it.
struct Shown {
    backing: Backing,
    shared: bool,
    /// Whether an entry was there.
    present: bool,
}

impl State {
    /// Makes sure that the mapping of a fault outside DAX is there. Returns the address space, or why the fault cannot be replayed.
    pub fn prepare_other(
        &mut self,
        sim: &Simulation,
        fault: &RecordedFault,
        comm: &str,
    ) -> Result<MmId, &'static str> {
        if fault.address.0 >= sim.with(|m| m.user_end()) {
            return Err("faults at kernel addresses");
        }
        let va = fault.address;
        let known = self.known_process(fault.pid);
        let covered = |mm| sim.with(|m| m.mm(mm).find_vma(va).is_some() || m.stack_above(mm, va).is_some());
        // A kernel access with page faults disabled is not handled: the kernel tries again where it may sleep.
        if fault.ret.is_none() && (fault.kernel || !known.is_some_and(covered)) {
            return Err(NO_RESULT);
        }
        let index = self.process_index(sim, fault.pid, comm);
        let mm = self.processes[index].mm;
        self.resolve_pending(sim, index, fault);
        let grows = sim.with(|m| m.stack_above(mm, va).is_some());
        match sim.with(|m| m.mm(mm).find_vma(va).copied()) {
            Some(vma) => self.adjust_inferred(sim, index, &vma, fault),
            // Where an entry was, the stack had grown already.
            None if grows && !fault.error_code.is_protection() => {}
            None => self.infer_mapping(sim, index, fault)?,
        }
        Ok(mm)
    }

    /// A recorded mmap of anonymous memory.
    pub fn mapped_anonymous(
        &mut self,
        sim: &Simulation,
        pid: u32,
        comm: &str,
        (start, end): (u64, u64),
        map: MapCall,
    ) -> MmId {
        let index = self.process_index(sim, pid, comm);
        self.forget_pending(index, start, end);
        let mm = self.processes[index].mm;
        let shared = map.flags & MAP_TYPE != MAP_PRIVATE;
        sim.with(|m| {
            let backing = if shared {
                Backing::Cached { file: m.new_cached_file(CacheOps::Shmem), pgoff: 0 }
            } else {
                Backing::Anonymous
            };
            m.map_ordinary(mm, (start, end), backing, |vma| {
                set_rights(vma, map.prot);
                vma.shared = shared;
                vma.no_huge = map.flags & MAP_STACK != 0;
            });
        });
        mm
    }

    /// A new program: an address space of its own. Returns it, and the old one if that has no task left.
    pub fn execute(&mut self, sim: &Simulation, pid: u32) -> Option<(MmId, Option<MmId>)> {
        let index = *self.pids.get(&pid)?;
        let mm = sim.with(Machine::new_mm);
        self.processes.push(Process::new(mm, false));
        self.pids.insert(pid, self.processes.len() - 1);
        Some((mm, self.abandoned(index)))
    }

    /// The end of a task; its address space, if it was the last one in it.
    pub fn exit(&mut self, pid: u32) -> Option<MmId> {
        let index = self.pids.remove(&pid)?;
        self.abandoned(index)
    }

    fn abandoned(&mut self, index: usize) -> Option<MmId> {
        if self.pids.values().any(|i| *i == index) {
            return None;
        }
        self.comms.retain(|_, i| *i != index);
        let process = &mut self.processes[index];
        process.pending.clear();
        process.inferred.clear();
        Some(process.mm)
    }

    pub(super) fn forget_inferred(&mut self, index: usize, start: u64, end: u64) {
        let inferred = &mut self.processes[index].inferred;
        let gone: Vec<u64> = inferred.range(start >> 12..end.div_ceil(4096)).copied().collect();
        for page in gone {
            inferred.remove(&page);
        }
    }

    /// A fault without DAX events tells that the file of a mapping is in the page cache.
    fn resolve_pending(&mut self, sim: &Simulation, index: usize, fault: &RecordedFault) {
        let va = fault.address;
        let process = &mut self.processes[index];
        let mm = process.mm;
        if sim.with(|m| m.mm(mm).find_vma(va).is_some()) {
            return;
        }
        let found = process.pending.range(..=va.0).next_back().map(|(start, map)| (*start, *map));
        let Some((start, map)) = found.filter(|(_, map)| map.end > va.0) else { return };
        process.pending.remove(&start);
        let file = self.cached_file(sim, &map, fault);
        sim.with(|m| {
            m.forget_range(mm, start, map.end - start);
            let backing = Backing::Cached { file, pgoff: map.pgoff };
            m.map_ordinary(mm, (start, map.end), backing, |vma| {
                set_rights(vma, map.prot);
                vma.shared = map.shared;
            });
        });
    }

    fn cached_file(&mut self, sim: &Simulation, map: &PendingMap, fault: &RecordedFault) -> CacheId {
        if let Some(file) = self.cached.get(&map.file) {
            return *file;
        }
        let filled = fault.ret.is_some_and(|ret| ret.contains(VmFault::NOPAGE));
        let ops = if map.shared && !filled { CacheOps::Shmem } else { CacheOps::Filemap };
        let file = sim.with(|m| m.new_cached_file(ops));
        self.cached.insert(map.file, file);
        self.note("files in the page cache, from the first fault in a mapping of them");
        file
    }

    /// A mapping that no call showed: the page of the fault, of the kind that its result tells.
    fn infer_mapping(
        &mut self,
        sim: &Simulation,
        index: usize,
        fault: &RecordedFault,
    ) -> Result<(), &'static str> {
        let mm = self.processes[index].mm;
        let Some(shown) = self.show(sim, index, fault) else { return Err(NO_MAPPING) };
        self.note(match (shown.backing, shown.shared) {
            (Backing::Anonymous, _) => "anonymous memory that no call mapped, page by page",
            (_, true) => "shared memory that no call mapped, page by page",
            (_, false) => "program files that no call mapped, page by page",
        });
        let page = fault.address.align_down(PageSize::Size4K).0;
        let end = page + PageSize::Size4K.bytes();
        let stack = (STACKS..DEFAULT_MAP_WINDOW).contains(&page) && shown.backing == Backing::Anonymous;
        sim.with(|m| {
            m.map_ordinary(mm, (page, end), shown.backing, |vma| {
                set_rights(vma, rights(fault));
                vma.shared = shown.shared;
                vma.grows_down = stack;
            });
        });
        self.processes[index].inferred.insert(page >> 12);
        if shown.present {
            self.preset(sim, index, fault);
        }
        Ok(())
    }

    /// What kind of mapping gives the recorded result.
    fn show(&mut self, sim: &Simulation, index: usize, fault: &RecordedFault) -> Option<Shown> {
        let ret = fault.ret?;
        if ret.is_error() {
            return None;
        }
        let write = fault.error_code.is_write();
        let mut file = |ops| self.program_file(sim, index, fault, ops);
        let private = |backing| Shown { backing, shared: false, present: false };
        let shared = |backing| Shown { backing, shared: true, present: false };
        Some(if fault.error_code.is_protection() {
            // An entry was there: of a page that a fork left shared, or of the program's file.
            let anonymous = !fault.copied || self.processes[index].old;
            let backing = if anonymous {
                Backing::Anonymous
            } else {
                self.program_file(sim, index, fault, CacheOps::Filemap)
            };
            Shown { backing, shared: false, present: true }
        } else if ret.contains(VmFault::NOPAGE) {
            private(file(if fault.retried { CacheOps::SpecialFrames } else { CacheOps::Filemap }))
        } else if ret == VmFault::default() && fault.finished {
            private(file(CacheOps::SpecialPages))
        } else if ret == VmFault::default() {
            private(Backing::Anonymous)
        } else if write && !fault.retried && !ret.contains(VmFault::COMPLETED) {
            private(file(CacheOps::Filemap))
        } else {
            shared(file(if fault.retried { CacheOps::SysvShm } else { CacheOps::Shmem }))
        })
    }

    /// A file for a mapping that no call showed. Pages of one program are taken for pages of one file.
    fn program_file(
        &mut self,
        sim: &Simulation,
        index: usize,
        fault: &RecordedFault,
        ops: CacheOps,
    ) -> Backing {
        let known = self.processes[index].program.filter(|_| ops == CacheOps::Filemap);
        let file = known.unwrap_or_else(|| sim.with(|m| m.new_cached_file(ops)));
        if ops == CacheOps::Filemap {
            self.processes[index].program = Some(file);
        }
        Backing::Cached { file, pgoff: fault.address.vpn().0 }
    }

    /// An inferred mapping allows at least what the recorded faults in it were allowed, and had the entries that they met.
    fn adjust_inferred(&mut self, sim: &Simulation, index: usize, vma: &Vma, fault: &RecordedFault) {
        let page = fault.address.vpn().0;
        if !self.processes[index].inferred.contains(&page) || fault.ret.is_none_or(VmFault::is_error) {
            return;
        }
        let mut wanted = *vma;
        set_rights(&mut wanted, rights(fault));
        let more = (wanted.write && !vma.write) || (wanted.exec && !vma.exec);
        if more {
            self.note("rights of inferred mappings, from the faults in them");
            let mm = self.processes[index].mm;
            let start = page << 12;
            sim.with(|m| {
                m.change_vmas(mm, start, start + PageSize::Size4K.bytes(), |v| {
                    v.write |= wanted.write;
                    v.exec |= wanted.exec;
                });
            });
        }
        if fault.error_code.is_protection() {
            self.preset(sim, index, fault);
        }
    }

    /// The read-only entry that a protection fault met in an inferred mapping.
    fn preset(&mut self, sim: &Simulation, index: usize, fault: &RecordedFault) {
        let mm = self.processes[index].mm;
        let (va, shared) = (fault.address, fault.copied);
        if sim.with(|m| m.preset_ordinary(mm, va, shared)) {
            self.note("page-table entries outside DAX that no event showed, from protection faults");
        }
    }
}

/// Sets the PROT bits of mmap.
const fn set_rights(vma: &mut Vma, prot: u32) {
    (vma.read, vma.write, vma.exec) = (prot & 1 != 0, prot & 2 != 0, prot & 4 != 0);
}

/// The PROT bits that an access needs.
fn rights(fault: &RecordedFault) -> u32 {
    let write = if fault.error_code.is_write() { 2 } else { 0 };
    let exec = if fault.error_code.is_fetch() { 4 } else { 0 };
    1 | write | exec
}
