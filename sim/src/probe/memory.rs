//! Memory for probes, in pages of any size.

use daxsim_types::{PageSize, VirtAddr};

use super::ProbeError;
use crate::kernel::mm::MmId;
use crate::kernel::vma::{Backing, Vma};
use crate::machine::Machine;
use crate::mmu::entry::Entry;

/// Tables in between are made as they are needed, so the level of a leaf is all that differs.
const fn level(page: PageSize) -> u32 {
    match page {
        PageSize::Size4K => 0,
        PageSize::Size2M => 1,
        PageSize::Size1G => 2,
    }
}

impl Machine {
    /// Maps populated anonymous memory: at least `bytes` from `start`, in pages of `page`, writable, young and dirty. Takes no
    /// simulated time.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NoMemory`]
    pub fn map_populated(
        &mut self,
        mm: MmId,
        start: VirtAddr,
        bytes: u64,
        page: PageSize,
    ) -> Result<(), ProbeError> {
        let pages = bytes.div_ceil(page.bytes());
        let bytes = pages * page.bytes();
        let room = self.user_frames.room(page);
        if bytes > room {
            return Err(ProbeError::NoMemory { bytes, page, room });
        }
        self.populate(mm, start, pages, page);
        Ok(())
    }

    /// Maps populated anonymous memory as [`Machine::map_populated`] does, in 4 KiB pages, whether it fits or not: frames beyond
    /// the end of DRAM are as good as any, to a benchmark.
    pub fn map_anonymous(&mut self, mm: MmId, start: u64, pages: u64) {
        self.populate(mm, VirtAddr(start), pages, PageSize::Size4K);
    }

    fn populate(&mut self, mm: MmId, start: VirtAddr, pages: u64, page: PageSize) {
        let lock = self.new_vma_lock();
        let vma = Vma {
            start: start.0,
            end: start.0 + pages * page.bytes(),
            backing: Backing::Anonymous,
            read: true,
            write: true,
            exec: false,
            grows_down: false,
            shared: false,
            sync: false,
            no_huge: page == PageSize::Size4K,
            has_copies: false,
            lock,
        };
        self.insert_vma(mm, vma);
        let size = if page == PageSize::Size4K { 0 } else { Entry::PS };
        let bits = Entry::P | Entry::RW | Entry::US | Entry::A | Entry::D | Entry::NX | size;
        for at in 0..pages {
            let va = VirtAddr(start.0 + at * page.bytes());
            let Some(slot) = self.free_slot(mm, va, level(page)) else { continue };
            let frame = self.user_frames.take(page);
            self.tables.write(slot, Entry::leaf(frame, bits));
        }
    }
}
