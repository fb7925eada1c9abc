//! The machine and the kernel state on it, as one value that the running work shares.

use daxsim_configs::kernel::{FlushMechanism, KernelSpec};
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CacheLine, CpuId, FileSystem, PageSize, Pfn, Time, VirtAddr};

use rustc_hash::FxHashMap;

use crate::apic::{Fabric, RarTable};
use crate::cpu::Cpu;
use crate::durability::Ledger;
use crate::engine::{LockClass, LockId, Locks, Turns};
use crate::frames::{Region, UserFrames};
use crate::inject::Injections;
use crate::kernel::broadcast::GlobalAsids;
use crate::kernel::call_function::CallLines;
use crate::kernel::extent::Mapping;
use crate::kernel::file::{BlockAllocator, File, FileId, NewFile, NoSpace};
use crate::kernel::filemap::PageCache;
use crate::kernel::lazy_flush::LazyFlushes;
use crate::kernel::mm::{CpuSet, Mm, MmId};
use crate::kernel::page::PageMap;
use crate::kernel::sleep::SleeperLines;
use crate::kernel::vma::Vma;
use crate::kernel::{FaultTrail, Globals, KernelLines, LineName, PageLists};
use crate::measure::{FlushReason, Measurements, Part, PathStep};
use crate::memory::{Access, Memory};
use crate::mmu::Refusal;
use crate::mmu::entry::Entry;
use crate::mmu::nested::HostMap;
use crate::mmu::table::{Slot, Tables};

/// Physical layout of simulated DRAM, as fractions of its capacity: kernel objects, struct pages, page tables, user memory.
mod layout {
    pub const OBJECTS: u64 = 1 << 20;
    pub const PAGE_MAP_SIXTEENTH: u64 = 2;
    pub const TABLES_SIXTEENTH: u64 = 6;
    pub const USER_SIXTEENTH: u64 = 10;
    pub const END_SIXTEENTH: u64 = 16;
}

/// A simulated machine with its kernel.
pub struct Machine {
    pub(crate) spec: MachineSpec,
    pub(crate) kernel: KernelSpec,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) turns: Turns,
    pub(crate) recalled_hits: u64,
    /// What each CPU knows of the fault that it is handling.
    pub(crate) trails: Vec<FaultTrail>,
    /// Lines of each CPU's `is_lazy` and of what calls between CPUs use.
    pub(crate) call_lines: CallLines,
    /// Of each CPU, what a sleep and a waking share.
    pub(crate) sleepers: Vec<SleeperLines>,
    pub(crate) fabric: Fabric,
    pub(crate) rar: RarTable,
    pub(crate) lazy: LazyFlushes,
    pub(crate) memory: Memory,
    pub(crate) tables: Tables,
    /// Where the host has this machine's memory, if it is a virtual one.
    pub(crate) host: Option<HostMap>,
    pub(crate) locks: Locks,
    pub(crate) lines: KernelLines,
    pub(crate) globals: Globals,
    pub(crate) global_asids: GlobalAsids,
    pub(crate) pages: PageMap,
    pub(crate) mms: Vec<Mm>,
    pub(crate) files: Vec<File>,
    pub(crate) allocator: BlockAllocator,
    pub(crate) user_frames: UserFrames,
    /// Private copies that fork left mapped more than once: frame to number of mappings.
    pub(crate) shared_copies: FxHashMap<u64, u32>,
    /// Locks of VMAs that are gone.
    pub(crate) spare_vma_locks: Vec<LockId>,
    /// Failures that tests asked for.
    pub(crate) injections: Injections,
    pub(crate) page_cache: PageCache,
    pub(crate) page_lists: PageLists,
    pub(crate) measure: Measurements,
    pub(crate) ledger: Ledger,
}

impl Machine {
    /// A machine at rest, with an empty file system of kind `fs` on its persistent memory.
    #[must_use]
    pub fn new(spec: MachineSpec, kernel: KernelSpec, fs: FileSystem) -> Self {
        let sixteenth = (spec.dram.capacity / 16).max(1 << 20) & !0xfff;
        let mut lines = KernelLines::new(layout::OBJECTS, sixteenth);
        let mut locks = Locks::default();
        let tables_first = (layout::TABLES_SIXTEENTH * sixteenth) >> 12;
        let mut tables = Tables::new(Pfn(tables_first), spec.mmu.levels);
        tables.set_order(Region::new(&spec, tables_first, (layout::USER_SIXTEENTH * sixteenth) >> 12));
        let boot_root = tables.allocate(|_| {
            locks.create(LockClass::PageTable, lines.fresh(LineName::Lock(LockClass::PageTable)))
        });
        let count = spec.cpu.count;
        let base = Pfn(spec.pmem.base >> 12);
        let globals = Globals {
            zero_page: Pfn(0x100),
            huge_zero_page: Pfn(PageSize::Size2M.pages()),
            memtype_lock: locks.create(LockClass::Memtype, lines.fresh(LineName::Lock(LockClass::Memtype))),
            resource_line: lines.fresh(LineName::Resource),
            journal_state_line: lines.fresh(LineName::JournalState),
            transaction_line: lines.fresh(LineName::Transaction),
            pgmap_ref_lines: Vec::new(),
        };
        // Where it is never taken it needs no line of its own, so that the lines of other objects lie as without it.
        let in_use = (kernel.tree.invlpgb && spec.mmu.has_invlpgb())
            || (kernel.tlb_flush.rar && spec.ipi.rar_entries > 0);
        let asid_line = match in_use {
            true => lines.fresh(LineName::Lock(LockClass::GlobalAsid)),
            false => globals.resource_line,
        };
        let asid_lock = locks.create(LockClass::GlobalAsid, asid_line);
        let global_asids = GlobalAsids::new(&kernel.tree, asid_lock);
        Self {
            turns: Turns::new(usize::from(count)),
            cpus: (0..count).map(|index| Cpu::new(&spec, index, boot_root)).collect(),
            trails: (0..count).map(|_| FaultTrail::default()).collect(),
            call_lines: CallLines::new(count, &mut lines, kernel.tlb_flush.consolidated_lines),
            rar: RarTable::new(spec.ipi.rar_entries, count, &mut lines),
            lazy: LazyFlushes::new(
                kernel.tlb_flush.mechanism == FlushMechanism::Lazy,
                count,
                kernel.tlb_flush.lazy_states,
                &mut lines,
            ),
            sleepers: (0..count).map(|_| SleeperLines::new(&mut lines)).collect(),
            fabric: Fabric::new(&spec),
            memory: Memory::new(&spec),
            host: spec.nested.as_ref().map(|nested| {
                let end = spec.pmem.base + spec.pmem.capacity;
                HostMap::new(nested, &spec).mapping_on_touch(
                    nested.exit,
                    layout::USER_SIXTEENTH * sixteenth,
                    end,
                )
            }),
            pages: PageMap::new(layout::PAGE_MAP_SIXTEENTH * sixteenth, 4 * sixteenth),
            allocator: BlockAllocator::new(fs, base, spec.pmem.capacity >> 12)
                .with_device_alignment(spec.pmem.devdax_alignment),
            user_frames: UserFrames::new(
                &spec,
                (layout::USER_SIXTEENTH * sixteenth) >> 12,
                (layout::END_SIXTEENTH * sixteenth) >> 12,
            ),
            recalled_hits: 0,
            shared_copies: FxHashMap::default(),
            spare_vma_locks: Vec::new(),
            mms: Vec::new(),
            files: Vec::new(),
            injections: Injections::default(),
            page_cache: PageCache::default(),
            page_lists: PageLists::new(count, &mut locks, &mut lines),
            measure: Measurements::default(),
            ledger: Ledger::default(),
            spec,
            kernel,
            tables,
            locks,
            lines,
            globals,
            global_asids,
        }
    }

    pub(crate) fn mm(&self, id: MmId) -> &Mm {
        &self.mms[id.0 as usize]
    }

    pub(crate) fn mm_mut(&mut self, id: MmId) -> &mut Mm {
        &mut self.mms[id.0 as usize]
    }

    pub(crate) fn file(&self, id: FileId) -> &File {
        &self.files[id.0 as usize]
    }

    pub(crate) fn file_mut(&mut self, id: FileId) -> &mut File {
        &mut self.files[id.0 as usize]
    }

    /// A lock on a line of its own. An `rw_semaphore` has its owner there, too, which who takes it stores
    /// (`kernel/locking/rwsem.c:rwsem_set_reader_owned`, `rwsem_set_owner`).
    pub(crate) fn new_lock(&mut self, class: LockClass) -> LockId {
        let line = self.lines.fresh(LineName::Lock(class));
        let counted = class == LockClass::Vma && !self.kernel.tree.vma_lock_rwsem;
        let owner = (class.is_rwsem() && !counted).then_some(line);
        self.locks.create_split(class, line, owner)
    }

    /// `mm_struct` keeps the count and the owner of its `mmap_lock` on two lines (`include/linux/mm_types.h`).
    fn new_mmap_lock(&mut self) -> LockId {
        let line = self.lines.fresh(LineName::Lock(LockClass::Mmap));
        let owner = self.lines.fresh(LineName::MmapOwner);
        self.locks.create_split(LockClass::Mmap, line, Some(owner))
    }

    /// Keeps the locks of unmapped VMAs for new ones, so that a program that maps and unmaps for ever needs no more memory. The
    /// part of a VMA that stays before the unmapped one keeps its lock.
    pub(crate) fn retire_vma_locks(&mut self, mm: MmId, unmapped: &[Vma]) {
        for vma in unmapped {
            let before = vma.start.checked_sub(1).and_then(|at| self.mm(mm).find_vma(VirtAddr(at)));
            if before.is_none_or(|left| left.lock != vma.lock) {
                self.spare_vma_locks.push(vma.lock);
            }
        }
    }

    /// A lock for a new VMA.
    pub(crate) fn new_vma_lock(&mut self) -> LockId {
        self.spare_vma_locks.pop().unwrap_or_else(|| self.new_lock(LockClass::Vma))
    }

    /// A zeroed page table with its split lock, which lies in the frame's struct page.
    pub(crate) fn new_table(&mut self) -> Pfn {
        self.measure.kernel.tables_allocated += 1;
        let Self { tables, locks, pages, .. } = self;
        tables.allocate(|pfn| locks.create(LockClass::PageTable, pages.line(pfn)))
    }

    /// Sees to it that a table is in a frame that somebody else chose; true if that was given to another table before.
    pub(crate) fn place_table(&mut self, frame: Pfn) -> bool {
        let Self { tables, locks, pages, .. } = self;
        tables.settle_in(frame, |pfn| locks.create(LockClass::PageTable, pages.line(pfn)))
    }

    /// An empty address space.
    pub fn new_mm(&mut self) -> MmId {
        let id = MmId(u32::try_from(self.mms.len()).unwrap_or(u32::MAX));
        let mm = Mm {
            id,
            pgd: self.new_table(),
            vmas: std::collections::BTreeMap::new(),
            tlb_gen: 1,
            global_asid: None,
            asid_transition: false,
            cpumask: CpuSet::default(),
            next_trim_cpumask: self.now_in_jiffies() + u64::from(self.kernel.tree.hz),
            mmap_lock: self.new_mmap_lock(),
            pmd_lock: self.new_lock(LockClass::Pmd),
            gen_line: self.lines.fresh(LineName::TlbGen),
            mask_line: self.lines.fresh(LineName::CpuMask),
            gathers: 0,
            gathers_line: self.lines.fresh(LineName::FlushPending),
            rss_file: 0,
            rss_anon: 0,
            held: Default::default(),
        };
        self.mms.push(mm);
        id
    }

    /// A file of `size` bytes. Making it takes no simulated time: it is what the program finds.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] if the device cannot hold it.
    pub fn new_file(&mut self, fs: FileSystem, size: u64, new: &NewFile) -> Result<FileId, NoSpace> {
        let pages = size.div_ceil(PageSize::Size4K.bytes());
        let extents = self.allocator.lay_out(new, pages)?;
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        let file = File {
            fs,
            size,
            extents,
            entries: Default::default(),
            mappings: Vec::new(),
            leaving: Vec::new(),
            invalidate_lock: self.new_lock(LockClass::Invalidate),
            xa_lock: self.new_lock(LockClass::XArray),
            i_mmap_lock: self.new_lock(LockClass::IMmap),
            extent_lock: self.new_lock(LockClass::Extents),
            extent_line: self.lines.fresh(LineName::ExtentStatus),
            metadata_dirty: false,
            cow: Default::default(),
            reflink: false,
            remapping: false,
            name: String::new(),
        };
        self.files.push(file);
        Ok(id)
    }

    /// Allocates and converts blocks for a write fault; the mapping that the fault then finds.
    pub(crate) fn allocate_for_write(
        &mut self,
        file: FileId,
        page: u64,
        size: PageSize,
    ) -> Result<Mapping, NoSpace> {
        let file = &mut self.files[file.0 as usize];
        self.allocator.allocate_for_write(&mut file.extents, page, size)?;
        file.metadata_dirty = true;
        Ok(file.extents.lookup(page))
    }

    /// Makes a read-only entry, as a read fault before the trace would have left it; false if an entry is there already.
    pub(crate) fn preset_read_only(&mut self, mm: MmId, va: VirtAddr, pfn: Pfn, huge: bool) -> bool {
        let level = u32::from(huge);
        let Some(slot) = self.free_slot(mm, va, level) else { return false };
        let knobs = &self.kernel.dax;
        let (sw, leaf) =
            if huge { (knobs.pmd_block_sw_bits, Entry::PS) } else { (knobs.pte_block_sw_bits, 0) };
        let special = if sw.special { Entry::SPECIAL } else { 0 };
        let devmap = if sw.devmap { Entry::DEVMAP } else { 0 };
        let head = if huge { Pfn(pfn.0 & !(PageSize::Size2M.pages() - 1)) } else { pfn };
        let bits = Entry::P | Entry::US | Entry::A | Entry::NX | leaf | special | devmap;
        self.tables.write(slot, Entry::leaf(head, bits));
        self.count_at_once(mm, Entry::leaf(head, bits), level, 1);
        true
    }

    /// The slot of `level` for an address, with the tables above it; `None` if it is taken.
    pub(crate) fn free_slot(&mut self, mm: MmId, va: VirtAddr, level: u32) -> Option<Slot> {
        let mut table = self.mm(mm).pgd;
        for at in ((level + 1)..=self.tables.top()).rev() {
            let slot = Slot::of(table, va, at);
            let entry = self.tables.read(slot);
            if entry.is_leaf_at(at) && !entry.is_none() {
                return None;
            }
            if !entry.is_present() {
                let new = self.new_table();
                self.tables.write(slot, Entry::table(new));
            }
            table = self.tables.read(slot).pfn();
        }
        let slot = Slot::of(table, va, level);
        self.tables.read(slot).is_none().then_some(slot)
    }

    /// Counts one mapping of a frame of the device more or less, where the variant counts them, in no time.
    pub(crate) fn count_at_once(&mut self, mm: MmId, entry: Entry, level: u32, by: i64) {
        let refs = i64::from(self.kernel.dax.refcount_per_map);
        let pfn = entry.pfn_at(level);
        if refs == 0 || !entry.is_mapped() || !self.is_device_frame(pfn) {
            return;
        }
        self.pages.update(pfn, |c| {
            c.refs += by * refs;
            c.maps += by;
        });
        self.mm_mut(mm).rss_file += by << (9 * level);
    }

    /// A frame of user memory.
    pub(crate) fn new_user_frame(&mut self) -> Pfn {
        let kept = self.kept_frames();
        self.user_frames.free.extend(kept);
        self.user_frames.take(PageSize::Size4K)
    }

    /// Gives a frame of user memory back, or one mapping of it.
    pub(crate) fn release_user_frame(&mut self, frame: Pfn) {
        if let Some(maps) = self.shared_copies.get_mut(&frame.0) {
            *maps -= 1;
            if *maps > 0 {
                return;
            }
            self.shared_copies.remove(&frame.0);
        }
        if !self.keep_frame(frame) {
            self.user_frames.free.push(frame);
        }
    }

    /// Whether an address is mapped, for writing if so asked.
    pub(crate) fn is_mapped(&self, mm: MmId, va: VirtAddr, write: bool) -> bool {
        let mut table = self.mm(mm).pgd;
        for level in (0..=self.tables.top()).rev() {
            let entry = self.tables.read(Slot::of(table, va, level));
            if !entry.is_present() {
                return false;
            }
            if entry.is_leaf_at(level) {
                return !write || entry.is_writable();
            }
            table = entry.pfn();
        }
        false
    }

    /// One access to a user address that the CPU waits for, from user mode or by the kernel: translation, then the data. On a
    /// refusal only the translation's time passed.
    #[inline]
    pub(crate) fn user_access(
        &mut self,
        index: usize,
        va: VirtAddr,
        kind: AccessKind,
        user: bool,
    ) -> Result<(), Refusal> {
        let physical = self.translate(index, va, kind, user)?;
        let (line, write) = (physical.line(), kind.is_write());
        let hit_cost = self.spec.cache.l1d.latency;
        if self.memory.try_l1(index, line, write) {
            self.cpus[index].spend_as(Part::User, hit_cost);
        } else {
            let now = self.cpus[index].now;
            let access = if write { Access::Write } else { Access::Read };
            let latency = self.memory.access_after_try(index, line, access, now).latency;
            let hit = hit_cost.min(latency);
            self.cpus[index].spend_as(Part::User, hit);
            self.cpus[index].spend_as(Part::Memory, latency - hit);
        }
        self.measure.count_access(kind);
        Ok(())
    }

    /// A kernel access to a named line: an L1D hit is part of the counted path length, what goes beyond it is memory time.
    #[inline(always)]
    pub(crate) fn kernel_access(&mut self, index: usize, line: CacheLine, access: Access) {
        self.kernel_access_as(index, line, access, Part::Memory);
    }

    /// The same, attributed to `part`.
    #[inline(always)]
    pub(crate) fn kernel_access_as(&mut self, index: usize, line: CacheLine, access: Access, part: Part) {
        if !self.memory.try_l1(index, self.host_line(line), access.is_write()) {
            self.kernel_access_beyond_l1(index, line, access, part);
        }
        if access == Access::Rmw {
            let cost = self.spec.cost.locked_rmw;
            self.cpus[index].spend(cost);
        }
    }

    /// The rest of it, where the L1D has just been asked in vain.
    #[inline(never)]
    pub(crate) fn kernel_access_beyond_l1(
        &mut self,
        index: usize,
        line: CacheLine,
        access: Access,
        part: Part,
    ) {
        let now = self.cpus[index].now;
        let outcome = self.memory.access_after_try(index, self.host_line(line), access, now);
        let stall = outcome.latency.saturating_sub(self.spec.cache.l1d.latency);
        self.cpus[index].spend_as(part, stall);
        self.count_line_use(line, outcome);
    }

    /// A CLWB by the kernel; when its write-back is accepted.
    pub(crate) fn kernel_clwb(&mut self, index: usize, line: CacheLine) -> Time {
        let line = self.host_line(line);
        let now = self.cpus[index].now;
        let accepted = now + self.memory.clwb(index, line, now);
        let cost = self.spec.cost.clwb_issue;
        self.cpus[index].spend(cost);
        accepted
    }

    /// A load or store that the CPU does not wait for; when its line will be there.
    pub(crate) fn kernel_access_in_flight(&mut self, index: usize, line: CacheLine, access: Access) -> Time {
        let now = self.cpus[index].now;
        let outcome = self.memory.access(index, self.host_line(line), access, now);
        self.count_line_use(line, outcome);
        now + outcome.latency.saturating_sub(self.spec.cache.l1d.latency)
    }

    /// A non-temporal store by the kernel; when it is accepted.
    pub(crate) fn kernel_nt_store(&mut self, index: usize, line: CacheLine) -> Time {
        let line = self.host_line(line);
        let now = self.cpus[index].now;
        now + self.memory.nt_store(index, line, now)
    }

    /// Notes a flush in the fault that the CPU is handling, if faults are recorded.
    pub(crate) fn note_flush_in_fault(&mut self, cpu: CpuId, reason: FlushReason, pages: Option<u64>) {
        let pages = pages.map_or(-1, |n| n as i64);
        self.note_in_fault(cpu, PathStep::TlbFlush(reason as u8, pages));
    }

    /// Notes a step of the fault that the CPU is handling, if faults are recorded.
    #[inline]
    pub(crate) fn note_in_fault(&mut self, cpu: CpuId, step: PathStep) {
        if self.measure.keep_faults {
            self.trails[cpu.index()].path.push(step);
        }
    }

    /// What was measured so far.
    #[must_use]
    pub fn measurements(&self) -> &Measurements {
        &self.measure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::page::PageCounts;
    use crate::kernel::vma::Backing;

    #[test]
    fn what_a_trace_implies_is_counted_as_if_it_had_been_done() {
        let spec = daxsim_configs::load_machine("qemu-tcg", &[]).unwrap();
        let base = Pfn(spec.pmem.base >> 12);
        let kernel = daxsim_configs::load_kernel("linux-7.2", &[]).unwrap();
        let mut machine = Machine::new(spec, kernel, FileSystem::Ext4);
        let mm = machine.new_mm();
        let file = machine.new_file(FileSystem::Ext4, 2 << 21, &NewFile::Filled).unwrap();
        let (start, huge) = (0x1000_0000_0000, PageSize::Size2M.bytes());
        let vma = Vma {
            start,
            end: start + 2 * huge,
            backing: Backing::Dax { file, pgoff: 0 },
            read: true,
            write: true,
            exec: false,
            grows_down: false,
            shared: true,
            sync: false,
            has_copies: false,
            no_huge: false,
            lock: machine.new_lock(LockClass::Vma),
        };
        machine.insert_vma(mm, vma);
        assert!(machine.preset_read_only(mm, VirtAddr(start), base, false));
        assert!(machine.preset_read_only(mm, VirtAddr(start + huge), Pfn(base.0 + 512), true));
        assert_eq!(machine.mm(mm).rss_file, 513);
        machine.forget_range(mm, start, 2 * huge);
        assert_eq!(machine.mm(mm).rss_file, 0);
        for pfn in [base, Pfn(base.0 + 512)] {
            assert_eq!(machine.pages.counts(pfn), PageCounts::default());
        }
        assert!(machine.mappings_of(file).is_empty());
    }
}
