//! Loads that each wait for the one before, in random order over a footprint: the protocol of the published latency
//! curves.
//!
//! One load every `stride` bytes, in the order of one random cycle through all of them. The footprint is gone through until
//! the caches hold what they will hold, then some more while the time is taken. Long footprints are cut short:
//!
//! * warm-up: three passes, two from 2 million loads on, but no more loads than twice the lines that the caches hold and
//!   262,144 more. By then nothing in a cache is left from the start. And at least 64 passes, or 131,072 loads if those
//!   are fewer: a policy that seldom makes a new line the last to leave needs many until it keeps what it will keep.
//! * allocations: in physical memory that is given out at random, a small footprint has luck with its frames. One of up
//!   to 1,024 loads is measured in 64 allocations, one of up to 16,384 in four, and the result is their mean.
//! * measurement: whole passes of at least 65,536 loads together, in all allocations; of a footprint of more than 524,288 loads the first
//!   524,288 after the warm-up.

use std::sync::Arc;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::{FrameOrder, HostFrames, MachineSpec};
use daxsim_traces::generate::SplitMix;
use daxsim_types::{AccessKind, LINE_BYTES, PageSize, VirtAddr};

use super::ProbeError;
use super::workbench::{START, Workbench};

/// Loads that a measurement has at least.
const FEWEST: u64 = 1 << 16;
/// Loads that a measurement has at most.
const MOST: u64 = 1 << 19;
/// From so many loads on the warm-up has a pass less.
const LONG: u64 = 2_000_000;
/// Most loads of a footprint that is measured in 64 allocations, and in four.
const FEW: u32 = 1 << 10;
const SOME: u32 = 1 << 14;
/// Loads of a warm-up at least, if they are not 64 passes.
const FEWEST_WARM: u64 = 1 << 17;
/// Loads of warm-up beyond twice the lines of the caches.
const SETTLING: u64 = 1 << 18;

/// Where in its stride a load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineOffset {
    /// To the first byte, so that with whole pages as the stride all loads share a set of the L1D.
    Zero,
    /// To the line whose number is that of the stride, modulo the lines of a stride or page, so that the loads spread over
    /// all sets.
    Spread,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chase {
    /// Bytes between two loads.
    pub stride: u64,
    /// Where in its stride a load goes.
    pub offset: LineOffset,
    /// Size of the pages.
    pub page: PageSize,
    /// What the order is drawn from.
    pub seed: u64,
}

/// What one footprint costs, each for a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChasePoint {
    /// Bytes.
    pub footprint: u64,
    /// Loads in the footprint.
    pub loads: u64,
    /// Pages that they touch.
    pub pages: u64,
    /// Loads measured, in each allocation.
    pub measured: u64,
    /// Cycles of the core.
    pub cycles: f64,
    /// Nanoseconds.
    pub ns: f64,
    /// Lookups that missed the first-level TLB.
    pub dtlb_misses: f64,
    /// Lookups that missed both TLBs: page walks.
    pub stlb_misses: f64,
    /// Paging-structure entries that the walks read.
    pub walk_references: f64,
    /// Misses of the L1D, those of walks included.
    pub l1d_misses: f64,
    /// Misses of the L2, those of walks included.
    pub l2_misses: f64,
    /// Misses of the L3, those of walks included.
    pub l3_misses: f64,
}

impl Chase {
    /// Measures one footprint on a machine of its own.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the footprint has fewer than two loads or does not fit the machine.
    pub fn run(
        &self,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        footprint: u64,
    ) -> Result<ChasePoint, ProbeError> {
        let n = self.loads(footprint)?;
        let mut mean: Option<ChasePoint> = None;
        for allocation in 0..allocations(n, machine) {
            let mut machine = machine.clone();
            machine.frames.seed += u64::from(allocation);
            machine.nested.iter_mut().for_each(|nested| nested.seed += u64::from(allocation));
            let point = self.run_on(&machine, kernel, footprint, n)?;
            match &mut mean {
                Some(mean) => mean.add(&point, f64::from(allocation + 1)),
                None => mean = Some(point),
            }
        }
        mean.ok_or(ProbeError::NoStride)
    }

    /// Measures one footprint of so many loads once.
    fn run_on(
        &self,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        footprint: u64,
        loads: u32,
    ) -> Result<ChasePoint, ProbeError> {
        let mut bench = Workbench::new(machine, kernel, footprint, self.page)?;
        let order: Arc<[u32]> = SplitMix::new(self.seed).cycle(loads).into();
        let n = u64::from(loads);
        let warm_up = warm_up(n, machine);
        let fewest = FEWEST / u64::from(allocations(loads, machine));
        let measured = if n > MOST { MOST } else { n * fewest.div_ceil(n) };
        bench.run(self.accesses(&order, 0, warm_up))?;
        let counts = bench.run(self.accesses(&order, warm_up, measured))?;
        let per_load = |count: u64| count as f64 / measured as f64;
        let pages = footprint.div_ceil(self.page.bytes()).min(n);
        Ok(ChasePoint {
            footprint,
            loads: n,
            pages,
            measured,
            cycles: bench.cycles(counts.time) / measured as f64,
            ns: counts.time.as_ns() / measured as f64,
            dtlb_misses: per_load(counts.dtlb_misses),
            stlb_misses: per_load(counts.walks),
            walk_references: per_load(counts.walk_references),
            l1d_misses: per_load(counts.l1d_misses),
            l2_misses: per_load(counts.l2_misses),
            l3_misses: per_load(counts.l3_misses),
        })
    }

    fn loads(&self, footprint: u64) -> Result<u32, ProbeError> {
        let stride = self.stride;
        let loads = footprint.checked_div(stride).ok_or(ProbeError::NoStride)?;
        match u32::try_from(loads) {
            Ok(0 | 1) => Err(ProbeError::TooSmall { footprint, stride, loads }),
            Ok(n) => Ok(n),
            Err(_) => Err(ProbeError::TooMany { footprint, stride, loads }),
        }
    }

    /// `count` loads of the endless round, from the one at `from` on.
    fn accesses(
        &self,
        order: &Arc<[u32]>,
        from: u64,
        count: u64,
    ) -> impl Iterator<Item = (VirtAddr, AccessKind)> + use<> {
        let (chase, order) = (*self, Arc::clone(order));
        let n = order.len();
        let mut at = (from % n as u64) as usize;
        (0..count).map(move |_| {
            let va = chase.address(u64::from(order[at]));
            at = if at + 1 == n { 0 } else { at + 1 };
            (va, AccessKind::Read)
        })
    }

    fn address(&self, index: u64) -> VirtAddr {
        let line = match self.offset {
            LineOffset::Zero => 0,
            LineOffset::Spread => {
                let span = self.stride.max(PageSize::Size4K.bytes());
                (index * LINE_BYTES % span) & !(LINE_BYTES - 1)
            }
        };
        VirtAddr(START.0 + index * self.stride + line)
    }
}

/// In how many allocations a footprint is measured.
fn allocations(n: u32, machine: &MachineSpec) -> u8 {
    let random = machine.frames.order != FrameOrder::Sequential
        || machine.nested.as_ref().is_some_and(|nested| nested.frames == HostFrames::Random);
    if !random || n > SOME {
        1
    } else if n > FEW {
        4
    } else {
        64
    }
}

impl ChasePoint {
    /// Makes this the mean of `n` measurements of the same loads, of which `point` is the last.
    fn add(&mut self, point: &Self, n: f64) {
        let means = [
            (&mut self.cycles, point.cycles),
            (&mut self.ns, point.ns),
            (&mut self.dtlb_misses, point.dtlb_misses),
            (&mut self.stlb_misses, point.stlb_misses),
            (&mut self.walk_references, point.walk_references),
            (&mut self.l1d_misses, point.l1d_misses),
            (&mut self.l2_misses, point.l2_misses),
            (&mut self.l3_misses, point.l3_misses),
        ];
        for (mean, value) in means {
            *mean += (value - *mean) / n;
        }
    }
}

/// Loads before the time is taken.
fn warm_up(n: u64, machine: &MachineSpec) -> u64 {
    let passes = if n < LONG { 3 } else { 2 };
    let lines = (machine.cache.l1d.size + machine.cache.l2.size + machine.cache.l3.size) / LINE_BYTES;
    (passes * n).min(2 * lines + SETTLING).max(FEWEST_WARM.min(64 * n))
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    const KIB: u64 = 1 << 10;

    fn point(stride: u64, offset: LineOffset, page: PageSize, footprint: u64) -> ChasePoint {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        Chase { stride, offset, page, seed: 1 }.run(&machine, &kernel, footprint).unwrap()
    }

    #[test]
    fn what_fits_the_l1d_and_the_dtlb_costs_the_latency_of_the_l1d() {
        let p = point(64, LineOffset::Zero, PageSize::Size4K, 16 * KIB);
        assert_eq!((p.loads, p.pages, p.cycles), (256, 4, 4.0));
        assert_eq!([p.dtlb_misses, p.stlb_misses, p.l1d_misses], [0.0; 3]);
    }

    #[test]
    fn pages_at_offset_zero_share_one_set_of_the_l1d() {
        let kib = |footprint| point(4096, LineOffset::Zero, PageSize::Size4K, footprint * KIB).cycles;
        assert_eq!(kib(32), 4.0, "eight pages fill the eight ways");
        assert_eq!(kib(64), 14.0, "sixteen come from the L2");
        assert_eq!(kib(256), 14.0, "and still hit the DTLB of 64 entries");
        let spread = point(4096, LineOffset::Spread, PageSize::Size4K, 256 * KIB);
        assert_eq!(spread.cycles, 4.0, "spread lines stay in the L1D");
    }

    #[test]
    fn pages_beyond_the_dtlb_cost_an_stlb_hit_more() {
        let p = point(4096, LineOffset::Zero, PageSize::Size4K, 512 * KIB);
        assert_eq!((p.cycles, p.dtlb_misses, p.stlb_misses), (14.0 + 9.0, 1.0, 0.0));
    }

    #[test]
    fn large_pages_reach_further() {
        let [small, large, huge] = [PageSize::Size4K, PageSize::Size2M, PageSize::Size1G]
            .map(|page| point(4096, LineOffset::Spread, page, 32 << 20));
        assert_eq!((small.pages, large.pages, huge.pages), (8192, 16, 1));
        assert!(small.stlb_misses > 0.9, "{small:?}");
        assert_eq!((large.dtlb_misses, huge.dtlb_misses), (0.0, 0.0));
        assert!(small.cycles > large.cycles + 10.0);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let tiny = [Override::parse("dram.capacity=256 MiB").unwrap()];
        let machine = load_machine("skylake-sp-optane", &tiny).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let chase = Chase { stride: 4096, offset: LineOffset::Zero, page: PageSize::Size4K, seed: 1 };
        let run = |chase: Chase, footprint| chase.run(&machine, &kernel, footprint).unwrap_err();
        assert_eq!(run(chase, 8191), ProbeError::TooSmall { footprint: 8191, stride: 4096, loads: 1 });
        assert_eq!(run(Chase { stride: 0, ..chase }, 8192), ProbeError::NoStride);
        assert!(matches!(run(chase, 1 << 30), ProbeError::NoMemory { page: PageSize::Size4K, .. }));
        assert!(matches!(run(Chase { page: PageSize::Size1G, ..chase }, 8192), ProbeError::NoMemory { .. }));
    }
}
