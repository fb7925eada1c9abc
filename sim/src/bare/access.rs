//! Accesses that a host makes.

use daxsim_types::{AccessKind, LINE_BYTES, PageSize, PhysAddr, Time, VirtAddr};
use thiserror::Error;

use super::{Bare, Charge, Mode};
use crate::measure::Part;
use crate::memory::{Access as Need, Level};
use crate::mmu::rights::Mode as Rights;
use crate::mmu::tlbs::HitLevel;

/// What an access does ([`Access::kind`]).
pub mod kind {
    /// Reads.
    pub const LOAD: u8 = 0;
    /// Writes.
    pub const STORE: u8 = 1;
    /// Reads an instruction: translated by the TLBs of fetches; the model has no cache of instructions.
    pub const FETCH: u8 = 2;
    /// Reads and writes, locked.
    pub const LOCKED: u8 = 3;
    /// Kinds that there are.
    pub const COUNT: usize = 4;
}

/// Bits of [`Access::flags`].
pub mod flag {
    /// By the host's kernel: counted apart.
    pub const KERNEL: u8 = 1;
    /// Its mapping is a global one (bit G of its entry), if this access makes it appear.
    pub const GLOBAL: u8 = 2;
    /// All that there are.
    pub const ALL: u8 = KERNEL | GLOBAL;
}

/// The size of the page that maps an access ([`Access::page`]).
pub mod page {
    /// That of the range that the address is in ([`super::Bare::add_range`]); where there is none, that of the mapping that is
    /// there; else 4 KiB.
    pub const LOOK_UP: u8 = 0;
    /// 4 KiB.
    pub const SIZE_4K: u8 = 1;
    /// 2 MiB.
    pub const SIZE_2M: u8 = 2;
    /// 1 GiB.
    pub const SIZE_1G: u8 = 3;
}

/// One access of one CPU. The layout is that of C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Access {
    /// Virtual address.
    pub va: u64,
    /// Physical address, equal to `va` in its lowest 12 bits. Persistent memory is where `pmem.base` says.
    pub pa: u64,
    /// Instructions that the CPU executed since the access before, the one of this access included.
    pub instructions: u32,
    /// The CPU, from 0.
    pub cpu: u16,
    /// Bytes, 1 to 4096.
    pub size: u16,
    /// See [`kind`].
    pub kind: u8,
    /// See [`flag`].
    pub flags: u8,
    /// See [`page`].
    pub page: u8,
    /// Zero.
    pub reserved: u8,
}

impl Access {
    /// A load of 8 bytes by the program.
    #[must_use]
    pub const fn load(cpu: u16, va: u64, pa: u64) -> Self {
        let (kind, page) = (kind::LOAD, page::LOOK_UP);
        Self { va, pa, instructions: 0, cpu, size: 8, kind, flags: 0, page, reserved: 0 }
    }

    /// A store of 8 bytes by the program.
    #[must_use]
    pub const fn store(cpu: u16, va: u64, pa: u64) -> Self {
        Self { kind: kind::STORE, ..Self::load(cpu, va, pa) }
    }

    /// The same as another kind of access.
    #[must_use]
    pub const fn of_kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// The same by the kernel.
    #[must_use]
    pub const fn by_kernel(self) -> Self {
        Self { flags: self.flags | flag::KERNEL, ..self }
    }

    /// The same through a global mapping.
    #[must_use]
    pub const fn global(self) -> Self {
        Self { flags: self.flags | flag::GLOBAL, ..self }
    }

    /// The same of so many bytes.
    #[must_use]
    pub const fn sized(self, size: u16) -> Self {
        Self { size, ..self }
    }

    /// The same after so many instructions.
    #[must_use]
    pub const fn after(self, instructions: u32) -> Self {
        Self { instructions, ..self }
    }

    /// The same in a page of this size.
    #[must_use]
    pub const fn in_page(self, size: PageSize) -> Self {
        Self { page: size as u8 + 1, ..self }
    }

    /// The size of the page, if it is said.
    pub(super) const fn page_size(&self) -> Option<PageSize> {
        match self.page {
            page::SIZE_4K => Some(PageSize::Size4K),
            page::SIZE_2M => Some(PageSize::Size2M),
            page::SIZE_1G => Some(PageSize::Size1G),
            _ => None,
        }
    }

    const fn mode(&self) -> Mode {
        if self.flags & flag::KERNEL != 0 { Mode::Kernel } else { Mode::User }
    }
}

/// The bits of an address that are the same in its physical one, by [`Access::page`].
const OFFSET: [u64; 4] = [0xfff, 0xfff, 0x1f_ffff, 0x3fff_ffff];

/// An access that cannot be made. Nothing has changed, but for [`AccessError::Unsettled`].
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// No such CPU.
    #[error("CPU {cpu} of {count}: expected one of the machine's, counted from 0")]
    NoSuchCpu {
        /// The CPU.
        cpu: u16,
        /// CPUs of the machine.
        count: usize,
    },
    /// A field that has no such value.
    #[error("{field} is {found}: expected {expected}")]
    Field {
        /// The field of [`Access`].
        field: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// The virtual address is not canonical.
    #[error("virtual address {va:#x}: expected a canonical one of {levels} levels of paging")]
    NotCanonical {
        /// The address.
        va: u64,
        /// `mmu.levels`.
        levels: u32,
    },
    /// The physical address has too many bits.
    #[error("physical address {pa:#x}: expected one of {bits} bits (mmu.physical_bits)")]
    TooHigh {
        /// The address.
        pa: u64,
        /// `mmu.physical_bits`.
        bits: u32,
    },
    /// The two addresses cannot belong to one page.
    #[error(
        "virtual address {va:#x} at physical address {pa:#x}: expected the same offset in a page of {page}"
    )]
    Offset {
        /// The virtual address.
        va: u64,
        /// The physical address.
        pa: u64,
        /// Size of the page.
        page: PageSize,
    },
    /// The tables do not lead to the page, though the host says so.
    #[error("no walk finds virtual address {va:#x} at physical address {pa:#x}")]
    Unsettled {
        /// The virtual address.
        va: u64,
        /// The physical address.
        pa: u64,
    },
}

impl Bare {
    /// Makes one access. Returns what it took, without the instructions before it: translation and data.
    ///
    /// # Errors
    ///
    /// [`AccessError`]
    pub fn access(&mut self, access: &Access) -> Result<Time, AccessError> {
        self.make(access)
    }

    /// Makes accesses in order, and gives what each took to `took`, with its number.
    ///
    /// # Errors
    ///
    /// The number of the first that cannot be made, and why; those before it are made.
    #[inline]
    pub fn run(
        &mut self,
        accesses: &[Access],
        mut took: impl FnMut(usize, Time),
    ) -> Result<(), (usize, AccessError)> {
        for (at, access) in accesses.iter().enumerate() {
            match self.make(access) {
                Ok(time) => took(at, time),
                Err(error) => return Err((at, error)),
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn make(&mut self, access: &Access) -> Result<Time, AccessError> {
        self.check(access)?;
        let cpu = usize::from(access.cpu);
        self.come_near(cpu);
        let mode = access.mode() as usize;
        let counts = &mut self.counts[cpu][mode];
        counts.instructions += u64::from(access.instructions);
        counts.accesses[usize::from(access.kind)] += 1;
        let core = &mut self.machine.cpus[cpu];
        let executed = core.instruction_time(access.instructions);
        core.spend_as(Part::User, executed);
        counts.compute += executed;
        let begun = core.now;
        self.translate_access(access, cpu, mode)?;
        if access.kind != kind::FETCH {
            self.reach(access, cpu, mode);
        }
        let now = self.machine.cpus[cpu].now;
        self.latest = self.latest.max(now);
        Ok(now - begun)
    }

    /// Refuses what is no access of this machine.
    #[inline(always)]
    fn check(&self, access: &Access) -> Result<(), AccessError> {
        let spec = &self.machine.spec.mmu;
        let right = usize::from(access.cpu) < self.counts.len()
            && usize::from(access.kind) < kind::COUNT
            && access.page <= page::SIZE_1G
            && access.flags & !flag::ALL == 0
            && access.reserved == 0
            && access.size.wrapping_sub(1) < 4096
            && (access.va ^ access.pa) & OFFSET[usize::from(access.page & 3)] == 0
            && access.pa >> spec.physical_bits == 0
            && VirtAddr(access.va).is_canonical_in(spec.levels);
        if right { Ok(()) } else { Err(self.what_is_wrong(access)) }
    }

    #[cold]
    fn what_is_wrong(&self, access: &Access) -> AccessError {
        let Access { va, pa, .. } = *access;
        let (count, levels) = (self.counts.len(), self.machine.spec.mmu.levels);
        let field = |field, found, expected| AccessError::Field { field, found, expected };
        if usize::from(access.cpu) >= count {
            AccessError::NoSuchCpu { cpu: access.cpu, count }
        } else if usize::from(access.kind) >= kind::COUNT {
            field("kind", access.kind.into(), "0 (load), 1 (store), 2 (fetch) or 3 (locked)")
        } else if access.page > page::SIZE_1G {
            field("page", access.page.into(), "0 (look it up), 1 (4 KiB), 2 (2 MiB) or 3 (1 GiB)")
        } else if access.flags & !flag::ALL != 0 {
            field("flags", access.flags.into(), "1 (kernel), 2 (global), both or neither")
        } else if access.reserved != 0 {
            field("reserved", access.reserved.into(), "0")
        } else if access.size.wrapping_sub(1) >= 4096 {
            field("size", access.size.into(), "1 to 4096 bytes")
        } else if !VirtAddr(va).is_canonical_in(levels) {
            AccessError::NotCanonical { va, levels }
        } else if (va ^ pa) & OFFSET[usize::from(access.page & 3)] != 0 {
            AccessError::Offset { va, pa, page: access.page_size().unwrap_or(PageSize::Size4K) }
        } else {
            AccessError::TooHigh { pa, bits: self.machine.spec.mmu.physical_bits }
        }
    }

    /// Brings the clock of a CPU that was away near the latest.
    #[inline(always)]
    pub(super) fn come_near(&mut self, cpu: usize) {
        let earliest = self.latest.saturating_sub(self.options.max_skew);
        if self.machine.cpus[cpu].now < earliest {
            self.machine.cpus[cpu].wait_until(earliest, Part::Idle);
        }
    }

    /// The translation of an access, by the TLBs if they have it.
    #[inline(always)]
    fn translate_access(&mut self, access: &Access, cpu: usize, mode: usize) -> Result<(), AccessError> {
        let kind = match access.kind {
            kind::LOAD => AccessKind::Read,
            kind::FETCH => AccessKind::Fetch,
            _ => AccessKind::Write,
        };
        let (va, frame) = (VirtAddr(access.va), PhysAddr(access.pa).pfn());
        let core = &mut self.machine.cpus[cpu];
        let pcid = core.pcid;
        if let Some((found, penalty)) = core.tlbs.hit(va, pcid, kind)
            && found == frame
        {
            self.spend_walk(cpu, mode, penalty);
            return Ok(());
        }
        self.translate_on(access, (cpu, mode), kind)
    }

    #[inline(always)]
    fn spend_walk(&mut self, cpu: usize, mode: usize, penalty: Time) {
        if penalty > Time::ZERO {
            self.machine.cpus[cpu].spend_as(Part::Walk, penalty);
            self.counts[cpu][mode].walk += penalty;
        }
    }

    /// The rest of it: not the page found last, or not in the first level, or not as the host says.
    #[inline(never)]
    fn translate_on(
        &mut self,
        access: &Access,
        (cpu, mode): (usize, usize),
        kind: AccessKind,
    ) -> Result<(), AccessError> {
        let (va, frame) = (VirtAddr(access.va), PhysAddr(access.pa).pfn());
        let core = &mut self.machine.cpus[cpu];
        let mut clean_copy = false;
        if let Some((entry, level, penalty)) = core.tlbs.lookup(va, core.pcid, kind) {
            self.spend_walk(cpu, mode, penalty);
            if entry.frame(va) != frame {
                self.drop_stale(cpu, va);
            } else if kind.is_write() && !entry.dirty {
                clean_copy = true;
            } else {
                self.counts[cpu][mode].second_level_hits += u64::from(level == HitLevel::Stlb);
                return Ok(());
            }
        }
        self.counts[cpu][mode].walks += 1;
        self.settle(cpu, access);
        for _ in 0..2 {
            let (before, now) = (self.machine.measure.walk_references, self.machine.cpus[cpu].now);
            let walked = self.machine.walk(cpu, va, (kind, Rights::User), now, clean_copy);
            self.machine.cpus[cpu].spend_as(Part::Walk, walked.walk);
            self.machine.cpus[cpu].spend_as(Part::Assist, walked.assist);
            let counts = &mut self.counts[cpu][mode];
            counts.walk_reads += self.machine.measure.walk_references - before;
            counts.walk += walked.walk;
            counts.assist += walked.assist;
            if walked.result.is_ok_and(|found| found.frame(va) == frame) {
                return Ok(());
            }
            // Caches of the walker held what is no more.
            self.drop_stale(cpu, va);
            clean_copy = false;
        }
        Err(AccessError::Unsettled { va: access.va, pa: access.pa })
    }

    /// Drops what a CPU has cached of an address: the host contradicts it.
    fn drop_stale(&mut self, cpu: usize, va: VirtAddr) {
        self.mapping.stale += 1;
        self.machine.drop_refused(cpu, va);
    }

    /// The data of an access.
    #[inline(always)]
    fn reach(&mut self, access: &Access, cpu: usize, mode: usize) {
        let line = PhysAddr(access.pa).line();
        let write = access.kind != kind::LOAD;
        let last = (access.pa & (LINE_BYTES - 1)) + u64::from(access.size) - 1;
        let hit_time = match self.options.charge {
            Charge::Latency => self.machine.spec.cache.l1d.latency,
            Charge::Instruction => Time::ZERO,
        };
        if last < LINE_BYTES && access.kind != kind::LOCKED && self.machine.memory.try_l1(cpu, line, write) {
            if hit_time > Time::ZERO {
                self.machine.cpus[cpu].spend_as(Part::User, hit_time);
                self.counts[cpu][mode].compute += hit_time;
            }
            return;
        }
        self.reach_on(access, (cpu, mode), last, hit_time);
    }

    /// The rest of it: more than one line, a lock, or not in the L1D.
    #[inline(never)]
    fn reach_on(&mut self, access: &Access, (cpu, mode): (usize, usize), last: u64, hit_time: Time) {
        let need = match access.kind {
            kind::LOAD => Need::Read,
            kind::LOCKED => Need::Rmw,
            _ => Need::Write,
        };
        let in_page = (access.pa & 0xfff) / LINE_BYTES;
        let wanted = last / LINE_BYTES;
        let lines = wanted.min(63 - in_page);
        let first = PhysAddr(access.pa).line().0;
        let now = self.machine.cpus[cpu].now;
        let counts = &mut self.counts[cpu][mode];
        counts.cut += u64::from(wanted > lines);
        counts.further_lines += lines;
        // The lines of one access are asked for at the same time.
        let mut latency = Time::ZERO;
        for line in first..=first + lines {
            let outcome = self.machine.memory.access(cpu, daxsim_types::CacheLine(line), need, now);
            latency = latency.max(outcome.latency);
            counts.levels[outcome.level as usize] += u64::from(outcome.level != Level::L1);
        }
        let stall = latency.saturating_sub(self.machine.spec.cache.l1d.latency);
        let locked = if need == Need::Rmw { self.machine.spec.cost.locked_rmw } else { Time::ZERO };
        let core = &mut self.machine.cpus[cpu];
        core.spend_as(Part::User, hit_time + locked);
        core.spend_as(Part::Memory, stall);
        counts.compute += hit_time + locked;
        counts.memory += stall;
    }
}
