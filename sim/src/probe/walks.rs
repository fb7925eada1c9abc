//! How many paging-structure entries a TLB miss reads, on generated address streams.

use daxsim_configs::kernel::KernelSpec;
use daxsim_configs::machine::MachineSpec;
use daxsim_traces::generate::{Generator, Pattern};
use daxsim_types::{AccessKind, PageSize, VirtAddr};

use super::ProbeError;
use super::workbench::{START, Workbench};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walks {
    /// The stream.
    pub pattern: Pattern,
    /// Bytes that the stream reaches.
    pub bytes: u64,
    /// Accesses before the count begins.
    pub warm_up: u64,
    /// Accesses counted.
    pub accesses: u64,
    /// What the stream is drawn from.
    pub seed: u64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WalksPoint {
    /// Accesses.
    pub accesses: u64,
    /// Walks.
    pub walks: u64,
    /// Walks for 1,000 accesses.
    pub walks_per_1000: f64,
    /// Entries read for a walk; 0 without walks.
    pub references_per_walk: f64,
    /// Cycles for an access.
    pub cycles: f64,
}

impl Walks {
    /// Runs the stream on a machine of its own, in 4 KiB pages.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] if the memory of the stream does not fit the machine.
    pub fn run(&self, machine: &MachineSpec, kernel: &KernelSpec) -> Result<WalksPoint, ProbeError> {
        let mut bench = Workbench::new(machine, kernel, self.bytes, PageSize::Size4K)?;
        // Both passes draw from one stream: the second goes on where the first ended.
        let stream = || {
            let kind = |write| if write { AccessKind::Write } else { AccessKind::Read };
            let stream = Generator::new(self.pattern, self.seed, START.0);
            stream.map(move |one| -> (VirtAddr, AccessKind) { (one.va, kind(one.write)) })
        };
        let skip = usize::try_from(self.warm_up).unwrap_or(usize::MAX);
        let take = usize::try_from(self.accesses).unwrap_or(usize::MAX);
        bench.run(stream().take(skip))?;
        let counts = bench.run(stream().skip(skip).take(take))?;
        let accesses = self.accesses.max(1) as f64;
        Ok(WalksPoint {
            accesses: self.accesses,
            walks: counts.walks,
            walks_per_1000: counts.walks as f64 * 1000.0 / accesses,
            references_per_walk: counts.walk_references as f64 / counts.walks.max(1) as f64,
            cycles: bench.cycles(counts.time) / accesses,
        })
    }
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{load_kernel, load_machine};

    use super::*;

    #[test]
    fn neighbouring_pages_share_all_but_the_last_entry() {
        let machine = load_machine("skylake-sp-optane", &[]).unwrap();
        let kernel = load_kernel("linux-7.2", &[]).unwrap();
        let run = |pattern| {
            let walks = Walks { pattern, bytes: 1 << 30, warm_up: 10_000, accesses: 50_000, seed: 42 };
            walks.run(&machine, &kernel).unwrap()
        };
        let near = run(Pattern::Stride { bytes: 1 << 30, stride: 4096, writes: 0 });
        assert_eq!(near.walks, near.accesses);
        assert!((1.0..1.01).contains(&near.references_per_walk), "{near:?}");
        let far = run(Pattern::Uniform { bytes: 1 << 30, writes: 0 });
        assert!((1.8..2.1).contains(&far.references_per_walk), "32 PDEs reach 64 MiB: {far:?}");
    }
}
