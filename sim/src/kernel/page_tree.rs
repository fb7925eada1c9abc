//! A sparse array by page number: what the kernel keeps in an XArray, and the counts of the memory map.
//!
//! Pages come in runs, and one page is looked at several times in a row. So neighbours lie together in a leaf, the leaves are
//! ordered by a map, and the leaf found last is found again without it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

/// Pages of a leaf: so few that a page alone does not take much memory.
const LEAF: usize = 32;

#[derive(Clone, Debug)]
struct Leaf<T> {
    /// Which slots are full.
    used: u32,
    slots: [Option<T>; LEAF],
}

impl<T> Leaf<T> {
    const EMPTY: Self = Self { used: 0, slots: [const { None }; LEAF] };

    /// The full slots from `from` up to `to`.
    fn slots_in(&self, Range { start, end }: Range<usize>) -> impl Iterator<Item = usize> + use<T> {
        let mut left = self.used & u32::MAX.checked_shl(start as u32).unwrap_or(0);
        if end < LEAF {
            left &= (1 << end) - 1;
        }
        std::iter::from_fn(move || {
            let slot = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(slot)
        })
    }
}

/// Leaf and slot of a page.
const fn split(page: u64) -> (u64, usize) {
    (page / LEAF as u64, (page % LEAF as u64) as usize)
}

/// The part of a range that lies in leaf `number`.
fn part(pages: &Range<u64>, number: u64) -> Range<usize> {
    let first = number * LEAF as u64;
    let inside = |page: u64| page.saturating_sub(first).min(LEAF as u64) as usize;
    inside(pages.start)..inside(pages.end)
}

/// The leaves that a range touches.
fn leaves_of(pages: &Range<u64>) -> Range<u64> {
    let end = pages.end.max(pages.start);
    split(pages.start).0..end.div_ceil(LEAF as u64).max(split(pages.start).0)
}

/// The array.
#[derive(Clone, Debug)]
pub(crate) struct PageTree<T> {
    leaves: Vec<Leaf<T>>,
    /// Which of `leaves` has the pages of each number.
    index: BTreeMap<u64, usize>,
    /// Empty ones of `leaves`.
    spare: Vec<usize>,
    /// The number found last, and where.
    last: Cell<(u64, usize)>,
}

impl<T> Default for PageTree<T> {
    fn default() -> Self {
        Self { leaves: Vec::new(), index: BTreeMap::new(), spare: Vec::new(), last: Cell::new(NONE) }
    }
}

/// No page has this number of a leaf.
const NONE: (u64, usize) = (u64::MAX, 0);

impl<T> PageTree<T> {
    #[inline]
    fn leaf(&self, number: u64) -> Option<usize> {
        let (known, at) = self.last.get();
        if known == number { Some(at) } else { self.search(number) }
    }

    fn search(&self, number: u64) -> Option<usize> {
        let at = *self.index.get(&number)?;
        self.last.set((number, at));
        Some(at)
    }

    /// What `page` has.
    #[inline]
    pub(crate) fn get(&self, page: u64) -> Option<&T> {
        let (number, slot) = split(page);
        self.leaves[self.leaf(number)?].slots[slot].as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, page: u64) -> Option<&mut T> {
        let (number, slot) = split(page);
        let at = self.leaf(number)?;
        self.leaves[at].slots[slot].as_mut()
    }

    /// The slot of `page`, whose leaf is made if need be; it counts as full.
    fn slot(&mut self, page: u64) -> &mut Option<T> {
        let (number, slot) = split(page);
        let at = match self.leaf(number) {
            Some(at) => at,
            None => self.grow(number),
        };
        let leaf = &mut self.leaves[at];
        leaf.used |= 1 << slot;
        &mut leaf.slots[slot]
    }

    fn grow(&mut self, number: u64) -> usize {
        let at = self.spare.pop().unwrap_or_else(|| {
            self.leaves.push(Leaf::EMPTY);
            self.leaves.len() - 1
        });
        self.index.insert(number, at);
        self.last.set((number, at));
        at
    }

    /// Gives `page` a value; returns the one that it had.
    pub(crate) fn insert(&mut self, page: u64, value: T) -> Option<T> {
        self.slot(page).replace(value)
    }

    /// What `page` has, which is made if it has nothing.
    pub(crate) fn get_or_default(&mut self, page: u64) -> &mut T
    where
        T: Default,
    {
        self.slot(page).get_or_insert_default()
    }

    /// Takes away what `page` has.
    pub(crate) fn remove(&mut self, page: u64) -> Option<T> {
        let (number, slot) = split(page);
        let at = self.leaf(number)?;
        let leaf = &mut self.leaves[at];
        let value = leaf.slots[slot].take()?;
        leaf.used &= !(1 << slot);
        if leaf.used == 0 {
            self.index.remove(&number);
            self.spare.push(at);
            self.last.set(NONE);
        }
        Some(value)
    }

    /// The pages of a range that have something, ascending.
    pub(crate) fn range(&self, pages: Range<u64>) -> impl Iterator<Item = (u64, &T)> {
        self.index.range(leaves_of(&pages)).flat_map(move |(&number, &at)| {
            let leaf = &self.leaves[at];
            let full = leaf.slots_in(part(&pages, number));
            full.filter_map(move |slot| {
                Some((number * LEAF as u64 + slot as u64, leaf.slots[slot].as_ref()?))
            })
        })
    }

    /// All pages that have something, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.range(0..u64::MAX)
    }

    /// Calls `change` with the pages of a range that have something, ascending.
    pub(crate) fn change(&mut self, pages: Range<u64>, mut change: impl FnMut(u64, &mut T)) {
        for (&number, &at) in self.index.range(leaves_of(&pages)) {
            let leaf = &mut self.leaves[at];
            for slot in leaf.slots_in(part(&pages, number)) {
                if let Some(value) = &mut leaf.slots[slot] {
                    change(number * LEAF as u64 + slot as u64, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page() -> impl Strategy<Value = u64> {
        prop_oneof![0..200_u64, (1_u64 << 40)..(1 << 40) + 70, Just(u64::MAX - 1)]
    }

    proptest! {
        #[test]
        fn a_tree_holds_what_a_map_holds(ops in prop::collection::vec((0_u8..6, page(), page()), 0..300)) {
            let mut tree = PageTree::<u32>::default();
            let mut map = BTreeMap::<u64, u32>::new();
            for (n, (op, page, other)) in ops.into_iter().enumerate() {
                let n = n as u32;
                match op {
                    0 | 1 => prop_assert_eq!(tree.insert(page, n), map.insert(page, n)),
                    2 => prop_assert_eq!(tree.remove(page), map.remove(&page)),
                    3 => prop_assert_eq!(tree.get_or_default(page), map.entry(page).or_default()),
                    4 => {
                        tree.change(page..other, |_, value| *value += n);
                        if page < other {
                            map.range_mut(page..other).for_each(|(_, value)| *value += n);
                        }
                    }
                    _ => prop_assert_eq!(tree.get_mut(page), map.get_mut(&page)),
                }
                prop_assert_eq!(tree.get(other), map.get(&other));
                let range: Vec<_> = tree.range(page..other).map(|(at, value)| (at, *value)).collect();
                let model = map.range(page..other.max(page)).map(|(at, value)| (*at, *value));
                prop_assert_eq!(range, model.collect::<Vec<_>>());
                prop_assert!(tree.iter().eq(map.iter().map(|(at, value)| (*at, value))));
            }
        }
    }

    #[test]
    fn leaves_that_were_emptied_are_used_again() {
        let mut tree = PageTree::default();
        for n in 0..10_000_u64 {
            tree.insert(n * 100, n);
            tree.remove(n * 100);
        }
        assert_eq!(tree.leaves.len(), 1);
    }
}
