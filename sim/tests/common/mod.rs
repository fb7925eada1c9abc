//! A small workbench: one address space, files and mappings in it, and single accesses.
#![allow(dead_code)] // Each test file uses its own part of it.

use std::path::{Path, PathBuf};

use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_sim::kernel::dax_entry::DaxEntry;
use daxsim_sim::kernel::{FileId, MapRequest, MmId, NewFile};
use daxsim_sim::measure::{Callback, FaultFlags, FaultRecord, FlushReason, KernelEvents, Measurements};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::tlb::TlbEntry;
use daxsim_sim::program::{Accesses, Action, Step, StepOutcome};
use daxsim_sim::{Results, SimError, Simulation};
use daxsim_types::{AccessKind, CpuId, FileSystem, PageSize, Pfn, VirtAddr};

pub const OLD: &str = "linux-6.12";
pub const V1: &str = "dax-patch-v1";
pub const NEW: &str = "linux-7.2";
pub const KERNELS: [&str; 3] = [OLD, V1, NEW];
pub const FSDAX: [FileSystem; 2] = [FileSystem::Ext4, FileSystem::Xfs];

pub const PAGE: u64 = 4096;
pub const HUGE: u64 = 512 * PAGE;
/// Where mappings begin unless a test says otherwise: aligned to 2 MiB, so that huge mappings are possible.
pub const BASE: u64 = 0x1000_0000_0000;

pub struct Bench {
    pub sim: Simulation,
    pub mm: MmId,
    pub fs: FileSystem,
}

/// Runs a test for every kernel and every fsdax file system.
pub fn everywhere(test: impl Fn(&str, FileSystem)) {
    for kernel in KERNELS {
        for fs in FSDAX {
            test(kernel, fs);
        }
    }
}

/// The value for a kernel, given those of 6.12, of the first posting, and of 7.2.
pub fn per_kernel<T>(kernel: &str, old: T, v1: T, new: T) -> T {
    match kernel {
        OLD => old,
        V1 => v1,
        _ => new,
    }
}

impl Bench {
    /// Four CPUs of real hardware.
    pub fn new(kernel: &str, fs: FileSystem) -> Self {
        Self::with("skylake-sp-optane", kernel, fs, &["cpu.count=4"], &[])
    }

    /// The machine of the recordings.
    pub fn tcg(kernel: &str, fs: FileSystem) -> Self {
        Self::with("qemu-tcg", kernel, fs, &[], &[])
    }

    pub fn with(
        machine: &str,
        kernel: &str,
        fs: FileSystem,
        of_machine: &[&str],
        of_kernel: &[&str],
    ) -> Self {
        let parse = |list: &[&str]| list.iter().map(|o| Override::parse(o).unwrap()).collect::<Vec<_>>();
        let machine = load_machine(machine, &parse(of_machine)).unwrap();
        let kernel = load_kernel(kernel, &parse(of_kernel)).unwrap();
        let sim = Simulation::new(machine, kernel, fs, true);
        let mm = sim.with(|m| m.new_mm());
        Self { sim, mm, fs }
    }

    pub fn file(&self, pages: u64, new: NewFile) -> FileId {
        self.sim.new_file(self.fs, pages * PAGE, &new).unwrap()
    }

    /// A written file of `pages` pages, mapped whole at [`BASE`].
    pub fn mapped(&mut self, pages: u64) -> FileId {
        self.mapped_as(pages, NewFile::Filled)
    }

    pub fn mapped_as(&mut self, pages: u64, new: NewFile) -> FileId {
        let file = self.file(pages, new);
        self.map(file, BASE, 0, pages);
        file
    }

    /// Maps `pages` pages from file page `pgoff` at `start`, shared and writable.
    pub fn map(&mut self, file: FileId, start: u64, pgoff: u64, pages: u64) {
        self.run(0, self.mm, Action::Map(shared_map(file, start, pgoff, pages)));
    }

    pub fn run(&mut self, cpu: u16, mm: MmId, action: Action) -> StepOutcome {
        self.try_run(cpu, mm, action).unwrap()
    }

    pub fn try_run(&mut self, cpu: u16, mm: MmId, action: Action) -> Result<StepOutcome, SimError> {
        self.sim.step(step(cpu, mm, action))
    }

    pub fn load(&mut self, va: u64) -> StepOutcome {
        self.load_on(0, va)
    }

    pub fn store(&mut self, va: u64) -> StepOutcome {
        self.store_on(0, va)
    }

    pub fn load_on(&mut self, cpu: u16, va: u64) -> StepOutcome {
        self.run(cpu, self.mm, access(va, AccessKind::Read))
    }

    pub fn store_on(&mut self, cpu: u16, va: u64) -> StepOutcome {
        self.run(cpu, self.mm, access(va, AccessKind::Write))
    }

    /// One access to each of `pages` pages.
    pub fn touch(&mut self, cpu: u16, start: u64, pages: u64, kind: AccessKind) -> StepOutcome {
        self.run(cpu, self.mm, touch(start, pages, kind))
    }

    pub fn msync(&mut self, start: u64, pages: u64) -> StepOutcome {
        self.run(0, self.mm, Action::Msync { start, len: pages * PAGE })
    }

    pub fn unmap(&mut self, start: u64, pages: u64) -> StepOutcome {
        self.run(0, self.mm, Action::Unmap { start, len: pages * PAGE })
    }

    pub fn pte(&self, va: u64) -> Entry {
        self.sim.with(|m| m.entry(self.mm, VirtAddr(va), 0))
    }

    pub fn pmd(&self, va: u64) -> Entry {
        self.sim.with(|m| m.entry(self.mm, VirtAddr(va), 1))
    }

    /// The frame that the extent map gives for a file page.
    pub fn block(&self, file: FileId, page: u64) -> Pfn {
        self.sim.with(|m| m.extent(file, page)).block.unwrap().0
    }

    /// References, mappings and the address space's RSS of a frame.
    pub fn counts(&self, pfn: Pfn) -> (i64, i64, i64) {
        self.sim.with(|m| {
            let counts = m.page_counts(pfn);
            (counts.refs, counts.maps, m.rss_file(self.mm))
        })
    }

    pub fn rss(&self) -> i64 {
        self.sim.with(|m| m.rss_file(self.mm))
    }

    /// The faults since the last call.
    pub fn faults(&self) -> Vec<FaultRecord> {
        self.sim.drain_faults()
    }

    /// Error codes of the faults since the last call.
    pub fn codes(&self) -> Vec<u32> {
        self.faults().iter().map(|f| f.error_code.0).collect()
    }

    pub fn measured<R>(&self, f: impl FnOnce(&Measurements) -> R) -> R {
        self.sim.with(|m| f(m.measurements()))
    }

    /// Flush requests so far.
    pub fn flush_requests(&self) -> u64 {
        self.measured(|m| m.shootdowns.requests)
    }

    /// `tlb_flush` events of a reason so far: how many, and how many of them were full.
    pub fn flush_events(&self, reason: FlushReason) -> (u64, u64) {
        self.measured(|m| m.flushes.get(&reason).map_or((0, 0), |f| (f.count, f.full)))
    }

    pub fn finish(self) -> Results {
        self.sim.finish()
    }
}

/// A shared, writable mapping of `pages` pages.
pub fn shared_map(file: FileId, start: u64, pgoff: u64, pages: u64) -> MapRequest {
    MapRequest {
        file,
        start,
        len: pages * PAGE,
        pgoff,
        read: true,
        write: true,
        shared: true,
        sync: false,
        populate: false,
    }
}

pub fn step(cpu: u16, mm: MmId, action: Action) -> Step {
    Step { line: 0, thread: cpu, cpu: CpuId(cpu), mm: Some(mm), action }
}

pub fn access(va: u64, kind: AccessKind) -> Action {
    touch(va, 1, kind)
}

pub fn touch(start: u64, pages: u64, kind: AccessKind) -> Action {
    Action::Access(Accesses::Stride { start: VirtAddr(start), count: pages, stride: PAGE, kind })
}

/// The path of a fault as the recorded tables spell it.
pub fn path(fault: &FaultRecord) -> Vec<String> {
    fault.path.iter().map(ToString::to_string).collect()
}

/// The folder of a recorded scenario.
pub fn recorded(kernel: &str, fs: FileSystem, scenario: &str) -> PathBuf {
    let version = kernel.trim_start_matches("linux-");
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../traces/recorded")
        .join(format!("kernel-{version}/{fs}/{scenario}"))
}

/// One line of `ops.tsv`: the events that a script line caused.
pub struct OpCounts {
    columns: Vec<(String, u64)>,
    pub text: String,
}

impl OpCounts {
    /// Count of an event; 0 if the table has no such column.
    pub fn get(&self, column: &str) -> u64 {
        self.columns.iter().find(|(name, _)| name == column).map_or(0, |(_, n)| *n)
    }
}

/// Reads the `ops.tsv` of a scenario.
pub fn op_counts(dir: &Path) -> Vec<OpCounts> {
    let text = std::fs::read_to_string(dir.join("ops.tsv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let columns =
                names.iter().zip(&cells).filter_map(|(n, c)| Some(((*n).to_owned(), c.parse().ok()?)));
            OpCounts { columns: columns.collect(), text: (*cells.last().unwrap()).to_owned() }
        })
        .collect()
}

/// The handler calls of a fault: operation, size, and whether under the VMA's lock.
pub fn calls(fault: &FaultRecord) -> Vec<(Callback, PageSize, bool)> {
    let locked = |flags: FaultFlags| flags.contains(FaultFlags::VMA_LOCK);
    fault.handlers.iter().map(|call| (call.callback, call.size, locked(call.flags))).collect()
}

/// How often a step whose name begins like this is on the path of a fault.
pub fn steps(fault: &FaultRecord, what: &str) -> usize {
    path(fault).iter().filter(|step| step.starts_with(what)).count()
}

impl Bench {
    /// A device-dax mapping of `pages` pages at [`BASE`], of 4 KiB alignment.
    pub fn device(kernel: &str, pages: u64) -> (Self, FileId) {
        let mut bench = Self::new(kernel, FileSystem::Devdax);
        bench.sim.with(|m| m.set_device_alignment(PageSize::Size4K));
        let file = bench.file(1024, NewFile::Device);
        bench.map(file, BASE, 0, pages);
        (bench, file)
    }

    /// Maps `pages` pages from the file's first at `start`, private and writable.
    pub fn map_private(&mut self, file: FileId, start: u64, pages: u64) {
        self.run(0, self.mm, Action::Map(MapRequest { shared: false, ..shared_map(file, start, 0, pages) }));
    }

    /// Another address space that maps the file whole at [`BASE`].
    pub fn other_process(&mut self, cpu: u16, file: FileId, pages: u64) -> MmId {
        let mm = self.sim.with(|m| m.new_mm());
        self.run(cpu, mm, Action::Map(shared_map(file, BASE, 0, pages)));
        mm
    }

    /// What the kernel counted.
    pub fn events(&self) -> KernelEvents {
        self.measured(|m| m.kernel)
    }

    pub fn generation(&self) -> u64 {
        self.sim.with(|m| m.tlb_generation(self.mm))
    }

    /// The entry of a file page with its first page; it must be there.
    pub fn dax_entry(&self, file: FileId, page: u64) -> (u64, DaxEntry) {
        self.sim.with(|m| m.dax_entry(file, page)).unwrap()
    }

    /// What a CPU's TLBs hold of this address space.
    pub fn cached(&self, cpu: u16, va: u64) -> Option<TlbEntry> {
        self.sim.with(|m| m.cached_translation(CpuId(cpu), self.mm, VirtAddr(va)))
    }

    /// Replaces an entry behind the kernel's back.
    pub fn inject(&self, va: u64, level: u32, entry: Entry) {
        assert!(
            self.sim.with(|m| m.inject_entry(self.mm, VirtAddr(va), level, entry)),
            "no table for {va:#x}"
        );
    }

    pub fn zero_page(&self, size: PageSize) -> Pfn {
        self.sim.with(|m| m.zero_page(size))
    }

    /// One after another, on a CPU of its own each, racing with the others.
    pub fn race(&mut self, threads: Vec<Vec<Step>>) -> Vec<Vec<StepOutcome>> {
        self.sim.parallel(threads).unwrap()
    }
}

/// `count` loads of one address, each after the one before: a delay inside a racing thread.
pub fn delay(cpu: u16, mm: MmId, va: u64, count: u64) -> Step {
    let again = (0..count).map(move |_| VirtAddr(va));
    step(cpu, mm, Action::Access(Accesses::chase(again)))
}
