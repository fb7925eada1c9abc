//! What the kernel's building blocks stand for: instructions, loads and stores.

use std::ops::{AddAssign, Sub};

use daxsim_configs::kernel::PathLength;

/// Counts of a CPU, or of a stretch of its work. They are those of the path lengths alone: the accesses to named lines, which
/// the simulation makes one by one for their time, are among a block's loads and stores and are not counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Instructions.
    pub instructions: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
}

impl Executed {
    /// Counts one run through a block.
    pub fn add(&mut self, block: PathLength) {
        self.instructions += u64::from(block.instructions);
        self.loads += u64::from(block.loads);
        self.stores += u64::from(block.stores);
    }
}

impl AddAssign for Executed {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.loads += other.loads;
        self.stores += other.stores;
    }
}

impl Sub for Executed {
    type Output = Self;

    /// The growth since an earlier state of the same counters.
    fn sub(self, earlier: Self) -> Self {
        Self {
            instructions: self.instructions - earlier.instructions,
            loads: self.loads - earlier.loads,
            stores: self.stores - earlier.stores,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_was_added() {
        let mut early = Executed::default();
        early.add(PathLength::of_instructions(1000));
        let mut late = early;
        late.add(PathLength::of_instructions(500));
        assert_eq!(late - early, Executed { instructions: 500, loads: 120, stores: 80 });
        early += late - early;
        assert_eq!(early, late);
    }
}
