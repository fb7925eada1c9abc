//! What is counted of a machine that is driven from outside.

use daxsim_types::Time;

use crate::memory::Level;

use super::access::kind;

/// Who runs, as the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The program.
    User = 0,
    /// The host's kernel.
    Kernel = 1,
}

/// What one CPU did in one mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions that the host told of.
    pub instructions: u64,
    /// Accesses by their kind: `access::kind::LOAD` and so on.
    pub accesses: [u64; kind::COUNT],
    /// Translations that a first-level TLB had.
    pub first_level_hits: u64,
    /// Translations that only a second-level TLB had.
    pub second_level_hits: u64,
    /// Page walks that accesses waited for.
    pub walks: u64,
    /// Paging-structure entries that these read.
    pub walk_reads: u64,
    /// Lines of data by where they came from: in the order of [`Level`].
    pub levels: [u64; 6],
    /// Lines of accesses beyond their first; they count in `levels`, too.
    pub further_lines: u64,
    /// Accesses whose bytes beyond the end of the page were left out: where they are, the host did not say.
    pub cut: u64,
    /// Time of instructions, and of L1D hits if those cost anything.
    pub compute: Time,
    /// Time of second-level TLB hits and walks.
    pub walk: Time,
    /// Time of setting A and D.
    pub assist: Time,
    /// Time of data beyond an L1D hit.
    pub memory: Time,
}

impl Counts {
    /// All accesses.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.accesses.iter().sum()
    }

    /// All time.
    #[must_use]
    pub fn time(&self) -> Time {
        self.compute + self.walk + self.assist + self.memory
    }

    /// Adds another CPU's, or the other mode's.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.instructions, other.instructions),
            (&mut self.first_level_hits, other.first_level_hits),
            (&mut self.second_level_hits, other.second_level_hits),
            (&mut self.walks, other.walks),
            (&mut self.walk_reads, other.walk_reads),
            (&mut self.further_lines, other.further_lines),
            (&mut self.cut, other.cut),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.accesses.iter_mut().zip(other.accesses).for_each(|(sum, more)| *sum += more);
        self.levels.iter_mut().zip(other.levels).for_each(|(sum, more)| *sum += more);
        self.compute += other.compute;
        self.walk += other.walk;
        self.assist += other.assist;
        self.memory += other.memory;
    }

    /// With the counts that follow from others, so that a hit has less to count: translations that were neither second-level hits
    /// nor walks, and lines that no other level gave.
    pub(super) fn completed(mut self) -> Self {
        self.first_level_hits = self.total() - self.second_level_hits - self.walks;
        let fetches = self.accesses[usize::from(kind::FETCH)];
        let others: u64 = self.levels.iter().skip(1).sum();
        self.levels[Level::L1 as usize] = self.total() - fetches + self.further_lines - others;
        self
    }
}

/// TLB maintenance and interrupts of one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// INVLPGs.
    pub invlpg: u64,
    /// INVPCIDs, by type.
    pub invpcid: [u64; 4],
    /// MOVs to CR3.
    pub cr3_writes: u64,
    /// Flushes of everything by CR4.PGE.
    pub full_flushes: u64,
    /// Interrupts sent, one for each target.
    pub sent: u64,
    /// Interrupts taken.
    pub taken: u64,
}

/// All that one CPU did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuCounts {
    /// The program.
    pub user: Counts,
    /// The host's kernel.
    pub kernel: Counts,
    /// TLB maintenance and interrupts.
    pub maintained: Maintained,
    /// Its clock.
    pub now: Time,
}

/// How the page tables came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MappingCounts {
    /// Pages that appeared, by size: 4 KiB, 2 MiB, 1 GiB.
    pub pages: [u64; 3],
    /// Entries that were rewritten because a pair contradicts them.
    pub inferred_remaps: u64,
    /// Cached translations that a pair contradicts: the host's machine must have invalidated them.
    pub stale: u64,
    /// Pages that could not have the size of their range, and are 4 KiB ones.
    pub incongruent: u64,
    /// Entries read from the guest's own tables.
    pub guest_reads: u64,
    /// Walks of the guest's tables that found no page: the entry went meanwhile, or memory could not be read.
    pub guest_absent: u64,
    /// Pages of the host that lie where simulated page tables are.
    pub collisions: u64,
}
