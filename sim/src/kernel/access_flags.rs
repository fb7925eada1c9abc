//! `ptep_set_access_flags` and its relatives, in the ways of several architectures (spec 6.2).

use daxsim_configs::kernel::{AccessFlagsFlush, SetAccessFlags};
use daxsim_configs::machine::{AccessedBit, DirtyBit};
use daxsim_types::PageSize;

use super::flush::flush_tlb_mm_range;
use super::vmf::Vmf;
use crate::engine::Cx;
use crate::machine::Machine;
use crate::measure::{FaultKind, PathStep};
use crate::mmu::entry::Entry;
use crate::mmu::table::Slot;

/// `ptep_set_access_flags`, or by `size` that of a PMD or PUD, with `dirty` for a write fault: makes `old` into `new` under the
/// lock of the table. True if they differ, whether or not that was stored: the caller then calls `update_mmu_cache`.
pub(crate) async fn ptep_set_access_flags(
    cx: &Cx<'_>,
    vmf: &Vmf,
    slot: Slot,
    size: PageSize,
    old: Entry,
    new: Entry,
) -> bool {
    let rule = cx.with(|m| m.kernel.ask(|k| k.arch.set_access_flags));
    let changed = new != old;
    if changed && (vmf.write || rule != SetAccessFlags::X86) {
        store_flags(cx, slot, new, rule).await;
        // The generic function flushes whatever it stored, the others what a write fault changed.
        if vmf.write || rule == SetAccessFlags::Generic {
            flush(cx, vmf, size).await;
        }
    }
    let name = match size {
        PageSize::Size4K => "ptep_set_access_flags",
        PageSize::Size2M => "pmdp_set_access_flags",
        PageSize::Size1G => "pudp_set_access_flags",
    };
    cx.note(PathStep::Value(name, i32::from(changed)));
    changed
}

async fn store_flags(cx: &Cx<'_>, slot: Slot, new: Entry, rule: SetAccessFlags) {
    if rule == SetAccessFlags::Arm64 {
        cx.rmw(slot.line()).await;
        cx.with(|m| {
            let current = m.tables.read(slot);
            m.tables.write(slot, with_flags(current, new));
        });
        return;
    }
    // Hardware may have set A or D since the entry was read; a plain store would lose it, and does on x86 too: under the
    // lock nothing but the walker writes here, and the callers want those bits set or find them clear.
    cx.store(slot.line()).await;
    cx.with(|m| m.tables.write(slot, new));
}

/// `current` with the flags of `wanted` on top: what the loop around the exchange ends with.
fn with_flags(current: Entry, wanted: Entry) -> Entry {
    const FLAGS: u64 = Entry::RW | Entry::A | Entry::D | Entry::SAVED_DIRTY | Entry::SOFT_DIRTY;
    let merged = Entry(current.0 | (wanted.0 & FLAGS));
    if merged.is_writable() { merged.mkwrite() } else { merged }
}

async fn flush(cx: &Cx<'_>, vmf: &Vmf, size: PageSize) {
    let start = vmf.address.align_down(size);
    match cx.with(|m| m.kernel.ask(|k| k.arch.access_flags_flush)) {
        AccessFlagsFlush::None => {}
        AccessFlagsFlush::Local => {
            cx.with(|m| m.local_flush_tlb_page(cx.cpu().index(), vmf.mm, start));
        }
        AccessFlagsFlush::Broadcast => {
            let range = (start.0, start.0 + size.bytes());
            flush_tlb_mm_range(cx, vmf.mm, range, size.shift(), false).await;
        }
    }
}

impl Machine {
    /// `cpu_has_hw_af`: whether the CPU sets A itself. Where not, a load may be refused by an entry that is present.
    pub(crate) fn cpu_has_hw_af(&self) -> bool {
        self.spec.mmu.accessed == AccessedBit::Hardware
    }

    /// The kind of a fault that found nothing to do but, if `changed`, flags to set: where hardware sets them, the entry got
    /// its rights meanwhile.
    pub(crate) fn flags_fault_kind(&self, changed: bool) -> FaultKind {
        let by_software = !self.cpu_has_hw_af() || self.spec.mmu.dirty == DirtyBit::Software;
        if changed && by_software { FaultKind::AccessFlags } else { FaultKind::Spurious }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_adds_flags_and_keeps_what_hardware_set_meanwhile() {
        let clean = Entry(Entry::P | Entry::US | Entry::RW);
        let meanwhile = Entry(clean.0 | Entry::D);
        assert_eq!(with_flags(meanwhile, clean.mkyoung()), Entry(meanwhile.0 | Entry::A));
        let parked = Entry(Entry::P | Entry::US).mkdirty();
        let upgraded = with_flags(parked, parked.mkyoung().mkwrite());
        assert!(
            upgraded.hw_dirty() && upgraded.0 & Entry::SAVED_DIRTY == 0,
            "D comes back with RW: {upgraded}"
        );
    }
}
