//! What the trace does not say outright: processes, DAX mappings, files and blocks that were there before it began.

use std::collections::{BTreeMap, BTreeSet};

use daxsim_types::{FileSystem, PageSize, Pfn, VirtAddr};

use super::group::{DaxView, IomapView, RecordedFault};
use crate::kernel::dax_entry::PMD_PAGES;
use crate::kernel::extent::BlockState;
use crate::kernel::filemap::CacheId;
use crate::kernel::vma::{Backing, Vma};
use crate::kernel::{FileId, MmId, NewFile};
use crate::machine::Machine;
use crate::simulation::{SimError, Simulation};

/// A recorded mmap whose file is not known yet: the fd says nothing, the first fault in it will.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingMap {
    pub(super) end: u64,
    pub(super) prot: u32,
    fd: i32,
    sync: bool,
    pub(super) shared: bool,
    /// File page of the first page.
    pub(super) pgoff: u64,
    /// Mappings of one number are of one file.
    pub(super) file: u64,
}

/// What a recorded mmap asked for.
#[derive(Clone, Copy, Debug)]
pub struct MapCall {
    /// PROT bits.
    pub prot: u32,
    /// MAP bits.
    pub flags: u32,
    /// File descriptor.
    pub fd: i32,
    /// File offset in bytes.
    pub offset: u64,
}

/// `MAP_SYNC` (include/uapi/asm-generic/mman-common.h).
const MAP_SYNC: u32 = 0x8_0000;
/// `MAP_TYPE`, and `MAP_PRIVATE` among the types.
pub(super) const MAP_TYPE: u32 = 0xf;
pub(super) const MAP_PRIVATE: u32 = 2;

impl PendingMap {
    /// The part from `at` on, where the whole begins at `start`.
    const fn from(self, start: u64, at: u64) -> Self {
        Self { pgoff: self.pgoff + ((at - start) >> 12), ..self }
    }
}

/// One process of the trace.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) mm: MmId,
    pub(super) pending: BTreeMap<u64, PendingMap>,
    /// File behind each descriptor, as the first fault in a mapping made through it showed.
    fds: BTreeMap<i32, FileId>,
    /// Pages whose mapping was inferred.
    pub(super) inferred: BTreeSet<u64>,
    /// Whether its program was started before the trace began.
    pub(super) old: bool,
    /// The file of its program.
    pub(super) program: Option<CacheId>,
}

impl Process {
    /// One with an address space of which nothing is known yet.
    pub(super) const fn new(mm: MmId, old: bool) -> Self {
        Self {
            mm,
            pending: BTreeMap::new(),
            fds: BTreeMap::new(),
            inferred: BTreeSet::new(),
            old,
            program: None,
        }
    }
}

/// Processes and files as far as the trace has shown them.
#[derive(Debug)]
pub struct State {
    fs: FileSystem,
    pub(super) processes: Vec<Process>,
    /// Process of each pid.
    pub(super) pids: BTreeMap<u32, usize>,
    /// Process of each command name: tasks of one name are taken for threads of one process.
    pub(super) comms: BTreeMap<String, usize>,
    files: BTreeMap<((u32, u32), u64), FileId>,
    /// Files in the page cache, by the number that their mappings have in common.
    pub(super) cached: BTreeMap<u64, CacheId>,
    /// Mappings of files so far.
    mapped: u64,
    /// Things inferred, by what they are.
    pub inferred: BTreeMap<&'static str, u64>,
}

fn got_sigbus(fault: &RecordedFault) -> bool {
    fault.ret.is_some_and(|r| r.contains(daxsim_types::VmFault::SIGBUS))
}

impl State {
    /// Nothing known yet.
    #[must_use]
    pub fn new(fs: FileSystem) -> Self {
        Self {
            fs,
            processes: Vec::new(),
            pids: BTreeMap::new(),
            comms: BTreeMap::new(),
            files: BTreeMap::new(),
            cached: BTreeMap::new(),
            mapped: 0,
            inferred: BTreeMap::new(),
        }
    }

    pub(super) fn note(&mut self, what: &'static str) {
        *self.inferred.entry(what).or_default() += 1;
    }

    /// The process of a task that maps DAX files, if it is known already.
    #[must_use]
    pub fn known_process(&self, pid: u32) -> Option<MmId> {
        self.pids.get(&pid).map(|p| self.processes[*p].mm)
    }

    /// How many processes the trace has shown.
    pub(super) fn processes_known(&self) -> usize {
        self.processes.len()
    }

    /// The address space of a task that is, or by its name belongs to, a process known already.
    pub(super) fn known_task(&mut self, sim: &Simulation, pid: u32, comm: &str) -> Option<MmId> {
        let known = self.pids.contains_key(&pid) || (pid != 0 && self.comms.contains_key(comm));
        known.then(|| self.process(sim, pid, comm))
    }

    /// The process of a task, made if it is new. Tasks of one command name share an address space unless a fork was seen.
    pub fn process(&mut self, sim: &Simulation, pid: u32, comm: &str) -> MmId {
        let index = self.process_index(sim, pid, comm);
        self.processes[index].mm
    }

    pub(super) fn process_index(&mut self, sim: &Simulation, pid: u32, comm: &str) -> usize {
        if let Some(index) = self.pids.get(&pid) {
            return *index;
        }
        let index = match self.comms.get(comm) {
            Some(index) => {
                let index = *index;
                self.note("threads of one process, by their common name");
                index
            }
            None => {
                let mm = sim.with(Machine::new_mm);
                self.processes.push(Process::new(mm, true));
                let index = self.processes.len() - 1;
                self.comms.insert(comm.to_owned(), index);
                index
            }
        };
        self.pids.insert(pid, index);
        index
    }

    /// A new task. Unless it shares the address space it gets one of its own, empty as yet: that of its parent and its own
    /// are returned.
    pub fn fork(
        &mut self,
        sim: &Simulation,
        parent: u32,
        comm: &str,
        child: u32,
        shares_mm: bool,
    ) -> Option<(MmId, MmId)> {
        let index = self.process_index(sim, parent, comm);
        if shares_mm {
            self.pids.insert(child, index);
            return None;
        }
        let from = self.processes[index].mm;
        let mm = sim.with(Machine::new_mm);
        self.processes.push(Process { mm, ..self.processes[index].clone() });
        self.pids.insert(child, self.processes.len() - 1);
        Some((from, mm))
    }

    /// A recorded mmap.
    pub fn mapped(&mut self, sim: &Simulation, pid: u32, comm: &str, range: (u64, u64), map: MapCall) {
        let index = self.process_index(sim, pid, comm);
        // A loader maps a file whole, then its segments over that.
        let under = self.processes[index].pending.range(..=range.0).next_back().map(|(_, p)| *p);
        let same = under.filter(|p| p.end > range.0 && p.fd == map.fd).map(|p| p.file);
        self.mapped += u64::from(same.is_none());
        let file = same.unwrap_or(self.mapped);
        self.forget_pending(index, range.0, range.1);
        self.processes[index].pending.insert(
            range.0,
            PendingMap {
                end: range.1,
                prot: map.prot,
                fd: map.fd,
                sync: map.flags & MAP_SYNC != 0,
                shared: map.flags & MAP_TYPE != MAP_PRIVATE,
                pgoff: map.offset >> 12,
                file,
            },
        );
    }

    /// A recorded mprotect of a mapping whose file is not known yet.
    pub fn protected(&mut self, sim: &Simulation, pid: u32, (start, end): (u64, u64), prot: u32) {
        let Some(index) = self.pids.get(&pid).copied() else { return };
        let known = sim.with(|m| m.mm(self.processes[index].mm).intersects(start, end));
        let pending = &mut self.processes[index].pending;
        let inside: Vec<(u64, PendingMap)> =
            pending.range(..end).filter(|(_, p)| p.end > start).map(|(s, p)| (*s, *p)).collect();
        if known {
            return;
        }
        for (at, map) in inside {
            pending.remove(&at);
            if at < start {
                pending.insert(at, PendingMap { end: start, ..map });
            }
            let inner = at.max(start);
            pending.insert(inner, PendingMap { end: map.end.min(end), prot, ..map.from(at, inner) });
            if map.end > end {
                pending.insert(end, map.from(at, end));
            }
        }
    }

    /// A recorded munmap.
    pub fn unmapped(&mut self, sim: &Simulation, pid: u32, comm: &str, range: (u64, u64)) {
        let index = self.process_index(sim, pid, comm);
        self.forget_pending(index, range.0, range.1);
    }

    /// A recorded mremap: what is known of a mapping without a file goes along; `to` is the whole new place.
    pub(super) fn remapped(
        &mut self,
        sim: &Simulation,
        pid: u32,
        comm: &str,
        (start, end): (u64, u64),
        to: (u64, u64),
        keeps_old: bool,
    ) {
        let index = self.process_index(sim, pid, comm);
        let found = self.processes[index].pending.range(..=start).next_back().map(|(at, map)| (*at, *map));
        let found = found.filter(|(_, map)| map.end > start);
        if !keeps_old {
            self.forget_pending(index, start, end);
        }
        if to.0 != start {
            self.forget_pending(index, to.0, to.1);
        }
        if let Some((at, map)) = found {
            let moved = PendingMap { end: to.1, ..map.from(at, start) };
            self.processes[index].pending.insert(to.0, moved);
        }
    }

    pub(super) fn forget_pending(&mut self, index: usize, start: u64, end: u64) {
        self.forget_inferred(index, start, end);
        let pending = &mut self.processes[index].pending;
        let touched: Vec<(u64, PendingMap)> =
            pending.range(..end).filter(|(_, p)| p.end > start).map(|(s, p)| (*s, *p)).collect();
        for (at, map) in touched {
            pending.remove(&at);
            if at < start {
                pending.insert(at, PendingMap { end: start, ..map });
            }
            if map.end > end {
                pending.insert(end, map.from(at, end));
            }
        }
    }

    /// The file behind a task's descriptor, if it is known, for looking on only.
    #[must_use]
    pub fn fd(&self, pid: u32, fd: i32) -> Option<FileId> {
        let index = *self.pids.get(&pid)?;
        self.processes[index].fds.get(&fd).copied()
    }

    /// The file behind a task's descriptor, if a fault in a mapping made through it has shown it.
    pub fn file_of_fd(&mut self, pid: u32, fd: i32) -> Option<FileId> {
        let file = self.fd(pid, fd)?;
        self.note("files behind descriptors, from mappings made through them");
        Some(file)
    }

    /// The file of an inode, if a fault has shown it.
    #[must_use]
    pub fn known_file(&self, dev: (u32, u32), ino: u64) -> Option<FileId> {
        self.files.get(&(dev, ino)).copied()
    }

    /// Makes sure that file, mapping and blocks are as the fault found them. Returns the address space.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSpace`] if the recorded files do not fit the simulated device.
    pub fn prepare(
        &mut self,
        sim: &Simulation,
        fault: &RecordedFault,
        comm: &str,
        dax: &DaxView,
    ) -> Result<MmId, SimError> {
        let index = self.process_index(sim, fault.pid, comm);
        let file = self.file(sim, fault, dax)?;
        let mm = self.processes[index].mm;
        self.ensure_vma(sim, index, fault, dax, file);
        self.ensure_blocks(sim, fault, dax, file)?;
        self.ensure_present(sim, mm, fault, dax, file);
        Ok(mm)
    }

    fn file(&mut self, sim: &Simulation, fault: &RecordedFault, dax: &DaxView) -> Result<FileId, SimError> {
        // A fault that got SIGBUS lies beyond the end of the file.
        let beyond = got_sigbus(fault);
        let shown = dax.file_pages.map(|pages| pages << 12);
        if let Some(file) = self.files.get(&(dax.dev, dax.ino)) {
            let least = if beyond { 0 } else { (dax.pgoff + 1) << 12 };
            sim.with(|m| {
                let file = m.file_mut(*file);
                file.size = shown.unwrap_or_else(|| file.size.max(least));
            });
            return Ok(*file);
        }
        let size = shown.unwrap_or(if beyond { dax.pgoff << 12 } else { (dax.pgoff + 1) << 12 });
        let file = sim.new_file(self.fs, size, &NewFile::Sparse)?;
        let name = format!("dev {}:{} ino {:#x}", dax.dev.0, dax.dev.1, dax.ino);
        sim.with(|m| m.file_mut(file).name = name);
        self.files.insert((dax.dev, dax.ino), file);
        self.note("files, from the first fault in them");
        Ok(file)
    }

    /// The mapping: a recorded mmap, the borders that a PMD event shows, or the one page.
    fn ensure_vma(
        &mut self,
        sim: &Simulation,
        index: usize,
        fault: &RecordedFault,
        dax: &DaxView,
        file: FileId,
    ) {
        let mm = self.processes[index].mm;
        let va = fault.address;
        let known = sim.with(|m| m.mm(mm).find_vma(va).copied());
        if let Some(vma) = known {
            if vma.file_page(va) == Some((file, dax.pgoff)) {
                if dax.synchronous && !vma.sync {
                    self.note("MAP_SYNC of mappings, from a synchronous fault");
                    sim.with(|m| {
                        if let Some(v) = m.mm_mut(mm).vmas.get_mut(&vma.start) {
                            v.sync = true;
                        }
                    });
                }
                if fault.error_code.is_write() && !vma.write && fault.ret.is_some() {
                    self.note("write permission of mappings, from a write fault");
                    sim.with(|m| {
                        if let Some(v) = m.mm_mut(mm).vmas.get_mut(&vma.start) {
                            v.write = true;
                        }
                    });
                }
                return;
            }
            // Another mapping was there: it must have gone without a trace.
            self.note("mappings replaced without an event");
            sim.with(|m| m.forget_range(mm, va.align_down(PageSize::Size4K).0, PageSize::Size4K.bytes()));
        }
        let page = va.align_down(PageSize::Size4K).0;
        let pending = self.processes[index].pending.range(..=va.0).next_back().map(|(s, p)| (*s, *p));
        if let Some((_, map)) = pending.filter(|(_, p)| p.end > va.0) {
            self.processes[index].fds.insert(map.fd, file);
        }
        let limit = sim.with(|m| m.user_end());
        let possible = |(start, end): &(u64, u64)| {
            *start <= page && page < *end && *end <= limit && (start | end).is_multiple_of(4096)
        };
        let borders = dax.vma.filter(possible);
        let pending = pending.filter(|(_, p)| p.end > va.0);
        let sync = dax.synchronous || pending.is_some_and(|(_, p)| p.sync);
        let (start, end, write) = match (borders, pending) {
            (_, Some((start, p))) => (start, p.end, p.prot & 2 != 0),
            (Some((start, end)), None) => {
                self.note("mappings made before the trace, from a PMD fault's borders");
                (start, end, true)
            }
            (None, None) => {
                self.note("mappings made before the trace, page by page");
                (page, page + PageSize::Size4K.bytes(), true)
            }
        };
        let Some(pgoff) = dax.pgoff.checked_sub((page - start) >> 12) else { return };
        sim.with(|m| {
            m.forget_range(mm, start, end - start);
            let lock = m.new_vma_lock();
            let backing = Backing::Dax { file, pgoff };
            m.insert_vma(
                mm,
                Vma {
                    start,
                    end,
                    backing,
                    read: true,
                    write,
                    exec: false,
                    grows_down: false,
                    shared: dax.shared,
                    sync,
                    no_huge: false,
                    has_copies: false,
                    lock,
                },
            );
        });
    }

    /// The blocks that the fault's iomap lookups showed, or that its result implies.
    fn ensure_blocks(
        &mut self,
        sim: &Simulation,
        fault: &RecordedFault,
        dax: &DaxView,
        file: FileId,
    ) -> Result<(), SimError> {
        let mut state = BlockState::Written;
        if let Some(iomap) = fault.iomaps.first() {
            if self.place_recorded(sim, file, iomap) {
                return Ok(());
            }
            self.note("extents beyond the end of the device (pmem.capacity), placed elsewhere on it");
            state = state_before(iomap);
        }
        let major = fault.ret.is_some_and(|r| r.contains(daxsim_types::VmFault::MAJOR));
        let known = sim.with(|m| m.file(file).extents.lookup(dax.pgoff).block.is_some());
        if known || dax.hole || major || got_sigbus(fault) {
            return Ok(());
        }
        if fault.iomaps.is_empty() {
            self.note("blocks, because a fault mapped them without allocating");
        }
        let (page, pages) =
            if dax.pmd_served { (dax.pgoff & !(PMD_PAGES - 1), PMD_PAGES) } else { (dax.pgoff, 1) };
        sim.with(|m| {
            let capacity = m.spec.pmem.capacity;
            let no_space = |_| SimError::NoSpace { bytes: pages << 12, capacity };
            let pfn = m.allocator.allocate(pages).map_err(no_space)?;
            m.file_mut(file).extents.map(page, pages, pfn, state);
            Ok(())
        })
    }

    /// Puts a recorded extent where it was on the device; false if it lies beyond the simulated one.
    fn place_recorded(&mut self, sim: &Simulation, file: FileId, iomap: &IomapView) -> bool {
        if !(iomap.mapped || iomap.unwritten) {
            return true;
        }
        let (page, pages) = (iomap.offset >> 12, iomap.length >> 12);
        let state = state_before(iomap);
        let at = iomap.addr >> 12;
        if at.checked_add(pages).is_none_or(|end| end > sim.with(|m| m.spec.pmem.capacity >> 12)) {
            return false;
        }
        let placed = sim.with(|m| {
            let pfn = Pfn((m.spec.pmem.base >> 12) + at);
            let extents = &mut m.file_mut(file).extents;
            let mut any = false;
            // Only what is not known yet: the simulation's own conversions stand.
            let mut offset = 0;
            while offset < pages {
                let found = extents.lookup(page + offset);
                let run = found.len.min(pages - offset);
                if found.block.is_none() {
                    extents.map(page + offset, run, Pfn(pfn.0 + offset), state);
                    any = true;
                }
                offset += run;
            }
            any
        });
        if placed {
            self.note("blocks, from iomap events");
        }
        true
    }

    /// A protection fault proves that an entry was there: if the simulation has none, it was made before the trace began.
    fn ensure_present(
        &mut self,
        sim: &Simulation,
        mm: MmId,
        fault: &RecordedFault,
        dax: &DaxView,
        file: FileId,
    ) {
        if !fault.error_code.is_protection() {
            return;
        }
        let huge = dax.pmd_served;
        let made = sim.with(|m| {
            let block = m.file(file).extents.lookup(dax.pgoff).block;
            let Some((pfn, BlockState::Written)) = block else { return false };
            m.preset_read_only(mm, fault.address, pfn, huge)
        });
        if made {
            self.note("page-table entries made before the trace, from protection faults");
        }
    }

    /// Whether an address lies in a mapping that is known to be of a DAX file.
    #[must_use]
    pub fn is_known_dax(&self, sim: &Simulation, pid: u32, va: VirtAddr) -> bool {
        self.known_process(pid)
            .is_some_and(|mm| sim.with(|m| m.mm(mm).find_vma(va).is_some_and(|v| v.file_page(va).is_some())))
    }
}

/// State of a recorded extent before the fault that it was recorded in: a newly allocated one was unwritten, or a hole, a
/// moment before.
fn state_before(iomap: &IomapView) -> BlockState {
    if iomap.mapped && !iomap.new { BlockState::Written } else { BlockState::Unwritten }
}
