//! The on-DIMM buffer of media lines: fully associative, exact LRU, any size at constant cost.

use daxsim_types::Time;

/// No slot.
const NONE: u32 = u32::MAX;

/// A buffered media line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    tag: u64,
    /// Sectors whose content is here.
    pub valid: u64,
    /// Sectors that the media does not have yet.
    pub dirty: u64,
    /// When the media read that fills the line ends.
    pub ready: Time,
    newer: u32,
    older: u32,
}

/// What left the buffer to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    pub valid: u64,
    pub dirty: u64,
}

/// Slots in a recency list, found through an open-addressed index of slot numbers.
pub(super) struct Buffer {
    slots: Vec<Slot>,
    capacity: usize,
    /// Slot number plus one, zero if empty; linear probing, at most a sixteenth full.
    index: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl Buffer {
    /// An empty buffer of `lines` media lines.
    pub fn new(lines: u32) -> Self {
        let capacity = lines.max(1) as usize;
        Self {
            slots: Vec::with_capacity(capacity),
            capacity,
            index: vec![0; (16 * capacity).next_power_of_two()],
            newest: NONE,
            oldest: NONE,
        }
    }

    #[inline]
    fn home(&self, tag: u64) -> usize {
        (tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.index.len().trailing_zeros())) as usize
    }

    /// The index position of `tag` and its slot, or the empty position where it would go.
    #[inline]
    fn find(&self, tag: u64) -> (usize, Option<u32>) {
        let mut at = self.home(tag);
        loop {
            match self.index[at] {
                0 => return (at, None),
                n if self.slots[n as usize - 1].tag == tag => return (at, Some(n - 1)),
                _ => at = (at + 1) & (self.index.len() - 1),
            }
        }
    }

    /// The line of `tag`, made the most recently used.
    #[inline]
    pub fn touch(&mut self, tag: u64) -> Option<&mut Slot> {
        let slot = self.find(tag).1?;
        self.promote(slot);
        Some(&mut self.slots[slot as usize])
    }

    /// The line of `tag`, made the most recently used, in the place of the least recently used
    /// one and with nothing valid if it was not here.
    pub fn touch_or_insert(&mut self, tag: u64) -> (&mut Slot, Option<Evicted>) {
        let (at, found) = self.find(tag);
        if let Some(slot) = found {
            self.promote(slot);
            return (&mut self.slots[slot as usize], None);
        }
        let empty = Slot { tag, valid: 0, dirty: 0, ready: Time::ZERO, newer: NONE, older: NONE };
        let (slot, evicted) = if self.slots.len() < self.capacity {
            let slot = self.slots.len() as u32;
            self.index[at] = slot + 1;
            self.slots.push(empty);
            (slot, None)
        } else {
            let slot = self.oldest;
            let Slot { tag: old, valid, dirty, .. } = self.slots[slot as usize];
            self.unindex(old);
            self.unlink(slot);
            self.slots[slot as usize] = empty;
            // Removing the old entry may have opened a position nearer to home.
            let mut at = self.home(tag);
            while self.index[at] != 0 {
                at = (at + 1) & (self.index.len() - 1);
            }
            self.index[at] = slot + 1;
            (slot, Some(Evicted { valid, dirty }))
        };
        self.link_front(slot);
        (&mut self.slots[slot as usize], evicted)
    }

    fn unindex(&mut self, tag: u64) {
        let mask = self.index.len() - 1;
        let (mut hole, _) = self.find(tag);
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let n = self.index[next];
            if n == 0 {
                break;
            }
            let home = self.home(self.slots[n as usize - 1].tag);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.index[hole] = n;
                hole = next;
            }
        }
        self.index[hole] = 0;
    }

    #[inline]
    fn promote(&mut self, slot: u32) {
        if slot != self.newest {
            self.unlink(slot);
            self.link_front(slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Slot { newer, older, .. } = self.slots[slot as usize];
        match newer {
            NONE => self.newest = older,
            n => self.slots[n as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            n => self.slots[n as usize].newer = newer,
        }
    }

    fn link_front(&mut self, slot: u32) {
        let older = self.newest;
        self.slots[slot as usize].newer = NONE;
        self.slots[slot as usize].older = older;
        match older {
            NONE => self.oldest = slot,
            n => self.slots[n as usize].newer = slot,
        }
        self.newest = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_list_in_order_of_use(
            capacity in 1u32..9,
            ops in prop::collection::vec((0u64..16, any::<bool>()), 0..300),
        ) {
            let mut buffer = Buffer::new(capacity);
            let mut list: Vec<(u64, u64)> = Vec::new();
            for (count, (tag, insert)) in ops.into_iter().enumerate() {
                let place = list.iter().position(|&(t, _)| t == tag);
                if let Some(place) = place {
                    let entry = list.remove(place);
                    list.insert(0, entry);
                }
                if insert {
                    let expected = if place.is_none() {
                        list.insert(0, (tag, 0));
                        (list.len() > capacity as usize).then(|| list.pop()).flatten()
                    } else {
                        None
                    };
                    let (slot, evicted) = buffer.touch_or_insert(tag);
                    prop_assert_eq!(evicted.map(|e| e.dirty), expected.map(|(_, dirty)| dirty));
                    prop_assert_eq!(slot.dirty, list[0].1);
                    slot.dirty = count as u64;
                    list[0].1 = count as u64;
                } else {
                    let found = buffer.touch(tag).map(|slot| slot.dirty);
                    prop_assert_eq!(found, place.map(|_| list[0].1));
                }
            }
        }
    }
}
