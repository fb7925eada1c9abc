//! Which ways a fault can take through the kernel (spec sections 2 to 4), as a grammar of the steps on its path.
//!
//! ```text
//! path    := (empty, for a bad area) | pass | pass(RETRY) pass | pass(RETRY), for a mapping that went meanwhile
//! pass(r) := pud pmd pte handle_mm_fault=r, each level only if the one above fell back
//! pud     := device? split?                             pmd := (pmd_fault | device | do_huge_pmd_wp_page=r)? split?
//! pte     := pte_fault | device | do_wp_page (pte_fault | reuse | copy)? do_wp_page=r | set_access_flags | finish_fault=0 |
//! pmd_fault := dax_pmd_fault zap? (iomap zap? insert hole?)? split? dax_pmd_fault_done=r sync?
//! pte_fault := dax_pte_fault zap? (iomap (finish_fault | zap? insert hole?))? dax_pte_fault_done=r sync?
//! sync      := writeback? zap? insert? dax_insert_pfn_mkwrite(_no_entry)? dax_finish_sync_fault=r
//! ```
//!
//! What a helper returns goes up unchanged, but for MAJOR where a block is new. Flushes come where something is zapped, copied,
//! written back or set; those of a task switch or a missed shootdown anywhere.

use daxsim_types::{ErrorCode, VmFault};

use super::fault_log::PathStep::{
    Event, Iomap, PmdFault, PmdFaultDone, PteFault, PteFaultDone, Returned, TlbFlush, Value,
};
use super::fault_log::{ExtentFlags, FaultKind, FaultRecord, PathStep};

/// Helpers of a 4 KiB insert: the inner one, and those that the file system calls.
const SMALL_HELPERS: [(&str, [&str; 2]); 3] = [
    ("insert_pfn", ["vmf_insert_mixed", "vmf_insert_mixed_mkwrite"]),
    ("insert_page_into_pte_locked", ["dax_insert_pfn", "dax_insert_pfn"]),
    ("insert_page_into_pte_locked", ["vmf_insert_page_mkwrite", "vmf_insert_page_mkwrite"]),
];
const HUGE_HELPERS: [&str; 6] = [
    "vmf_insert_pfn_pmd",
    "dax_insert_pfn_pmd",
    "vmf_insert_folio_pmd",
    "vmf_insert_pfn_pud",
    "dax_insert_pfn_pud",
    "vmf_insert_folio_pud",
];
/// Steps of unmapping and flushing, which come where something is zapped, copied, written back or set.
const UNMAPPING: [&str; 5] =
    ["flush_tlb_mm_range", "zap_vma_range_batched", "zap_huge_pmd", "zap_huge_pud", "free_zone_device_folio"];
/// Steps of the writeback inside a synchronous fault.
const WRITEBACK: [&str; 4] =
    ["dax_writeback_range", "dax_writeback_one", "dax_writeback_range_done", "dax_writeback_mapping_range"];
const DONE: VmFault = VmFault(0);

impl FaultRecord {
    /// Where the path leaves the grammar: the number of the first step that cannot follow those before it, or the length of the
    /// path if it cannot end there. `None` for a path that the kernel can take.
    #[must_use]
    pub fn illegal_step(&self) -> Option<usize> {
        let mut reader = Reader { steps: &self.path, at: 0, write: self.error_code.is_write() };
        (!reader.path(self)).then_some(reader.at)
    }
}

/// What is left of a path. Its functions read what their names say, and give `None` where something else is.
struct Reader<'a> {
    steps: &'a [PathStep],
    at: usize,
    write: bool,
}

impl Reader<'_> {
    fn path(&mut self, fault: &FaultRecord) -> bool {
        let mut last = None;
        for pass in 0..2 {
            if self.peek().is_none() {
                break;
            }
            last = self.pass(fault);
            if last.is_none() {
                return false;
            }
            let user = fault.error_code.0 & ErrorCode::USER != 0;
            if last != Some(VmFault::RETRY) {
                break;
            }
            if pass > 0 || !user {
                return false;
            }
        }
        let bad_area = fault.kind == FaultKind::Sigsegv;
        let ended = if bad_area { last.is_none_or(|ret| ret == VmFault::RETRY) } else { last.is_some() };
        self.peek().is_none() && last == fault.ret && ended && (bad_area || last != Some(VmFault::RETRY))
    }

    /// One `handle_mm_fault`, and what it returned.
    fn pass(&mut self, fault: &FaultRecord) -> Option<VmFault> {
        let outside_dax = fault.handlers.is_empty();
        let ret = self.levels()?;
        let told = self.returned("handle_mm_fault")?;
        // Where no step shows how the fault ended: refused a lock or a table, or another CPU was faster; outside DAX the
        // page's lock and the like are returned too.
        let silent = [DONE, VmFault::RETRY, VmFault::OOM].contains(&told) || outside_dax;
        (ret.map_or(silent, |ret| ret == told)).then_some(told)
    }

    /// The levels of the page tables: `Some(None)` if no step tells what was returned.
    fn levels(&mut self) -> Option<Option<VmFault>> {
        for _huge in 0..2 {
            match self.peek() {
                Some(PmdFault(_)) => {
                    let ret = self.pmd_fault()?;
                    if ret != VmFault::FALLBACK {
                        return Some(Some(ret));
                    }
                    self.split();
                    break;
                }
                Some(Returned("dev_dax_huge_fault", VmFault::FALLBACK)) => {
                    self.at += 1;
                    self.split();
                }
                _ => {}
            }
        }
        // Of anonymous memory; a private huge zero page of a file is split, too.
        self.split();
        if matches!(self.past_flushes(), Some(Returned("do_huge_pmd_wp_page", _))) {
            self.flushes();
        }
        if let Some(ret) = self.returned("do_huge_pmd_wp_page")
            && ret != VmFault::FALLBACK
        {
            return Some(Some(ret));
        }
        self.small()
    }

    /// The PTE level, or what a huge level ends with that has no steps of its own before.
    fn small(&mut self) -> Option<Option<VmFault>> {
        match self.peek() {
            Some(PteFault(_)) => self.pte_fault().map(Some),
            Some(Event("do_wp_page")) => self.wp_page().map(Some),
            Some(Returned("finish_fault", _)) => {
                self.at += 1;
                Some(None)
            }
            Some(Returned("handle_mm_fault", _)) => Some(None),
            // A device's insert, or flags alone.
            _ => {
                if let Some(told) = self.insert()
                    && self.returned("dev_dax_huge_fault") == Some(told)
                {
                    return Some(Some(told));
                }
                if matches!(self.peek(), Some(Returned("dev_dax_huge_fault", VmFault::SIGBUS))) {
                    self.at += 1;
                    return Some(Some(VmFault::SIGBUS));
                }
                // `insert` has taken the flags that no helper came after.
                let flags = self.steps[..self.at].last().is_some_and(|step| matches!(step, Value(..)));
                flags.then_some(Some(DONE))
            }
        }
    }

    fn wp_page(&mut self) -> Option<VmFault> {
        self.at += 1;
        let told = match self.peek() {
            Some(PteFault(_)) => Some(self.pte_fault()?),
            _ => {
                if matches!(self.past_flushes(), Some(Event("ptep_clear_flush"))) {
                    self.flushes();
                }
                let copied = self.event("ptep_clear_flush");
                // The copied page's last reference may go.
                self.flushes();
                if copied || self.set_access_flags() { Some(DONE) } else { None }
            }
        };
        let ret = self.returned("do_wp_page")?;
        (told.map_or(ret == DONE || ret == VmFault::RETRY, |told| told == ret)).then_some(ret)
    }

    fn pmd_fault(&mut self) -> Option<VmFault> {
        (self.next()? == PmdFault(self.write)).then_some(())?;
        let looked = matches!(self.peek(), Some(Iomap(..)));
        let (told, _) = self.iteration(true)?;
        self.split();
        let Some(PmdFaultDone(ret)) = self.next() else { return None };
        let early: &[VmFault] =
            if looked { &[VmFault::FALLBACK] } else { &[VmFault::SIGBUS, VmFault::FALLBACK, DONE] };
        self.ended(ret, told, early)
    }

    fn pte_fault(&mut self) -> Option<VmFault> {
        (self.next()? == PteFault(self.write)).then_some(())?;
        self.zap();
        let looked = matches!(self.peek(), Some(Iomap(..)));
        let (told, new) = self.iteration(false)?;
        let Some(PteFaultDone(ret)) = self.next() else { return None };
        let plain = VmFault(ret.0 & !VmFault::MAJOR.0);
        // MAJOR goes with a new block.
        let major = ret.contains(VmFault::MAJOR);
        if major != new {
            return None;
        }
        let early: &[VmFault] = if looked { &[] } else { &[VmFault::SIGBUS, VmFault::NOPAGE] };
        let ended = self.ended(plain, told, early)?;
        Some(if ended == plain { ret } else { ended })
    }

    /// What a handler ended with, against what its insert did (`None`: it did not come so far); and the synchronous fault after it.
    fn ended(&mut self, ret: VmFault, told: Option<VmFault>, early: &[VmFault]) -> Option<VmFault> {
        match told {
            Some(told) if told == ret => Some(ret),
            None if ret == VmFault::NEEDDSYNC => self.sync(),
            None if early.contains(&ret) => Some(ret),
            _ => None,
        }
    }

    /// `dax_fault_iter`: what the insert returned, if one was tried, and whether the block is new.
    fn iteration(&mut self, huge: bool) -> Option<(Option<VmFault>, bool)> {
        let Some(Iomap(kind, extent)) = self.peek() else { return Some((None, false)) };
        let new = extent == ExtentFlags::New;
        let hole = kind != "MAPPED";
        // Only written blocks are shared, and only a store copies them.
        let shared = matches!(extent, ExtentFlags::Shared | ExtentFlags::Cow);
        if (shared && hole) || (extent == ExtentFlags::Cow && !self.write) {
            return None;
        }
        self.at += 1;
        if let Some(ret) = self.returned("finish_fault") {
            let copied = if ret == DONE { VmFault::DONE_COW } else { ret };
            return (!huge && self.write).then_some((Some(copied), false));
        }
        self.zap();
        let told = self.insert();
        if !hole {
            return Some((told, new && !huge));
        }
        // Before the series a huge hole is mapped without a helper.
        let fell_back = huge && self.event("dax_pmd_load_hole_fallback");
        let loaded = fell_back || self.event(if huge { "dax_pmd_load_hole" } else { "dax_load_hole" });
        let told = match (loaded, told) {
            (true, None) if fell_back => Some(VmFault::FALLBACK),
            (true, None) if huge => Some(VmFault::NOPAGE),
            (false, Some(_)) => return None,
            (_, told) => told,
        };
        Some((told, new))
    }

    /// An insert helper, and the put of the reference around it, which may be the last.
    fn insert(&mut self) -> Option<VmFault> {
        let ret = self.helper()?;
        self.event("free_zone_device_folio");
        Some(ret)
    }

    /// The flags that a helper set, its inner function, and itself.
    fn helper(&mut self) -> Option<VmFault> {
        self.set_access_flags();
        if let Some(Returned(name, ret)) = self.peek()
            && HUGE_HELPERS.contains(&name)
        {
            self.at += 1;
            return Some(ret);
        }
        let inner = match self.peek() {
            Some(Returned(name @ "insert_pfn", ret)) => Some((name, ret)),
            Some(Value(name @ "insert_page_into_pte_locked", 0 | -16)) => Some((name, VmFault::NOPAGE)),
            // A mismatch, which is as the variant says.
            Some(Value(name @ "insert_page_into_pte_locked", -14)) => Some((name, VmFault::SIGBUS)),
            _ => None,
        };
        self.at += usize::from(inner.is_some());
        let Some(Returned(outer, ret)) = self.peek() else { return None };
        let belongs = SMALL_HELPERS
            .iter()
            .any(|(name, outers)| outers.contains(&outer) && inner.is_none_or(|(inner, _)| inner == *name));
        let fits = match inner {
            None => ret == VmFault::SIGBUS || ret == VmFault::OOM,
            Some((_, told)) => told == ret || [VmFault::NOPAGE, VmFault::SIGBUS].contains(&ret),
        };
        (belongs && fits).then(|| {
            self.at += 1;
            ret
        })
    }

    fn sync(&mut self) -> Option<VmFault> {
        while let Some(Event(name) | Returned(name, _) | Value(name, _)) = self.peek()
            && WRITEBACK.contains(&name)
        {
            self.at += 1;
            self.flushes();
        }
        let told = self.insert();
        let mapped = self.event("dax_insert_pfn_mkwrite");
        let late = !mapped && self.event("dax_insert_pfn_mkwrite_no_entry");
        let ret = self.returned("dax_finish_sync_fault")?;
        let fits = match (mapped, late) {
            (true, _) => told == Some(ret),
            (_, true) => told.is_none() && ret == VmFault::NOPAGE,
            _ => told.is_none() && ret == VmFault::SIGBUS,
        };
        fits.then_some(ret)
    }

    /// `unmap_mapping_pages` with its flushes.
    fn zap(&mut self) {
        while self.event("unmap_mapping_pages") {
            self.flushes();
            while self.split() {}
        }
    }

    /// A huge entry removed.
    fn split(&mut self) -> bool {
        let split = self.event("__split_huge_pmd") || self.event("__split_huge_pud");
        if split {
            self.flushes();
        }
        split
    }

    fn set_access_flags(&mut self) -> bool {
        self.event("huge_pmd_set_accessed");
        let set = matches!(
            self.past_flushes(),
            Some(Value("ptep_set_access_flags" | "pmdp_set_access_flags" | "pudp_set_access_flags", 0 | 1))
        );
        if set {
            self.flushes();
            self.at += 1;
        }
        set
    }

    /// The next step that is no flush.
    fn past_flushes(&self) -> Option<PathStep> {
        self.steps[self.at..].iter().copied().find(|step| !matches!(step, TlbFlush(..)) && !unmaps(*step))
    }

    fn flushes(&mut self) {
        while self.peek().is_some_and(|step| matches!(step, TlbFlush(3 | 4, _)) || unmaps(step)) {
            self.at += 1;
        }
    }

    fn event(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Event(event)) if event == name);
        self.at += usize::from(found);
        found
    }

    fn returned(&mut self, name: &str) -> Option<VmFault> {
        match self.peek() {
            Some(Returned(found, ret)) if found == name => {
                self.at += 1;
                Some(ret)
            }
            _ => None,
        }
    }

    fn next(&mut self) -> Option<PathStep> {
        let step = self.peek();
        self.at += usize::from(step.is_some());
        step
    }

    /// The next step, past the flushes that come with interrupts.
    fn peek(&mut self) -> Option<PathStep> {
        while let Some(TlbFlush(0 | 5, _)) = self.steps.get(self.at) {
            self.at += 1;
        }
        self.steps.get(self.at).copied()
    }
}

/// Whether the step is one of unmapping or flushing.
fn unmaps(step: PathStep) -> bool {
    matches!(step, Event(name) | Value(name, _) if UNMAPPING.contains(&name))
}
