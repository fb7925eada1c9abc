//! The entries of a window, by their numbers.

use super::entry::Entry;

/// Entries with consecutive numbers, in a ring whose size is a power of two: the low bits of a number say where its entry is.
pub(super) struct Entries {
    slots: Vec<Entry>,
    /// Number of the oldest one.
    first: u64,
    /// Number of the next one to come.
    end: u64,
}

impl Entries {
    pub const fn new() -> Self {
        Self { slots: Vec::new(), first: 0, end: 0 }
    }

    #[inline]
    pub const fn first(&self) -> u64 {
        self.first
    }

    #[inline]
    pub const fn end(&self) -> u64 {
        self.end
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.first == self.end
    }

    #[inline]
    const fn slot(&self, id: u64) -> usize {
        id as usize & self.slots.len().wrapping_sub(1)
    }

    #[inline]
    const fn holds(&self, id: u64) -> bool {
        id >= self.first && id < self.end
    }

    /// The entry of that number, if there is one.
    #[inline]
    pub fn get(&self, id: u64) -> Option<&Entry> {
        if self.holds(id) { self.slots.get(self.slot(id)) } else { None }
    }

    /// The same, to change it.
    #[inline]
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        let slot = self.slot(id);
        if self.holds(id) { self.slots.get_mut(slot) } else { None }
    }

    /// The oldest.
    #[inline]
    pub fn front(&self) -> Option<&Entry> {
        self.get(self.first)
    }

    /// Adds the youngest.
    #[inline]
    pub fn push(&mut self, entry: Entry) {
        if (self.end - self.first) as usize == self.slots.len() {
            self.grow(entry);
        }
        let slot = self.slot(self.end);
        self.slots[slot] = entry;
        self.end += 1;
    }

    #[cold]
    fn grow(&mut self, filler: Entry) {
        let mut slots = vec![filler; (2 * self.slots.len()).max(16)];
        let mask = slots.len() - 1;
        for id in self.first..self.end {
            slots[id as usize & mask] = self.slots[self.slot(id)];
        }
        self.slots = slots;
    }

    /// Takes the oldest out.
    #[inline]
    pub const fn pop_first(&mut self) {
        self.first += 1;
    }

    /// Takes the youngest out; its number comes again.
    #[inline]
    pub const fn pop_last(&mut self) {
        self.end -= 1;
    }

    /// In program order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        (self.first..self.end).map(|id| &self.slots[self.slot(id)])
    }

    /// Keeps some, which get the first numbers.
    pub fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        let mut end = self.first;
        for id in self.first..self.end {
            let entry = self.slots[self.slot(id)];
            if keep(&entry) {
                let slot = self.slot(end);
                self.slots[slot] = entry;
                end += 1;
            }
        }
        self.end = end;
    }
}

impl std::ops::Index<u64> for Entries {
    type Output = Entry;

    #[inline]
    fn index(&self, id: u64) -> &Entry {
        &self.slots[self.slot(id)]
    }
}

impl std::ops::IndexMut<u64> for Entries {
    #[inline]
    fn index_mut(&mut self, id: u64) -> &mut Entry {
        let slot = self.slot(id);
        &mut self.slots[slot]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use daxsim_types::{AccessKind, VirtAddr};
    use proptest::prelude::*;

    use super::*;
    use crate::program::Access;

    proptest! {
        #[test]
        fn entries_are_a_queue_with_numbers(ops in prop::collection::vec((0u8..8, any::<u8>()), 0..300)) {
            let (mut entries, mut model, mut first) = (Entries::new(), VecDeque::new(), 0);
            for (seq, (op, number)) in (0..).zip(ops) {
                match op {
                    0..4 => {
                        entries.push(Entry::new(seq, 0, Access::new(VirtAddr(seq), AccessKind::Read)));
                        model.push_back(seq);
                    }
                    4 if !model.is_empty() => {
                        entries.pop_first();
                        model.pop_front();
                        first += 1;
                    }
                    5 if !model.is_empty() => {
                        entries.pop_last();
                        model.pop_back();
                    }
                    6 => {
                        entries.retain(|entry| entry.seq % 5 != u64::from(number) % 5);
                        model.retain(|seq| seq % 5 != u64::from(number) % 5);
                    }
                    _ => {
                        let id = first + u64::from(number) % 64;
                        let one = model.get((id - first) as usize).copied();
                        prop_assert_eq!(entries.get(id).map(|entry| entry.seq), one);
                        prop_assert_eq!(entries.get_mut(id).map(|entry| entry.seq), one);
                        prop_assert_eq!(one.map(|_| entries[id].seq), one);
                        prop_assert!(first == 0 || entries.get(first - 1).is_none());
                    }
                }
                prop_assert_eq!((entries.first(), entries.end()), (first, first + model.len() as u64));
                prop_assert_eq!(entries.is_empty(), model.is_empty());
                prop_assert_eq!(entries.front().map(|entry| entry.seq), model.front().copied());
                prop_assert!(entries.iter().map(|entry| entry.seq).eq(model.iter().copied()));
            }
        }
    }
}
