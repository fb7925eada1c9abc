//! Pointer chases through persistent memory, written and then read: the protocol of LENS (Wang et al., MICRO 2020).
//!
//! A region is written block by block in random order, with one MFENCE at its end; then the next region, right behind it. When
//! all are written, all are read in the same way: of each block all lines at once, and the next block once the last line of the
//! one before is there. So the read phase finds in the buffers of the DIMM what it has brought there itself.
//!
//! LENS goes through gigabytes. Here a phase is of 65,536 lines, of which the first quarter is not timed. A region of more is
//! measured at so many random places. Between the phases, loads of one line each settle what covers more than a region: 12,288
//! blocks at other places of a large region; pages beyond the end of small ones.

use std::cell::Cell;
use std::collections::BTreeSet;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_traces::generate::SplitMix;
use daxsim_types::{LINE_BYTES, PageSize, Time};

use super::ProbeError;
use super::device::{Device, Medium, Store, check_whole};
use crate::engine::Lines;

/// Lines of a phase.
const PHASE: u64 = 1 << 16;
/// Lines loaded between the phases: three times what the caches of address translation on DIMMs hold, in pages.
const SETTLING: u64 = 3 << 12;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteChase {
    /// Bytes that are written or read at once, whole lines.
    pub block: u64,
    /// How they are written.
    pub store: Store,
    /// What memory.
    pub medium: Medium,
    /// What the order is drawn from.
    pub seed: u64,
}

/// What one size of a region costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteChasePoint {
    /// Bytes.
    pub region: u64,
    /// Blocks in it.
    pub blocks: u64,
    /// Blocks timed, of each phase.
    pub measured: u64,
    /// Nanoseconds to write a block.
    pub write_ns: f64,
    /// Nanoseconds to read a block.
    pub read_ns: f64,
    /// Bytes written to the media for each that was written; 0 if nothing was.
    pub write_amplification: f64,
}

/// The blocks of a phase, by their offsets.
struct Plan {
    blocks: Vec<u64>,
    /// Blocks from one MFENCE to the next.
    round: usize,
    /// Blocks before the time is taken.
    warm_up: usize,
    /// Offsets of the lines loaded between the phases.
    settling: Vec<u64>,
}

impl WriteChase {
    /// Measures one size of a region on a machine of its own.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if blocks or regions are no whole lines or blocks, or do not fit the memory.
    pub fn run(
        &self,
        machine: &MachineSpec,
        kernel: &KernelSpec,
        region: u64,
    ) -> Result<WriteChasePoint, ProbeError> {
        let block = self.block;
        check_whole("block", block, LINE_BYTES)?;
        check_whole("region", region, block)?;
        let device = Device::new(machine, kernel, self.medium, false)?;
        let plan = self.plan(region);
        let reach = plan.blocks.iter().map(|at| at + block).chain(plan.settling.iter().copied()).max();
        device.check_room(reach.unwrap_or(0))?;
        let times = [Cell::new(Time::ZERO), Cell::new(Time::ZERO)];
        let before = device.stats();
        let work = async {
            let mut lines = device.lines(0);
            times[0].set(self.write_phase(&device, &mut lines, &plan).await);
            for at in &plan.settling {
                lines.load(device.line(*at)).await;
                lines.wait_for_load().await;
            }
            times[1].set(self.read_phase(&device, &mut lines, &plan).await);
        };
        device.run(vec![Box::pin(work)])?;
        let measured = (plan.blocks.len() - plan.warm_up) as u64;
        let [write_ns, read_ns] = times.map(|time| time.get().as_ns() / measured as f64);
        Ok(WriteChasePoint {
            region,
            blocks: region / block,
            measured,
            write_ns,
            read_ns,
            write_amplification: device.write_amplification_since(&before),
        })
    }

    fn plan(&self, region: u64) -> Plan {
        let (n, in_phase) = (region / self.block, (PHASE * LINE_BYTES / self.block).max(1));
        let mut rng = SplitMix::new(self.seed);
        if n > in_phase {
            return self.sample(&mut rng, n, in_phase);
        }
        let regions = in_phase / n;
        let order = order(&mut rng, n as u32);
        let blocks: Vec<u64> = (0..regions)
            .flat_map(|at| order.iter().map(move |block| at * region + u64::from(*block) * self.block))
            .collect();
        let warm_up = if regions < 4 { blocks.len() / 4 } else { (regions / 4 * n) as usize };
        let beyond = (regions * region).next_multiple_of(PageSize::Size4K.bytes());
        let settling = (0..SETTLING).map(|page| beyond + page * PageSize::Size4K.bytes()).collect();
        Plan { blocks, round: n as usize, warm_up, settling }
    }

    /// Some blocks of a large region, each once.
    fn sample(&self, rng: &mut SplitMix, n: u64, in_phase: u64) -> Plan {
        let settling = SETTLING.min(n - in_phase);
        let (mut seen, mut drawn) = (BTreeSet::new(), Vec::new());
        while (drawn.len() as u64) < in_phase + settling {
            let block = rng.below(n);
            if seen.insert(block) {
                drawn.push(block * self.block);
            }
        }
        let settling = drawn.split_off(in_phase as usize);
        Plan { round: drawn.len(), warm_up: drawn.len() / 4, blocks: drawn, settling }
    }

    async fn write_phase(&self, device: &Device, lines: &mut Lines<'_>, plan: &Plan) -> Time {
        let mut begun = lines.now();
        for (at, block) in plan.blocks.iter().enumerate() {
            if at == plan.warm_up {
                begun = lines.now();
            }
            for line in (0..self.block).step_by(LINE_BYTES as usize) {
                lines.write(device.line(block + line), self.store).await;
            }
            if (at + 1).is_multiple_of(plan.round) {
                lines.mfence().await;
            }
        }
        lines.mfence().await;
        lines.now().saturating_sub(begun)
    }

    async fn read_phase(&self, device: &Device, lines: &mut Lines<'_>, plan: &Plan) -> Time {
        let mut begun = lines.now();
        for (at, block) in plan.blocks.iter().enumerate() {
            if at == plan.warm_up {
                begun = lines.now();
            }
            for line in (0..self.block).step_by(LINE_BYTES as usize) {
                lines.load(device.line(block + line)).await;
            }
            lines.wait_for_load().await;
            if (at + 1).is_multiple_of(plan.round) {
                lines.mfence().await;
            }
        }
        lines.mfence().await;
        lines.now().saturating_sub(begun)
    }
}

/// All numbers below `n`, in the order of a random cycle.
fn order(rng: &mut SplitMix, n: u32) -> Vec<u32> {
    let next = rng.cycle(n);
    let successor = |at: &u32| next.get(*at as usize).copied();
    std::iter::successors(Some(0), successor).take(n as usize).collect()
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    const CHASE: WriteChase =
        WriteChase { block: 64, store: Store::NonTemporal, medium: Medium::Pmem, seed: 1 };

    fn machine() -> MachineSpec {
        load_machine("skylake-sp-optane", &[Override::parse("pmem.dimms=1").unwrap()]).unwrap()
    }

    fn point(chase: WriteChase, region: u64) -> Result<WriteChasePoint, ProbeError> {
        chase.run(&machine(), &load_kernel("linux-7.2", &[]).unwrap(), region)
    }

    #[test]
    fn every_block_of_a_phase_is_another() {
        for (block, region) in
            [(64, 64), (64, 192), (64, 16 << 10), (256, 1 << 20), (64, 1 << 30), (4096, 8 << 20)]
        {
            let plan = WriteChase { block, ..CHASE }.plan(region);
            let distinct: BTreeSet<&u64> = plan.blocks.iter().chain(&plan.settling).collect();
            assert_eq!(distinct.len(), plan.blocks.len() + plan.settling.len(), "{block} of {region}");
            assert!(plan.blocks.len() as u64 * block <= PHASE * LINE_BYTES);
            assert!(plan.warm_up <= plan.blocks.len() / 4);
        }
    }

    #[test]
    fn small_regions_lie_behind_each_other() {
        let plan = WriteChase { block: 64, ..CHASE }.plan(256);
        let mut first: Vec<u64> = plan.blocks[..4].to_vec();
        first.sort_unstable();
        assert_eq!(first, [0, 64, 128, 192]);
        assert_eq!(plan.blocks[4], 256, "every region begins with its first block");
        assert_eq!(plan.round, 4);
    }

    #[test]
    fn a_fence_for_each_line_costs_more_than_one_for_many() {
        let [one, many] = [64, 4096].map(|region| point(CHASE, region).unwrap());
        assert!(one.write_ns > 1.5 * many.write_ns, "{one:?} {many:?}");
    }

    #[test]
    fn lines_of_a_block_are_read_together() {
        let [line, block] = [64, 256].map(|block| point(WriteChase { block, ..CHASE }, 1 << 20).unwrap());
        assert!(block.read_ns < 2.0 * line.read_ns, "{line:?} {block:?}");
    }

    #[test]
    fn what_is_no_whole_line_or_block_is_refused() {
        assert!(matches!(point(WriteChase { block: 100, ..CHASE }, 6400), Err(ProbeError::NotWhole { .. })));
        assert!(matches!(point(WriteChase { block: 256, ..CHASE }, 640), Err(ProbeError::NotWhole { .. })));
        assert!(matches!(point(CHASE, 1 << 40), Err(ProbeError::NoRoom { .. })));
    }
}
