//! How long the kernel's accesses to each line took beyond the L1D, where somebody asked for it.

use std::collections::BTreeMap;

use daxsim_types::{CacheLine, Time};

/// Accesses that missed the L1D, and their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineUse {
    /// How many.
    pub misses: u64,
    /// What they stalled their CPUs.
    pub stall: Time,
}

impl LineUse {
    fn add(&mut self, other: Self) {
        self.misses += other.misses;
        self.stall += other.stall;
    }
}

/// The uses of all lines, or nothing: counting them costs host time.
#[derive(Clone, Debug, Default)]
pub struct LineUses(Option<BTreeMap<CacheLine, LineUse>>);

impl LineUses {
    /// Begins to count, from nothing.
    pub fn start(&mut self) {
        self.0 = Some(BTreeMap::new());
    }

    /// Counts a miss.
    #[inline]
    pub(crate) fn missed(&mut self, line: CacheLine, stall: Time) {
        if let Some(uses) = &mut self.0 {
            uses.entry(line).or_default().add(LineUse { misses: 1, stall });
        }
    }

    /// The sums by the name that each line has.
    pub(crate) fn by_name(&self, name: impl Fn(CacheLine) -> String) -> BTreeMap<String, LineUse> {
        let mut sums = BTreeMap::<_, LineUse>::new();
        for (line, used) in self.0.iter().flatten() {
            sums.entry(name(*line)).or_default().add(*used);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_once_asked_for_and_summed_by_name() {
        let mut uses = LineUses::default();
        uses.missed(CacheLine(1), Time(5));
        let name = |line: CacheLine| if line.0 < 3 { "low".to_owned() } else { "high".to_owned() };
        assert!(uses.by_name(name).is_empty());
        uses.start();
        for line in [1, 2, 1, 7] {
            uses.missed(CacheLine(line), Time(5));
        }
        let of = |misses| LineUse { misses, stall: Time(5 * misses) };
        assert_eq!(
            uses.by_name(name),
            BTreeMap::from([("high".to_owned(), of(1)), ("low".to_owned(), of(3))])
        );
    }
}
