//! Which accesses are streamed.

use crate::options::{Options, Span};

/// Windows and ranges of one vCPU, with what they count.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Whether any of the windows below must be looked at.
    windows: bool,
    instructions: Span,
    accesses: Span,
    /// Accesses that passed the ranges.
    passed: u64,
    virt: Vec<Span>,
    phys: Vec<Span>,
    /// Physical addresses are needed, for a range or for the record.
    pub(crate) physical: bool,
    pub(crate) skip_devices: bool,
}

impl Filter {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            windows: options.instructions.is_some() || options.accesses.is_some(),
            instructions: options.instructions.unwrap_or(Span::ALL),
            accesses: options.accesses.unwrap_or(Span::ALL),
            passed: 0,
            virt: options.virt.clone(),
            phys: options.phys.clone(),
            physical: !options.no_physical,
            skip_devices: options.skip_devices,
        }
    }

    /// What can be said before the physical address is known.
    #[inline]
    pub(crate) fn admits(&self, va: u64, instructions: u64) -> bool {
        let in_range = self.virt.is_empty() || self.virt.iter().any(|span| span.has(va));
        in_range && (!self.windows || self.instructions.has(instructions))
    }

    /// Whether the physical address is one to be streamed.
    #[inline]
    pub(crate) fn admits_physical(&self, pa: Option<u64>, device: bool) -> bool {
        if device && self.skip_devices {
            return false;
        }
        self.phys.is_empty() || pa.is_some_and(|pa| self.phys.iter().any(|span| span.has(pa)))
    }

    /// Counts an access that passed all ranges; whether it is in the window of those.
    #[inline]
    pub(crate) fn in_window(&mut self) -> bool {
        let number = self.passed;
        self.passed += 1;
        !self.windows || self.accesses.has(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(words: &[&str]) -> Filter {
        Filter::new(&Options::parse(words.iter().copied()).unwrap())
    }

    #[test]
    fn without_filters_everything_passes() {
        let mut filter = filter(&[]);
        assert!(filter.admits(u64::MAX, 7) && filter.admits_physical(None, true) && filter.in_window());
    }

    #[test]
    fn ranges_of_addresses_are_alternatives_and_an_unknown_physical_address_is_in_none() {
        let filter = filter(&["virt=10-20", "virt=30-40", "phys=50-60", "devices=skip"]);
        let admitted: Vec<u64> = [9, 10, 19, 20, 35].into_iter().filter(|va| filter.admits(*va, 1)).collect();
        assert_eq!(admitted, [10, 19, 35]);
        assert!(filter.admits_physical(Some(55), false));
        assert!(!filter.admits_physical(Some(55), true));
        assert!(!filter.admits_physical(Some(60), false));
        assert!(!filter.admits_physical(None, false));
    }

    #[test]
    fn windows_count_instructions_and_the_accesses_that_passed() {
        let mut filter = filter(&["instructions=5-8", "accesses=1-3"]);
        let admitted: Vec<u64> = (0..10).filter(|count| filter.admits(0, *count)).collect();
        assert_eq!(admitted, [5, 6, 7]);
        let taken: Vec<bool> = (0..4).map(|_| filter.in_window()).collect();
        assert_eq!(taken, [false, true, true, false]);
    }
}
