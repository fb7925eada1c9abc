//! How many files share each block: the reference-count B+tree of XFS, which has only the blocks that more than one owner uses.

use std::collections::BTreeMap;

use daxsim_types::Pfn;

/// Blocks with more than one owner, and how many each has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedBlocks(BTreeMap<u64, u32>);

impl SharedBlocks {
    /// Owners of a block in use.
    #[must_use]
    pub fn owners(&self, pfn: Pfn) -> u32 {
        self.0.get(&pfn.0).copied().unwrap_or(1)
    }

    /// Whether the first of `len` blocks is shared, and for how many that stays so (`xfs_reflink_find_shared`).
    #[must_use]
    pub fn run(&self, pfn: Pfn, len: u64) -> (bool, u64) {
        let end = pfn.0.saturating_add(len);
        let mut next = pfn.0;
        for at in self.0.range(pfn.0..end).map(|(at, _)| *at) {
            if at != next {
                break;
            }
            next += 1;
        }
        if next > pfn.0 {
            return (true, next - pfn.0);
        }
        let first = self.0.range(pfn.0..end).next().map_or(end, |(at, _)| *at);
        (false, first - pfn.0)
    }

    /// One owner more (`xfs_refcount_increase_extent`).
    pub fn increase(&mut self, pfn: Pfn, len: u64) {
        for at in pfn.0..pfn.0 + len {
            *self.0.entry(at).or_insert(1) += 1;
        }
    }

    /// One owner less (`xfs_refcount_decrease_extent`); how many blocks have none left and are free.
    pub fn decrease(&mut self, pfn: Pfn, len: u64) -> u64 {
        let mut free = 0;
        for at in pfn.0..pfn.0 + len {
            match self.0.get_mut(&at) {
                Some(owners) if *owners > 2 => *owners -= 1,
                Some(_) => {
                    self.0.remove(&at);
                }
                None => free += 1,
            }
        }
        free
    }

    /// Shared blocks and their owners, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Pfn, u32)> + '_ {
        self.0.iter().map(|(at, owners)| (Pfn(*at), *owners))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_owner_frees_a_block() {
        let mut blocks = SharedBlocks::default();
        blocks.increase(Pfn(10), 4);
        blocks.increase(Pfn(12), 1);
        assert_eq!([10, 12, 20].map(|at| blocks.owners(Pfn(at))), [2, 3, 1]);
        assert_eq!(blocks.decrease(Pfn(10), 4), 0);
        assert_eq!(blocks.run(Pfn(10), 4), (false, 2));
        assert_eq!(blocks.run(Pfn(12), 2), (true, 1));
        assert_eq!(blocks.decrease(Pfn(10), 4), 3);
        assert_eq!(blocks.decrease(Pfn(12), 1), 1);
        assert_eq!(blocks, SharedBlocks::default());
    }

    proptest! {
        /// Against the obvious model: a count a block.
        #[test]
        fn behaves_like_an_array(ops in prop::collection::vec((0u64..30, 1u64..10, any::<bool>()), 0..60)) {
            let mut blocks = SharedBlocks::default();
            let mut counts = [1u32; 40];
            for (pfn, len, more) in ops {
                let range = pfn as usize..(pfn + len) as usize;
                if more {
                    blocks.increase(Pfn(pfn), len);
                    counts[range].iter_mut().for_each(|c| *c += 1);
                } else {
                    let free = blocks.decrease(Pfn(pfn), len);
                    prop_assert_eq!(free, counts[range.clone()].iter().filter(|c| **c == 1).count() as u64);
                    // A free block is allocated anew at once.
                    counts[range].iter_mut().for_each(|c| *c = (*c - 1).max(1));
                }
                for (pfn, count) in (0..).zip(counts) {
                    prop_assert_eq!(blocks.owners(Pfn(pfn)), count);
                }
                let run = counts.iter().take_while(|c| (**c > 1) == (counts[0] > 1)).count() as u64;
                prop_assert_eq!(blocks.run(Pfn(0), 40), (counts[0] > 1, run));
            }
        }
    }
}
