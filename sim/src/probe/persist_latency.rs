//! How long one line takes on an idle machine, to be loaded or to be durable: the protocol of OptaneStudy's basic latency test
//! (Yang et al., FAST 2020).
//!
//! Each measurement begins when everything before it is done. The line that is stored was loaded before, outside the time.

use std::cell::RefCell;
use std::collections::BTreeSet;

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_traces::generate::SplitMix;
use daxsim_types::{CacheLine, LINE_BYTES, Time};

use super::ProbeError;
use super::bandwidth::Places;
use super::device::{Device, Medium, Store};
use crate::engine::Lines;

/// Where lines are drawn from at most: LATTester's pool.
const POOL: u64 = 1 << 30;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersistLatency {
    /// Stores with an MFENCE after each, rather than loads.
    pub store: Option<Store>,
    /// Where.
    pub places: Places,
    /// What memory.
    pub medium: Medium,
    /// Lines that count; a quarter as many come before them.
    pub lines: u32,
    /// What random places are drawn from.
    pub seed: u64,
}

/// Times of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PersistLatencyPoint {
    /// Mean, nanoseconds.
    pub mean_ns: f64,
    /// Standard deviation, nanoseconds.
    pub sd_ns: f64,
    /// Median, nanoseconds.
    pub median_ns: f64,
}

impl PersistLatency {
    /// Measures on a machine of its own.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NoRoom`] if the memory is too small.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<PersistLatencyPoint, ProbeError> {
        let device = Device::new(machine, kernel, self.medium, false)?;
        let (counted, warm_up) = (u64::from(self.lines.max(1)), u64::from(self.lines / 4));
        device.check_room(2 * (counted + warm_up) * LINE_BYTES)?;
        let lines: Vec<CacheLine> =
            self.places(&device, counted + warm_up).map(|offset| device.line(offset)).collect();
        let times = RefCell::new(Vec::with_capacity(lines.len()));
        let work = async {
            let mut core = device.lines(0);
            for line in &lines {
                let time = self.one(&mut core, *line).await;
                times.borrow_mut().push(time.as_ns());
            }
        };
        device.run(vec![Box::pin(work)])?;
        let mut times = times.into_inner().split_off(warm_up as usize);
        let n = times.len().max(1) as f64;
        let mean = times.iter().sum::<f64>() / n;
        let variance = times.iter().map(|time| (time - mean) * (time - mean)).sum::<f64>() / n;
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        Ok(PersistLatencyPoint { mean_ns: mean, sd_ns: variance.sqrt(), median_ns: median })
    }

    async fn one(&self, core: &mut Lines<'_>, line: CacheLine) -> Time {
        if self.store.is_some() {
            core.load(line).await;
        }
        core.mfence().await;
        let begun = core.now();
        match self.store {
            Some(store) => {
                core.write(line, store).await;
                core.mfence().await;
            }
            None => {
                core.load(line).await;
                core.wait_for_load().await;
            }
        }
        core.now().saturating_sub(begun)
    }

    /// Offsets of different lines.
    fn places(&self, device: &Device, count: u64) -> impl Iterator<Item = u64> + use<> {
        let pool = device.bytes().min(POOL) / LINE_BYTES;
        let (mut rng, mut seen) = (SplitMix::new(self.seed), BTreeSet::new());
        let places = self.places;
        (0..count).map(move |n| {
            if places == Places::Sequential {
                return n * LINE_BYTES;
            }
            loop {
                let place = rng.below(pool);
                if seen.insert(place) {
                    break place * LINE_BYTES;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};

    use super::*;

    fn mean(store: Option<Store>, medium: Medium, places: Places) -> f64 {
        let latency = PersistLatency { store, places, medium, lines: 400, seed: 1 };
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        latency.run(&machine, &load_kernel("linux-7.2", &[]).unwrap()).unwrap().mean_ns
    }

    #[test]
    fn random_loads_of_persistent_memory_take_longest() {
        let load = |medium, places| mean(None, medium, places);
        let dram = load(Medium::Dram, Places::Random);
        let [next, random] = [Places::Sequential, Places::Random].map(|places| load(Medium::Pmem, places));
        assert!(dram < next && next < random, "{dram} {next} {random}");
        // OptaneStudy has 305; LENS 377, where blocks of the DIMM's address table have to be fetched, which this pool needs.
        assert!((random / 377.0 - 1.0).abs() < 0.05, "{random} ns, measured 377");
    }

    #[test]
    fn a_clwb_of_an_idle_machine_takes_what_the_queue_does() {
        let clwb = mean(Some(Store::Clwb), Medium::Pmem, Places::Sequential);
        assert!((clwb / 62.3 - 1.0).abs() < 0.15, "{clwb} ns, measured 62.3");
    }
}
