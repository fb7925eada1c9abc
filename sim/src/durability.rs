//! What a loss of power would take, and what the program had been told: promises of sync calls, and pages without a mark.
//!
//! Looks on: nothing here takes simulated time or changes what the machine does.

use std::collections::BTreeMap;

use daxsim_types::{CpuId, FileSystem, PageSize, Pfn, Time, VirtAddr};

use crate::kernel::dax_entry::DaxEntry;
use crate::kernel::extent::BlockState;
use crate::kernel::{FileId, MmId};
use crate::machine::Machine;
use crate::memory::{PageLines, Tag, Unaccepted};
use crate::mmu::nested::HostMap;

/// A call, or another step of the program, at a moment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is, as in `msync`.
    pub name: &'static str,
    /// Program line, or line of the trace.
    pub line: u64,
    /// Thread of the program.
    pub thread: u16,
    /// Where it ran.
    pub cpu: CpuId,
    /// When.
    pub at: Time,
}

/// Lines of a file page that a sync call had promised, and that are not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPage {
    /// File.
    pub file: FileId,
    /// Page of the file.
    pub page: u64,
    /// Its frame.
    pub frame: Pfn,
    /// The lines, bit n for the n-th of the page.
    pub lines: u64,
    /// Whether they had left the caches and were on their way to the device.
    pub in_flight: bool,
    /// The first sync call that returned with them not durable.
    pub promise: Call,
    /// Who removed the page's mark before, if anybody did.
    pub unmarked_by: Option<Call>,
}

/// Lines of a file page that are not durable and that no sync would write back, for want of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmarkedPage {
    /// File.
    pub file: FileId,
    /// Page of the file.
    pub page: u64,
    /// Its frame.
    pub frame: Pfn,
    /// The lines, bit n for the n-th of the page.
    pub lines: u64,
    /// Whether the page has a mapping entry, but a clean one.
    pub has_entry: bool,
    /// Who removed the mark, if that was seen.
    pub unmarked_by: Option<Call>,
}

/// A written page of a file, or of a device, and which of its written lines a loss of power takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenPage {
    /// File.
    pub file: FileId,
    /// Page of the file.
    pub page: u64,
    /// Its frame.
    pub frame: Pfn,
    /// Lines whose last content is durable, bit n for the n-th of the page.
    pub durable: u64,
    /// Lines that a cache holds modified.
    pub dirty: u64,
    /// Other lines, on their way to the device.
    pub in_flight: u64,
}

/// What is durable at the end, or at the crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// The moment that is judged.
    pub at: Time,
    /// Whether the caches are in the persistence domain, so that nothing can be lost.
    pub eadr: bool,
    /// Sync calls that returned with success.
    pub promises: u64,
    /// Promised and lost, by file and page.
    pub lost: Vec<LostPage>,
    /// Dirty without a mark, by file and page.
    pub unmarked: Vec<UnmarkedPage>,
    /// File pages with lines that a cache holds modified, the unmarked ones among them.
    pub dirty_pages: u64,
    /// Their modified lines.
    pub dirty_lines: u64,
    /// Lines of file pages on their way to the device.
    pub in_flight_lines: u64,
    /// Pages of a device-dax device with modified lines: these have no marks, and no call promises anything of them.
    pub device_pages: u64,
    /// Lines that belong to no file (any more).
    pub unowned_lines: u64,
    /// At a crash: the pages that were written, by file and page.
    pub written: Vec<WrittenPage>,
    /// Names of the files, by number.
    pub files: Vec<String>,
}

impl Durability {
    /// Pages of files that were promised and are lost.
    #[must_use]
    pub fn lost_pages(&self) -> u64 {
        let mut pages: Vec<(FileId, u64)> = self.lost.iter().map(|lost| (lost.file, lost.page)).collect();
        pages.dedup();
        pages.len() as u64
    }
}

/// What is written down while the program runs.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Sync calls that returned while lines they cover were not durable; a [`Tag`] is a place here.
    broken: Vec<Call>,
    /// Sync calls that returned.
    given: u64,
    /// Pages that lost their mark while they had modified lines.
    marks_lost: BTreeMap<Pfn, Call>,
    /// What each CPU is doing, if anything.
    running: BTreeMap<CpuId, Call>,
}

impl Ledger {
    /// A step begins on its CPU.
    pub fn begin(&mut self, call: Call) {
        self.running.insert(call.cpu, call);
    }

    /// The step of a CPU is over.
    pub fn end(&mut self, cpu: CpuId) {
        self.running.remove(&cpu);
    }

    /// The steps under way, by CPU.
    pub fn running(&self) -> Vec<Call> {
        self.running.values().copied().collect()
    }

    /// What a CPU is doing, at a moment of it.
    fn call(&self, cpu: CpuId, at: Time) -> Call {
        let none = Call { name: "", line: 0, thread: 0, cpu, at };
        Call { at, ..self.running.get(&cpu).copied().unwrap_or(none) }
    }
}

/// Pages of a file, both ends included, that a sync covers.
pub(crate) type Covered = (FileId, u64, u64);

impl Machine {
    /// A sync call of `covered` begins: what of it is not durable now, the call will promise. `watcher` is a number below 256
    /// that no other call under way has: the CPU's.
    pub(crate) fn begin_sync(&mut self, watcher: usize, covered: &[Covered], now: Time) {
        let guest = covered.iter().flat_map(|(file, first, last)| self.frames(*file, *first, *last));
        let runs: Vec<(Pfn, u64)> =
            guest.flat_map(|(pfn, pages)| on_host(self.host.as_ref(), pfn, pages)).collect();
        self.memory.watch(watcher, &runs, now);
    }

    /// The call that [`Self::begin_sync`] announced has ended; `returned` if with success.
    pub(crate) fn end_sync(&mut self, watcher: usize, now: Time, returned: Option<Call>) {
        let tag = returned.and_then(|_| Tag::try_from(self.ledger.broken.len()).ok());
        let broken = self.memory.end_watch(watcher, now, tag);
        if let Some(call) = returned {
            self.ledger.given += 1;
            if broken {
                self.ledger.broken.push(call);
            }
        }
    }

    /// The same, for a system call of `cpu`. A call that the crash cuts off has not returned.
    pub(crate) fn end_sync_call(&mut self, cpu: CpuId, success: bool) {
        let (now, stopped) = (self.cpus[cpu.index()].now, self.cpus[cpu.index()].has_stopped());
        let call = self.ledger.call(cpu, now);
        self.end_sync(cpu.index(), now, (success && !stopped).then_some(call));
    }

    /// What msync of a range covers: the shared mappings of files. A device-dax device cannot be synced.
    pub(crate) fn synced_by_msync(&self, mm: MmId, start: u64, end: u64) -> Vec<Covered> {
        let vmas = self.mm(mm).vmas_in(start, end).into_iter().filter(|vma| vma.shared);
        vmas.filter_map(|vma| {
            let (from, to) = (vma.start.max(start), vma.end.min(end));
            let (file, first) = vma.file_page(VirtAddr(from))?;
            // msync(2) rounds up to whole pages; of an empty range nothing is synced.
            let pages = to.saturating_sub(from).div_ceil(PageSize::Size4K.bytes());
            (self.is_regular(file) && pages > 0).then(|| (file, first, first + pages - 1))
        })
        .collect()
    }

    /// Frames of a file's written pages, in runs.
    fn frames(&self, file: FileId, first: u64, last: u64) -> Vec<(Pfn, u64)> {
        let file = self.file(file);
        let end = last.saturating_add(1).min(file.pages());
        let (mut at, mut runs) = (first, Vec::new());
        while at < end {
            let found = file.extents.lookup(at);
            let run = found.len.min(end - at);
            if let Some((pfn, BlockState::Written)) = found.block {
                runs.push((pfn, run));
            }
            at += run;
        }
        runs
    }

    /// A call of `cpu` removes the entries that touch `pages` pages of a file from `first`; notes the dirty pages that lose
    /// their mark.
    pub(crate) fn remove_entries(
        &mut self,
        cpu: CpuId,
        file: FileId,
        first: u64,
        pages: u64,
    ) -> Vec<DaxEntry> {
        let call = self.ledger.call(cpu, self.cpus[cpu.index()].now);
        let Self { files, memory, ledger, host, .. } = self;
        let entries = &mut files[file.0 as usize].entries;
        let end = first.saturating_add(pages);
        let inside = entries.iter().filter(|(at, entry)| *at < end && at + entry.pages() > first);
        for (_, entry) in inside.filter(|(_, entry)| entry.dirty) {
            for (pfn, pages) in on_host(host.as_ref(), entry.pfn, entry.pages()) {
                for page in memory.modified_pages(pfn, pages) {
                    ledger.marks_lost.insert(of_guest(host.as_ref(), page.frame), call);
                }
            }
        }
        entries.remove_range(first, pages)
    }

    /// What a loss of power at `at` leaves.
    pub(crate) fn durability(&self, at: Time) -> Durability {
        let mut judged = Durability {
            at,
            eadr: self.spec.pmem.eadr,
            promises: self.ledger.given,
            files: self.files.iter().map(|file| file.name.clone()).collect(),
            ..Durability::default()
        };
        if judged.eadr {
            return judged;
        }
        let owners = Owners::of(self);
        let mut last = None;
        for mut lines in self.memory.unaccepted(at) {
            lines.of.frame = of_guest(self.host.as_ref(), lines.of.frame);
            let count = u64::from(lines.of.lines.count_ones());
            let first_of_page = !lines.in_flight && last.replace(lines.of.frame) != Some(lines.of.frame);
            match owners.find(lines.of.frame) {
                None => judged.unowned_lines += count,
                Some((file, _)) if self.file(file).fs == FileSystem::Devdax => {
                    judged.device_pages += u64::from(first_of_page);
                }
                Some(_) if lines.in_flight => judged.in_flight_lines += count,
                Some(_) => {
                    judged.dirty_lines += count;
                    judged.dirty_pages += u64::from(first_of_page);
                }
            }
            if let Some((file, page)) = owners.find(lines.of.frame) {
                self.judge(&mut judged, &owners, (file, page), lines);
            }
        }
        judged.lost.sort_by_key(|lost| (lost.file, lost.page));
        judged.unmarked.sort_by_key(|page| (page.file, page.page));
        judged
    }

    /// Which lines of the written pages a loss of power at `at` takes.
    pub(crate) fn written(&self, at: Time) -> Vec<WrittenPage> {
        let mut lost: BTreeMap<Pfn, (u64, u64)> = BTreeMap::new();
        let all = if self.spec.pmem.eadr { Vec::new() } else { self.memory.unaccepted(at) };
        for Unaccepted { of, in_flight, .. } in all {
            let (dirty, flying) = lost.entry(of.frame).or_default();
            *(if in_flight { flying } else { dirty }) |= of.lines;
        }
        let owners = Owners::of(self);
        let mut written = Vec::new();
        for PageLines { frame, lines } in self.memory.written_pages() {
            let Some((file, page)) = owners.find(frame) else { continue };
            let (dirty, flying) = lost.get(&frame).copied().unwrap_or_default();
            let (durable, in_flight) = (lines & !dirty & !flying, flying & !dirty);
            written.push(WrittenPage { file, page, frame, durable, dirty, in_flight });
        }
        written.sort_by_key(|page| (page.file, page.page));
        written
    }

    /// Adds lines of a file page to the lists that they belong to.
    fn judge(
        &self,
        judged: &mut Durability,
        owners: &Owners,
        (file, page): (FileId, u64),
        found: Unaccepted,
    ) {
        let (frame, lines, in_flight) = (found.of.frame, found.of.lines, found.in_flight);
        let entry = self.file(file).entries.find(page).map(|(_, entry)| entry);
        // Whoever shares the block may have the mark.
        let marked = owners
            .all(frame)
            .any(|(file, page)| self.file(file).entries.find(page).is_some_and(|(_, entry)| entry.dirty));
        let unmarked_by = self.ledger.marks_lost.get(&frame).copied().filter(|_| !marked);
        if let Some(promise) = found.kept.and_then(|tag| self.ledger.broken.get(tag as usize).copied()) {
            judged.lost.push(LostPage { file, page, frame, lines, in_flight, promise, unmarked_by });
        }
        if marked || in_flight || self.file(file).fs == FileSystem::Devdax {
            return;
        }
        match judged.unmarked.last_mut() {
            Some(known) if known.frame == frame => known.lines |= lines,
            _ => {
                let has_entry = entry.is_some();
                judged.unmarked.push(UnmarkedPage { file, page, frame, lines, has_entry, unmarked_by });
            }
        }
    }
}

/// Where a host has a run of frames of the file system.
fn on_host(host: Option<&HostMap>, pfn: Pfn, pages: u64) -> Vec<(Pfn, u64)> {
    host.map_or_else(|| vec![(pfn, pages)], |host| host.runs(pfn, pages).collect())
}

/// The file system's frame that one of the device is.
fn of_guest(host: Option<&HostMap>, pfn: Pfn) -> Pfn {
    host.map_or(pfn, |host| host.guest_frame(pfn))
}

/// Which file pages a frame holds: several, if files share its block.
struct Owners {
    /// First frame, length, file and first page of each run, ascending.
    runs: Vec<(u64, u64, FileId, u64)>,
    /// How far the runs up to each one reach.
    reach: Vec<u64>,
}

impl Owners {
    fn of(machine: &Machine) -> Self {
        let mut runs = Vec::new();
        for (number, file) in (0..).zip(&machine.files) {
            let pages = file.pages();
            let written =
                file.extents.iter().filter(|(at, .., state)| *state == BlockState::Written && *at < pages);
            runs.extend(written.map(|(at, len, pfn, _)| (pfn.0, len.min(pages - at), FileId(number), at)));
        }
        runs.sort_unstable();
        let ends = runs.iter().map(|(first, len, ..)| first + len);
        let reach = ends.scan(0, |so_far, end| {
            *so_far = end.max(*so_far);
            Some(*so_far)
        });
        Self { reach: reach.collect(), runs }
    }

    /// Every file page that a frame holds.
    fn all(&self, frame: Pfn) -> impl Iterator<Item = (FileId, u64)> + '_ {
        let before = self.runs.partition_point(|(first, ..)| *first <= frame.0);
        let near = (0..before).rev().take_while(move |at| self.reach[*at] > frame.0);
        near.filter_map(move |at| {
            let (first, len, file, page) = self.runs[at];
            let into = frame.0 - first;
            (into < len).then_some((file, page + into))
        })
    }

    /// One of them, the same each time.
    fn find(&self, frame: Pfn) -> Option<(FileId, u64)> {
        self.all(frame).next()
    }
}
