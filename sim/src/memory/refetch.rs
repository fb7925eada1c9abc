//! Which clean lines a victim L3 takes, if not all: those that were fetched again.
//!
//! Intel's overview of the Xeon Scalable family (2017; from memory) says that a line goes from the L2 to the L3 if it is expected to
//! be used again, and not how that is found out. Here the L3 still knows, as its snoop filter could, of lines that it was not
//! given: one that comes back from memory before it is forgotten has its use, and so has one that the L3 gave to a core.

use daxsim_configs::machine::{CacheIndex, CacheReplacement, CacheSpec, CachesSpec};
use daxsim_types::{CacheLine, LINE_BYTES};

use super::cache::Cache;

/// The lines of each complex that its L3 let go, or gave to an L2, and still knows of: the least recent of a set is forgotten.
pub(super) struct Refetches(Cache);

impl Refetches {
    /// Absent, if the L3s take all that the L2s evict.
    pub fn new(spec: &CachesSpec, complexes: usize) -> Option<Self> {
        let known = CacheSpec {
            size: spec.l3_history * LINE_BYTES,
            ways: spec.l3_history_ways,
            replacement: CacheReplacement::Lru,
            index: CacheIndex::Hashed,
            ..spec.l3.clone()
        };
        (spec.l3_history > 0).then(|| Self(Cache::new(&known, complexes, 1, spec.seed)))
    }

    /// The L3 gives a line to an L2.
    pub fn gives(&mut self, complex: usize, line: CacheLine) {
        if self.0.touch(complex, line).is_none() {
            self.0.insert(complex, line, 0);
        }
    }

    /// Whether the L3 takes a line that an L2 evicts: one that was fetched again, or is modified. Of others it knows from now on.
    pub fn takes(&mut self, complex: usize, line: CacheLine, modified: bool) -> bool {
        let takes = self.0.remove(complex, line).is_some() || modified;
        if !takes {
            self.0.insert(complex, line, 0);
        }
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: CacheLine = CacheLine(7);

    fn four() -> Refetches {
        let machine = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap();
        let spec = CachesSpec { l3_history: 4, l3_history_ways: 4, ..machine.cache };
        Refetches::new(&spec, 2).unwrap()
    }

    #[test]
    fn a_clean_line_is_taken_the_second_time() {
        let mut known = four();
        assert!(!known.takes(0, LINE, false));
        assert!(known.takes(0, LINE, false));
        assert!(!known.takes(0, LINE, false), "the L3 took it, and gave it to nobody since");
    }

    #[test]
    fn a_line_that_the_l3_gave_is_taken_back() {
        let mut known = four();
        known.gives(0, LINE);
        known.gives(0, LINE);
        assert!(known.takes(0, LINE, false));
    }

    #[test]
    fn a_modified_line_is_taken_at_once_and_says_nothing_of_later() {
        let mut known = four();
        assert!(known.takes(0, LINE, true));
        assert!(!known.takes(0, LINE, false));
    }

    #[test]
    fn the_line_let_go_longest_ago_is_forgotten_first() {
        let mut known = four();
        assert!((0..5).all(|n| !known.takes(0, CacheLine(n), false)));
        assert!((1..5).all(|n| known.takes(0, CacheLine(n), false)));
        assert!(!known.takes(0, CacheLine(0), false));
    }

    #[test]
    fn each_complex_knows_its_own() {
        let mut known = four();
        known.takes(0, LINE, false);
        assert!(!known.takes(1, LINE, false));
    }
}
