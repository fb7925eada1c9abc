//! What a window asks of the core that it belongs to.

use daxsim_configs::machine::MachineSpec;
use daxsim_types::{AccessKind, CacheLine, Time, VirtAddr};

use crate::engine::Moment;
use crate::machine::Machine;
use crate::measure::Part;
use crate::memory;
use crate::mmu::rights::Mode;
use crate::mmu::{Cached, Refusal, inside};
use crate::program::{Access, Ahead};

/// What the TLBs say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// The line, and what finding it added.
    Hit(CacheLine, Time),
    /// The tables have to be walked.
    Miss,
    /// There is a translation, which does not let the access through as it is.
    Denied,
}

/// How a walk went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    /// The line, and whether the translation lets stores through as it is.
    pub outcome: Result<(CacheLine, bool), Refusal>,
    /// When it ended, assists left out.
    pub end: Time,
    /// What setting A and D took.
    pub assist: Time,
    /// Shift of the page's size.
    pub shift: u32,
}

/// A core: its clock, TLBs, walkers and L1D.
pub(crate) trait Core {
    /// The clock.
    fn now(&self) -> Time;
    /// Lets time pass; returns the clock.
    fn spend(&mut self, part: Part, dt: Time) -> Time;
    /// Looks the TLBs up.
    fn lookup(&mut self, va: VirtAddr, kind: AccessKind) -> Lookup;
    /// Walks from `start` on.
    fn walk(&mut self, va: VirtAddr, kind: AccessKind, start: Time) -> Walk;
    /// Walks from `start` on for an access that may never be made; when that ends, and the shift of the page's size.
    fn walk_ahead(&mut self, va: VirtAddr, start: Time) -> (Time, u32);
    /// Whether the L1D has the line.
    fn try_l1(&mut self, line: CacheLine, write: bool) -> bool;
    /// Fetches a line that [`Self::try_l1`] has just not found; what that takes.
    fn fetch(&mut self, line: CacheLine, write: bool, at: Time) -> Time;
    /// An access has begun with its data and can no longer fail.
    fn completed(&mut self, kind: AccessKind);
    /// Whether another CPU may have to go first after all, for what this one did.
    fn gave_way(&self) -> bool {
        false
    }
    /// What comes next, for the host's sake alone: the address of the access that is translated so many after the next.
    fn look_ahead(&mut self, _: impl Fn(usize) -> Option<VirtAddr>) {}
}

/// What a window has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Accesses in it.
    pub window: u64,
    /// Time between two loads that enter.
    pub load_interval: Time,
    /// Time between a store and what enters next.
    pub store_interval: Time,
    /// Loads in it.
    pub load_buffer: u64,
    /// Stores that have not been written.
    pub store_buffer: usize,
    /// Lines that the L1D waits for.
    pub fill_buffers: usize,
    /// Walks at a time.
    pub walkers: usize,
    /// What an L1D hit takes.
    pub l1: Time,
    /// An access that hits first-level TLB and L1D is complete before the window, the load buffer or the store buffer could be
    /// full of such: it needs no place there.
    pub hits_are_short: bool,
    /// Levels of paging, which say what address is canonical.
    pub levels: u32,
    /// Accesses behind one that has to be alone are translated ahead.
    pub run_ahead: bool,
}

impl Limits {
    /// The limits of a machine; `None` if its cores stall on every access.
    pub(crate) fn new(spec: &MachineSpec) -> Option<Self> {
        let (cpu, l1) = (&spec.cpu, spec.cache.l1d.latency);
        let fast = cpu.load_interval.min(cpu.store_interval);
        let hits_are_short = u64::from(cpu.window).saturating_mul(fast.0) >= l1.0
            && u64::from(cpu.load_buffer).saturating_mul(cpu.load_interval.0) >= l1.0
            && u64::from(cpu.store_buffer).saturating_mul(cpu.store_interval.0) >= l1.0;
        (cpu.window > 1).then_some(Self {
            window: u64::from(cpu.window),
            load_interval: cpu.load_interval,
            store_interval: cpu.store_interval,
            load_buffer: u64::from(cpu.load_buffer),
            store_buffer: cpu.store_buffer as usize,
            fill_buffers: cpu.fill_buffers as usize,
            walkers: spec.mmu.walkers as usize,
            l1,
            hits_are_short,
            levels: spec.mmu.levels,
            run_ahead: cpu.run_ahead,
        })
    }

    /// Time that an access holds up those after it.
    #[inline]
    pub(super) fn interval(&self, access: Access) -> Time {
        let own = if access.kind.is_write() { self.store_interval } else { self.load_interval };
        own + Time(u64::from(access.work))
    }
}

/// A CPU of the machine.
pub(crate) struct OnCpu<'m> {
    machine: &'m mut Machine,
    index: usize,
    ahead: Ahead,
    /// A line came from beyond the L3 since the last look ahead.
    far: bool,
}

impl<'m> OnCpu<'m> {
    pub(crate) fn new(machine: &'m mut Machine, index: usize) -> Self {
        Self { machine, index, ahead: Ahead::new(), far: false }
    }

    /// What follows bears on other CPUs.
    #[inline]
    fn act(&mut self) {
        let time = self.machine.cpus[self.index].now;
        self.machine.memory.begin_action(Moment { time, cpu: self.index });
    }
}

impl Core for OnCpu<'_> {
    #[inline]
    fn now(&self) -> Time {
        self.machine.cpus[self.index].now
    }

    #[inline]
    fn spend(&mut self, part: Part, dt: Time) -> Time {
        let cpu = &mut self.machine.cpus[self.index];
        cpu.spend_as(part, dt);
        cpu.now
    }

    #[inline(always)]
    fn lookup(&mut self, va: VirtAddr, kind: AccessKind) -> Lookup {
        match self.machine.look_up(self.index, va, kind) {
            Cached::Hit(physical, penalty) => Lookup::Hit(physical.line(), penalty),
            Cached::Miss => Lookup::Miss,
            Cached::Denied(..) => Lookup::Denied,
        }
    }

    fn walk(&mut self, va: VirtAddr, kind: AccessKind, start: Time) -> Walk {
        self.act();
        let walked = self.machine.walk(self.index, va, (kind, Mode::User), start, false);
        if walked.result.is_err() {
            self.machine.drop_refused(self.index, va);
        }
        let end = walked.end.saturating_sub(walked.assist);
        let shift = walked.result.map_or(12, |entry| entry.size.shift());
        let outcome =
            walked.result.map(|entry| (inside(entry.frame(va), va).line(), entry.writable && entry.dirty));
        Walk { outcome, end, assist: walked.assist, shift }
    }

    fn walk_ahead(&mut self, va: VirtAddr, start: Time) -> (Time, u32) {
        self.act();
        let walked = self.machine.walk_speculatively(self.index, va, start);
        (walked.end, walked.result.map_or(12, |entry| entry.size.shift()))
    }

    #[inline(always)]
    fn try_l1(&mut self, line: CacheLine, write: bool) -> bool {
        self.machine.memory.try_l1(self.index, line, write)
    }

    fn fetch(&mut self, line: CacheLine, write: bool, at: Time) -> Time {
        self.act();
        let access = if write { memory::Access::Write } else { memory::Access::Read };
        let latency = self.machine.memory.access_after_try(self.index, line, access, at).latency;
        self.far |= latency > self.machine.spec.cache.l3.latency;
        latency
    }

    #[inline]
    fn gave_way(&self) -> bool {
        self.machine.memory.has_lost()
    }

    #[inline]
    fn completed(&mut self, kind: AccessKind) {
        self.machine.measure.count_access(kind);
    }

    #[inline]
    fn look_ahead(&mut self, next: impl Fn(usize) -> Option<VirtAddr>) {
        let looks = std::mem::take(&mut self.far);
        self.machine.memory.look_ahead(looks);
        if looks {
            self.ahead.look(self.machine, self.index, next);
        }
    }
}
