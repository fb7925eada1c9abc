//! Anonymous memory: zero pages, pages on first write, transparent huge pages (`mm/memory.c`, `mm/huge_memory.c`).

use daxsim_types::{PageSize, Pfn, VirtAddr, VmFault};

use super::fault::{ensure_table, handle_pte_fault, huge_set_accessed, read_entry};
use super::flush::flush_tlb_mm_range;
use super::lru::{add_to_lru, allocate_and_charge};
use super::mm::MmId;
use super::mmu_hook::update_mmu_cache;
use super::vma::{Backing, Vma};
use super::vmf::Vmf;
use super::zap::split_huge;
use crate::engine::{Cx, LockMode};
use crate::machine::Machine;
use crate::measure::{FaultKind, Part, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

const HUGE: u64 = PageSize::Size2M.bytes();

/// `__handle_mm_fault` of memory outside DAX.
pub(super) async fn handle_levels(cx: &Cx<'_>, vmf: &mut Vmf) -> VmFault {
    cx.trail(|t| t.outside_dax = true);
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 1).await else { return VmFault::OOM };
    let slot = Slot::of(table, vmf.address, 1);
    let pmd = read_entry(cx, slot).await;
    if pmd.is_none() {
        if thp_vma_allowable_order(cx, vmf) {
            return do_huge_pmd_anonymous_page(cx, vmf, slot).await;
        }
    } else if pmd.is_leaf_at(1) {
        if !vmf.write || pmd.is_writable() {
            return huge_set_accessed(cx, vmf, slot, pmd, PageSize::Size2M).await;
        }
        let ret = do_huge_pmd_wp_page(cx, vmf, slot, pmd).await;
        cx.note(PathStep::Returned("do_huge_pmd_wp_page", ret));
        if ret != VmFault::FALLBACK {
            return ret;
        }
    }
    handle_pte_fault(cx, vmf).await
}

/// Whether the fault may be served by a huge page: the policy, the VMA's flags, and the room in it.
fn thp_vma_allowable_order(cx: &Cx<'_>, vmf: &Vmf) -> bool {
    let vma = &vmf.vma;
    vma.backing == Backing::Anonymous
        && !vma.no_huge
        && vma.covers_huge(vmf.address, PageSize::Size2M)
        && cx.with(|m| m.kernel.ask(|k| k.tree.thp_always))
}

/// `do_anonymous_page`: the zero page for a read, a zeroed page for a write.
pub(super) async fn do_anonymous_page(cx: &Cx<'_>, vmf: &Vmf) -> VmFault {
    let Some(table) = ensure_table(cx, vmf.mm, vmf.address, 0).await else { return VmFault::OOM };
    let before = cx.set_part(Part::Insert);
    let prot = cx.with(|m| m.vm_page_prot(&vmf.vma));
    let slot = Slot::of(table, vmf.address, 0);
    let (entry, frame) = if vmf.write {
        cx.step(|p| p.anon_page);
        allocate_and_charge(cx).await;
        let frame = cx.with(Machine::new_user_frame);
        clear_page(cx, frame).await;
        (Entry::leaf(frame, prot).mkyoung().mkdirty().mkwrite(), Some(frame))
    } else {
        cx.step(|p| p.anon_zero_page);
        let zero = cx.with(|m| m.globals.zero_page);
        (Entry::leaf(zero, prot).mkspecial(), None)
    };
    if let Some(ptl) = cx.with(|m| m.tables.lock(table)) {
        cx.lock(ptl, LockMode::Exclusive).await;
        let free = cx.with(|m| m.tables.read(slot)).is_none();
        if free {
            if let Some(frame) = frame {
                count_anonymous(cx, vmf, frame, PageSize::Size4K).await;
                add_to_lru(cx, frame).await;
            }
            cx.store(slot.line()).await;
        }
        cx.with(|m| match (free, frame) {
            (true, _) => m.tables.write(slot, entry),
            (false, Some(frame)) => m.release_user_frame(frame),
            (false, None) => {}
        });
        if free {
            update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size4K);
        }
        cx.trail(|t| {
            t.new = free.then_some(entry);
            t.kind = Some(match (free, vmf.write) {
                (false, _) => FaultKind::Spurious,
                (true, true) => FaultKind::AnonWrite,
                (true, false) => FaultKind::AnonRead,
            });
        });
        cx.unlock(ptl, LockMode::Exclusive).await;
    }
    cx.set_part(before);
    VmFault::default()
}

/// `do_huge_pmd_anonymous_page`: the huge zero page for a read, a zeroed huge page for a write.
async fn do_huge_pmd_anonymous_page(cx: &Cx<'_>, vmf: &Vmf, slot: Slot) -> VmFault {
    let before = cx.set_part(Part::Insert);
    let entry = if vmf.write {
        let head = alloc_huge(cx).await;
        huge_entry(cx, vmf, head)
    } else {
        cx.step(|p| p.anon_zero_page);
        cx.with(|m| Entry::leaf(m.globals.huge_zero_page, m.vm_page_prot(&vmf.vma) | Entry::PS))
    };
    install_huge(cx, vmf, slot, Entry::NONE, entry).await;
    cx.set_part(before);
    VmFault::default()
}

async fn alloc_huge(cx: &Cx<'_>) -> Pfn {
    cx.step(|p| p.anon_huge_page);
    let head = cx.with(Machine::new_huge_user_frame);
    for page in 0..PageSize::Size2M.pages() {
        clear_page(cx, Pfn(head.0 + page)).await;
    }
    head
}

fn huge_entry(cx: &Cx<'_>, vmf: &Vmf, head: Pfn) -> Entry {
    let prot = cx.with(|m| m.vm_page_prot(&vmf.vma));
    Entry::leaf(head, prot | Entry::PS).mkyoung().mkdirty().mkwrite()
}

/// Puts a huge entry where `old` is, under the page-table lock; gives its page back if another CPU was faster.
async fn install_huge(cx: &Cx<'_>, vmf: &Vmf, slot: Slot, old: Entry, entry: Entry) {
    let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    let unchanged = cx.with(|m| m.tables.read(slot)) == old;
    let zero = cx.with(|m| entry.pfn() == m.globals.huge_zero_page);
    if unchanged {
        if !old.is_none() {
            // pmdp_huge_clear_flush
            cx.with(|m| m.tables.write(slot, Entry::NONE));
            let start = vmf.address.align_down(PageSize::Size2M).0;
            flush_tlb_mm_range(cx, vmf.mm, (start, start + HUGE), 21, false).await;
        }
        if !zero {
            count_anonymous(cx, vmf, entry.pfn(), PageSize::Size2M).await;
        }
        cx.store(slot.line()).await;
        cx.with(|m| {
            m.tables.write(slot, entry);
            m.note_copy(vmf);
        });
        update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size2M);
        cx.trail(|t| {
            t.new = Some(entry);
            t.kind = Some(FaultKind::AnonHuge);
        });
    } else {
        if !zero {
            cx.with(|m| m.release_huge_frame(entry.pfn()));
        }
        cx.trail(|t| t.kind = Some(FaultKind::Spurious));
    }
    cx.unlock(lock, LockMode::Exclusive).await;
}

/// `do_huge_pmd_wp_page`: an exclusive huge page is made writable, a shared one split. The huge zero page is replaced or
/// split, as the tree has it.
async fn do_huge_pmd_wp_page(cx: &Cx<'_>, vmf: &Vmf, slot: Slot, orig: Entry) -> VmFault {
    cx.step(|p| p.wp_page);
    let (zero, replaces, exclusive) = cx.with(|m| {
        let zero = orig.pfn() == m.globals.huge_zero_page;
        (zero, m.kernel.ask(|k| k.tree.thp_zero_page_replaced), !zero && m.is_exclusive(orig.pfn()))
    });
    if exclusive {
        let lock = cx.with(|m| m.mm(vmf.mm).pmd_lock);
        cx.lock(lock, LockMode::Exclusive).await;
        cx.store(slot.line()).await;
        if cx.with(|m| m.tables.read(slot)) == orig {
            cx.with(|m| m.tables.write(slot, orig.mkyoung().mkdirty().mkwrite()));
            update_mmu_cache(cx, vmf.mm, vmf.address, slot, PageSize::Size2M);
        }
        cx.trail(|t| t.kind = Some(FaultKind::AnonReuse));
        cx.unlock(lock, LockMode::Exclusive).await;
        return VmFault::default();
    }
    if zero && replaces && vmf.vma.covers_huge(vmf.address, PageSize::Size2M) {
        let head = alloc_huge(cx).await;
        install_huge(cx, vmf, slot, orig, huge_entry(cx, vmf, head)).await;
        return VmFault::default();
    }
    split_huge(cx, vmf.mm, &vmf.vma, slot, vmf.address, PageSize::Size2M).await;
    VmFault::FALLBACK
}

/// `__split_huge_pmd_locked` of an anonymous page: the same frames in a page table. The caller holds the lock.
pub(super) async fn split_anonymous(cx: &Cx<'_>, mm: MmId, slot: Slot, va: VirtAddr) {
    let start = va.align_down(PageSize::Size2M).0;
    cx.rmw(slot.line()).await;
    let old = cx.with(|m| {
        let old = m.tables.read(slot);
        m.tables.write(slot, Entry::NONE);
        old
    });
    flush_tlb_mm_range(cx, mm, (start, start + HUGE), 21, false).await;
    // The table was put aside when the huge page was mapped (pgtable_trans_huge_deposit).
    let table = cx.with(Machine::new_table);
    let mut op = cx.stores();
    op.store_page(table).await;
    op.finish();
    cx.with(|m| {
        let zero = old.pfn() == m.globals.huge_zero_page;
        if !zero {
            m.split_frame(old.pfn());
        }
        for page in 0..PageSize::Size2M.pages() {
            let bits = old.without_frame() & !(Entry::PS | Entry::PAT_LARGE);
            let entry = if zero {
                Entry::leaf(m.globals.zero_page, bits).mkspecial()
            } else {
                Entry::leaf(Pfn(old.pfn().0 + page), bits)
            };
            m.tables.write(Slot::of(table, VirtAddr(start + (page << 12)), 0), entry);
        }
        m.tables.write(slot, Entry::table(table));
    });
    cx.store(slot.line()).await;
}

/// `clear_page`.
pub(super) async fn clear_page(cx: &Cx<'_>, frame: Pfn) {
    let mut op = cx.string_step(|p| p.clear_page);
    op.store_page(frame).await;
    op.finish();
}

/// Reverse mapping, LRU and RSS of a new anonymous page.
async fn count_anonymous(cx: &Cx<'_>, vmf: &Vmf, frame: Pfn, size: PageSize) {
    let line = cx.with(|m| m.pages.line(frame));
    cx.rmw(line).await;
    cx.with(|m| {
        m.mm_mut(vmf.mm).rss_anon += size.pages() as i64;
        m.note_copy(vmf);
    });
}

/// Makes a stack reach down to an address below it (`expand_stack`), within its limit. Needs mmap_lock for writing, which
/// this takes.
pub(super) async fn expand_stack(cx: &Cx<'_>, mm: MmId, va: VirtAddr) {
    let lock = cx.with(|m| m.mm(mm).mmap_lock);
    cx.lock(lock, LockMode::Exclusive).await;
    cx.with(|m| {
        let Some(vma) = m.stack_above(mm, va) else { return };
        let start = va.align_down(PageSize::Size4K).0;
        let space = m.mm_mut(mm);
        space.vmas.remove(&vma.start);
        space.vmas.insert(start, Vma { start, ..vma });
    });
    cx.unlock(lock, LockMode::Exclusive).await;
}

impl Machine {
    /// Adds a mapping outside DAX in no time, as a trace tells of it: private and readable but for what `change` makes of it. It
    /// is joined with its neighbours if they are alike.
    pub fn map_ordinary(
        &mut self,
        mm: MmId,
        (start, end): (u64, u64),
        backing: Backing,
        change: impl FnOnce(&mut Vma),
    ) {
        let mut vma = Vma {
            start,
            end,
            backing,
            read: true,
            write: false,
            exec: false,
            grows_down: false,
            shared: false,
            sync: false,
            no_huge: false,
            has_copies: false,
            lock: self.new_vma_lock(),
        };
        change(&mut vma);
        self.insert_vma(mm, vma);
        self.join_vmas(mm, start, end);
    }

    /// The stack that would grow down to an address: the next VMA above, within `RLIMIT_STACK`.
    pub(crate) fn stack_above(&self, mm: MmId, va: VirtAddr) -> Option<Vma> {
        let limit = self.kernel.ask(|k| k.tree.stack_limit);
        let space = self.mm(mm);
        let next = space.find_vma_from(va).copied()?;
        (next.grows_down && va.0 < next.start && next.end - va.0 <= limit).then_some(next)
    }

    /// A frame of user memory that begins 512 consecutive ones, aligned.
    pub(crate) fn new_huge_user_frame(&mut self) -> Pfn {
        self.user_frames.take(PageSize::Size2M)
    }

    /// Whether a huge page was split in some address space: its frames are counted one by one then.
    fn is_split(&self, head: Pfn) -> bool {
        self.shared_copies.contains_key(&(head.0 + 1))
    }

    /// A huge page becomes small ones, each mapped as often as the whole was.
    fn split_frame(&mut self, head: Pfn) {
        let maps = self.shared_copies.get(&head.0).copied().unwrap_or(1);
        if maps > 1 && !self.is_split(head) {
            for page in 1..PageSize::Size2M.pages() {
                self.shared_copies.insert(head.0 + page, maps);
            }
        }
    }

    /// Gives back a huge page, or one mapping of it.
    pub(crate) fn release_huge_frame(&mut self, head: Pfn) {
        let shared = self.shared_copies.get(&head.0).is_some_and(|maps| *maps > 1);
        let parts = if shared && !self.is_split(head) { 1 } else { PageSize::Size2M.pages() };
        for page in 0..parts {
            self.release_user_frame(Pfn(head.0 + page));
        }
    }
}
