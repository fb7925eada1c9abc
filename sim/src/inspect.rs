//! Looking into a machine without changing it, for tests, probes and reports.

use daxsim_configs::kernel::KernelSpec;
use daxsim_types::{AccessKind, CpuId, PageSize, Pfn, Time, VirtAddr};

use crate::kernel::dax_entry::DaxEntry;
use crate::kernel::extent::Mapping;
use crate::kernel::page::PageCounts;
use crate::kernel::{FileId, MmId};
use crate::machine::Machine;
use crate::measure::{Executed, Parts};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;
use crate::mmu::tlb::TlbEntry;

impl Machine {
    /// The paging-structure entry of `level` (0 = PTE, 1 = PMD) for an address; none where its table does not exist.
    #[must_use]
    pub fn entry(&self, mm: MmId, va: VirtAddr, level: u32) -> Entry {
        let table = self.tables.find(self.mm(mm).pgd, va, level);
        table.map_or(Entry::NONE, |table| self.tables.read(Slot::of(table, va, level)))
    }

    /// Stores a paging-structure entry whose table exists; false if it does not. No time passes, nothing is flushed and no
    /// page is counted: a way to inject states that no program reaches.
    pub fn inject_entry(&mut self, mm: MmId, va: VirtAddr, level: u32, entry: Entry) -> bool {
        let table = self.tables.find(self.mm(mm).pgd, va, level);
        if let Some(table) = table {
            self.tables.write(Slot::of(table, va, level), entry);
        }
        table.is_some()
    }

    /// Reference and map count of a frame (of the head page, for a large folio).
    #[must_use]
    pub fn page_counts(&self, pfn: Pfn) -> PageCounts {
        self.pages.counts(pfn)
    }

    /// MM_FILEPAGES of an address space, in 4 KiB pages.
    #[must_use]
    pub fn rss_file(&self, mm: MmId) -> i64 {
        self.mm(mm).rss_file
    }

    /// MM_ANONPAGES of an address space, as far as private copies of DAX pages go.
    #[must_use]
    pub fn rss_anon(&self, mm: MmId) -> i64 {
        self.mm(mm).rss_anon
    }

    /// `nrpages` of a file: pages that its DAX mapping entries cover.
    #[must_use]
    pub fn nrpages(&self, file: FileId) -> u64 {
        self.file(file).entries.iter().map(|(_, entry)| entry.pages()).sum()
    }

    /// `context.tlb_gen`: how many flushes of the address space were asked for, on top of where it started.
    #[must_use]
    pub fn tlb_generation(&self, mm: MmId) -> u64 {
        self.mm(mm).tlb_gen
    }

    /// `context.global_asid`, and whether CPUs may still run the address space under an ASID of their own.
    #[must_use]
    pub fn global_asid(&self, mm: MmId) -> Option<(usize, bool)> {
        let space = self.mm(mm);
        space.global_asid.map(|asid| (asid, space.asid_transition))
    }

    /// The PCID that a CPU has loaded.
    #[must_use]
    pub fn pcid(&self, cpu: CpuId) -> u16 {
        self.cpus[cpu.index()].pcid
    }

    /// The CPUs in `mm_cpumask`, ascending.
    #[must_use]
    pub fn cpumask(&self, mm: MmId) -> Vec<CpuId> {
        self.mm(mm).cpumask.iter().collect()
    }

    /// The DAX mapping entry that covers a file page, with the first page it covers.
    #[must_use]
    pub fn dax_entry(&self, file: FileId, page: u64) -> Option<(u64, DaxEntry)> {
        self.file(file).entries.find(page).map(|(head, entry)| (head, entry.clone()))
    }

    /// What the extent map says of a file page.
    #[must_use]
    pub fn extent(&self, file: FileId, page: u64) -> Mapping {
        self.file(file).extents.lookup(page)
    }

    /// How many file extents hold a block, as the file system knows.
    #[must_use]
    pub fn block_owners(&self, pfn: Pfn) -> u32 {
        self.allocator.shared.owners(pfn)
    }

    /// Bytes of a file.
    #[must_use]
    pub fn file_size(&self, file: FileId) -> u64 {
        self.file(file).size
    }

    /// The lines of a frame of the device that some cache holds modified, as a mask.
    #[must_use]
    pub fn modified_lines(&self, frame: Pfn) -> u64 {
        self.memory.modified_lines(self.host.as_ref().map_or(frame, |host| host.frame(frame)))
    }

    /// Time of a CPU so far, by part.
    #[must_use]
    pub fn cpu_parts(&self, cpu: CpuId) -> Parts {
        self.cpus[cpu.index()].parts
    }

    /// What the kernel has executed on a CPU so far.
    #[must_use]
    pub fn cpu_executed(&self, cpu: CpuId) -> Executed {
        self.cpus[cpu.index()].executed
    }

    /// A CPU's clock.
    #[must_use]
    pub fn cpu_time(&self, cpu: CpuId) -> Time {
        self.cpus[cpu.index()].now
    }

    /// What a CPU's TLBs hold for an address; `None` also if the CPU has another address space loaded, or is lazy and so will
    /// catch up with missed flushes first. Counts as a lookup.
    pub fn cached_translation(&mut self, cpu: CpuId, mm: MmId, va: VirtAddr) -> Option<TlbEntry> {
        let cpu = &mut self.cpus[cpu.index()];
        if cpu.tlb_state.loaded_mm != Some(mm) || cpu.tlb_state.lazy {
            return None;
        }
        cpu.tlbs.lookup(va, cpu.pcid, AccessKind::Read).map(|(entry, ..)| entry)
    }

    /// The kernel that runs.
    #[must_use]
    pub fn kernel_spec(&self) -> &KernelSpec {
        self.kernel.ask(|kernel| kernel)
    }

    /// The zero page of a size.
    #[must_use]
    pub fn zero_page(&self, size: PageSize) -> Pfn {
        match size {
            PageSize::Size4K => self.globals.zero_page,
            PageSize::Size2M | PageSize::Size1G => self.globals.huge_zero_page,
        }
    }

    /// Sets the alignment of the device-dax device (`ndctl create-namespace --align`) before it is opened.
    pub fn set_device_alignment(&mut self, alignment: PageSize) {
        self.allocator.device_alignment = alignment;
    }

    /// Bytes of the device-dax device.
    #[must_use]
    pub fn device_size(&self) -> u64 {
        self.allocator.device().1 << 12
    }
}
