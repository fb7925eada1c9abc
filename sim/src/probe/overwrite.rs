//! Writes to the same small region over and over, each waited for: how long each takes, and the stalls among them. The protocol of
//! OptaneStudy's overwrite and tail-latency tests (Yang et al., FAST 2020) and of LENS (MICRO 2020).

use std::cell::RefCell;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{LINE_BYTES, Time};

use super::ProbeError;
use super::device::{Device, Medium, Store, check_whole};

/// In which order a region is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Block after block.
    Sequential,
    /// The first half of each block, then the second half of each: what does not stay in a buffer in between goes to the media
    /// twice.
    Halves,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overwrite {
    /// Bytes of a block, whole lines; a write is of one block, or of one half.
    pub block: u64,
    /// In which order.
    pub order: Order,
    /// How.
    pub store: Store,
    /// What memory.
    pub medium: Medium,
    /// Writes that count; a quarter as many come before them.
    pub writes: u64,
    /// A write that takes so long is a long stall.
    pub long: Time,
    /// A write that takes so long, but is no long stall, is a short one.
    pub short: Time,
}

/// Stalls of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// How many.
    pub count: u64,
    /// Their median.
    pub median: Time,
    /// Median of the writes from one to the next; 0 for fewer than two.
    pub spacing: u64,
    /// Least and most of these.
    pub spacing_range: [u64; 2],
}

/// What one size of a region gave.
#[derive(Clone, Debug, PartialEq)]
pub struct OverwritePoint {
    /// Bytes.
    pub region: u64,
    /// Times of the writes, ascending.
    sorted: Vec<Time>,
    /// Those that took long.
    pub long: Stalls,
    /// Those that took less long.
    pub short: Stalls,
    /// Bytes written to the media for each that was written.
    pub write_amplification: f64,
}

impl OverwritePoint {
    /// The time that so many of a million writes do not exceed.
    #[must_use]
    pub fn percentile(&self, per_million: u64) -> Time {
        let n = self.sorted.len() as u64;
        let rank = (n * per_million).div_ceil(1_000_000).max(1) - 1;
        self.sorted.get(rank as usize).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Time {
        self.sorted.last().copied().unwrap_or_default()
    }
}

impl Overwrite {
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
    ) -> Result<OverwritePoint, ProbeError> {
        let (block, pieces) = (self.block, if self.order == Order::Halves { 2 } else { 1 });
        check_whole("block", block, pieces * LINE_BYTES)?;
        check_whole("region", region, block)?;
        let device = Device::new(machine, kernel, self.medium, false)?;
        device.check_room(region)?;
        let times = RefCell::new(Vec::with_capacity(self.writes as usize));
        let before = RefCell::new(device.stats());
        let (size, blocks, warm_up) = (block / pieces, region / block, self.writes / 4);
        let timestamps = machine.cpu.timestamps;
        let work = async {
            let mut lines = device.lines(0);
            for n in 0..warm_up + self.writes {
                if n == warm_up {
                    *before.borrow_mut() = device.stats();
                }
                let (piece, at) = (n / blocks % pieces, n % blocks);
                let start = at * block + piece * size;
                let begun = lines.now();
                for line in (0..size).step_by(LINE_BYTES as usize) {
                    lines.write(device.line(start + line), self.store).await;
                }
                lines.mfence().await;
                lines.spend(timestamps);
                if n >= warm_up {
                    times.borrow_mut().push(lines.now().saturating_sub(begun));
                }
            }
        };
        device.run(vec![Box::pin(work)])?;
        let write_amplification = device.write_amplification_since(&before.into_inner());
        let times = times.into_inner();
        let long = stalls(&times, |time| time >= self.long);
        let short = stalls(&times, |time| time >= self.short && time < self.long);
        let mut sorted = times;
        sorted.sort_unstable();
        Ok(OverwritePoint { region, sorted, long, short, write_amplification })
    }
}

/// The stalls among the times of writes.
fn stalls(times: &[Time], is_one: impl Fn(Time) -> bool) -> Stalls {
    let found: Vec<(u64, Time)> =
        (0..).zip(times.iter().copied()).filter(|(_, time)| is_one(*time)).collect();
    let mut sizes: Vec<Time> = found.iter().map(|(_, time)| *time).collect();
    let mut spacings: Vec<u64> = found.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    sizes.sort_unstable();
    spacings.sort_unstable();
    let range = [spacings.first(), spacings.last()].map(|at| at.copied().unwrap_or_default());
    Stalls {
        count: found.len() as u64,
        median: sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
        spacing: spacings.get(spacings.len() / 2).copied().unwrap_or_default(),
        spacing_range: range,
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_kernel, load_machine};

    use super::*;

    const OVERWRITE: Overwrite = Overwrite {
        block: 256,
        order: Order::Sequential,
        store: Store::NonTemporal,
        medium: Medium::Pmem,
        writes: 2000,
        long: Time(30_000_000),
        short: Time(4_000_000),
    };

    fn point(overwrite: Overwrite, region: u64) -> OverwritePoint {
        let machine = load_machine("skylake-sp-optane", &[Override::parse("pmem.dimms=1").unwrap()]).unwrap();
        overwrite.run(&machine, &load_kernel("linux-7.2", &[]).unwrap(), region).unwrap()
    }

    #[test]
    fn stalls_are_counted_by_size_and_by_the_writes_between_them() {
        let us = |n: u64| Time(n * 1_000_000);
        let mut times = vec![us(0); 100];
        for (at, time) in [(10, 50), (30, 9), (40, 54), (90, 52)] {
            times[at] = us(time);
        }
        let long = stalls(&times, |time| time >= us(30));
        assert_eq!((long.count, long.median, long.spacing, long.spacing_range), (3, us(52), 50, [30, 50]));
        let short = stalls(&times, |time| time >= us(4) && time < us(30));
        assert_eq!((short.count, short.median, short.spacing), (1, us(9), 0));
        assert_eq!(stalls(&[], |_| true), Stalls::default());
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut p = point(OVERWRITE, 256);
        p.sorted = (1..=1000).map(Time).collect();
        assert_eq!([500_000, 999_000, 999_001, 0].map(|n| p.percentile(n).0), [500, 999, 1000, 1]);
        assert_eq!(p.max(), Time(1000));
    }

    #[test]
    fn halves_of_what_the_buffer_does_not_hold_are_written_to_the_media_twice() {
        let halves = Overwrite { order: Order::Halves, writes: 8192, ..OVERWRITE };
        let [small, large] = [8 << 10, 128 << 10].map(|region| point(halves, region).write_amplification);
        assert!(small < 1.2 && (1.8..=2.2).contains(&large), "{small} {large}");
    }
}
