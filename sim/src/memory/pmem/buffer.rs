//! The on-DIMM buffer of media lines: fully associative, any size at constant cost.

use daxsim_configs::machine::BufferReplacement;
use daxsim_traces::generate::SplitMix;
use daxsim_types::Time;

/// No slot.
const NONE: u32 = u32::MAX;
/// Draws for a line that is not being read from the media, before the search for a victim is given up.
const DRAWS: u32 = 16;

/// A buffered media line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Its number on the DIMM.
    pub line: u64,
    /// Sectors whose content is here.
    pub valid: u64,
    /// Sectors that the media does not have yet.
    pub dirty: u64,
    /// Sectors that were read.
    pub read: u64,
    /// When the media read that fills the line ends; then, when the next sector can follow those asked for.
    pub ready: Time,
    /// Uses of the buffer until the last of this line.
    used: u64,
    live: bool,
    newer: u32,
    older: u32,
}

/// Slots in a list, found through an open-addressed index of slot numbers.
pub(super) struct Buffer {
    slots: Vec<Slot>,
    free: Vec<u32>,
    capacity: usize,
    /// Slot number plus one, zero if empty; linear probing, at most a sixteenth full.
    index: Vec<u32>,
    /// The list is in order of use; of arrival, if that decides.
    newest: u32,
    oldest: u32,
    replacement: BufferReplacement,
    samples: u32,
    uses: u64,
    random: SplitMix,
}

impl Buffer {
    /// An empty buffer of so many lines.
    pub fn new((replacement, samples): (BufferReplacement, u32), lines: u32, seed: u64) -> Self {
        let capacity = lines.max(1) as usize;
        Self {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
            index: vec![0; (16 * capacity).next_power_of_two()],
            newest: NONE,
            oldest: NONE,
            replacement,
            samples: if replacement == BufferReplacement::Sampled { samples } else { 1 },
            uses: 0,
            random: SplitMix::new(seed),
        }
    }

    /// Lines that it has room for.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Lines in it.
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether it has `line`, which is no use of it.
    pub fn holds(&self, line: u64) -> bool {
        self.find(line).1.is_some()
    }

    #[inline]
    fn home(&self, line: u64) -> usize {
        (line.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.index.len().trailing_zeros())) as usize
    }

    /// The index position of `line` and its slot, or the empty position where it would go.
    #[inline]
    fn find(&self, line: u64) -> (usize, Option<u32>) {
        let mut at = self.home(line);
        loop {
            match self.index[at] {
                0 => return (at, None),
                n if self.slots[n as usize - 1].line == line => return (at, Some(n - 1)),
                _ => at = (at + 1) & (self.index.len() - 1),
            }
        }
    }

    /// A slot, by its number.
    #[inline]
    pub fn slot(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The slot of `line`, which is used now.
    #[inline]
    pub fn touch(&mut self, line: u64) -> Option<u32> {
        let slot = self.find(line).1?;
        self.uses += 1;
        self.slots[slot as usize].used = self.uses;
        if self.replacement != BufferReplacement::Fifo && slot != self.newest {
            self.unlink(slot);
            self.link_front(slot);
        }
        Some(slot)
    }

    /// Takes `line` in, which is not here, with nothing valid. There must be room.
    pub fn insert(&mut self, line: u64) -> u32 {
        self.uses += 1;
        let new = Slot {
            line,
            valid: 0,
            dirty: 0,
            read: 0,
            ready: Time::ZERO,
            used: self.uses,
            live: true,
            newer: NONE,
            older: NONE,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = new;
                slot
            }
            None => {
                self.slots.push(new);
                self.slots.len() as u32 - 1
            }
        };
        let at = self.find_empty(line);
        self.index[at] = slot + 1;
        self.link_front(slot);
        slot
    }

    fn find_empty(&self, line: u64) -> usize {
        let mut at = self.home(line);
        while self.index[at] != 0 {
            at = (at + 1) & (self.index.len() - 1);
        }
        at
    }

    /// Takes a line out that the media is not being read for at `at`; none if all that were looked at are.
    pub fn evict(&mut self, at: Time) -> Option<Slot> {
        let slot = match self.replacement {
            BufferReplacement::Lru | BufferReplacement::Fifo => self.oldest_idle(at),
            BufferReplacement::Random | BufferReplacement::Sampled => self.sampled(at),
        }?;
        let evicted = self.slots[slot as usize];
        self.remove(slot);
        Some(evicted)
    }

    /// Takes a line out.
    pub fn remove(&mut self, slot: u32) {
        self.unindex(self.slots[slot as usize].line);
        self.unlink(slot);
        self.slots[slot as usize].live = false;
        self.free.push(slot);
    }

    fn oldest_idle(&self, at: Time) -> Option<u32> {
        let mut slot = self.oldest;
        while slot != NONE && self.slots[slot as usize].ready > at {
            slot = self.slots[slot as usize].newer;
        }
        (slot != NONE).then_some(slot)
    }

    /// The longest unused of some that are drawn.
    fn sampled(&mut self, at: Time) -> Option<u32> {
        let (mut best, mut drawn) = (None, 0);
        for _ in 0..self.samples.max(1) + DRAWS {
            let n = self.random.below(self.slots.len() as u64) as u32;
            let slot = &self.slots[n as usize];
            if !slot.live || slot.ready > at {
                continue;
            }
            if best.is_none_or(|(_, used)| slot.used < used) {
                best = Some((n, slot.used));
            }
            drawn += 1;
            if drawn >= self.samples.max(1) {
                break;
            }
        }
        best.map(|(n, _)| n)
    }

    fn unindex(&mut self, line: u64) {
        let mask = self.index.len() - 1;
        let (mut hole, _) = self.find(line);
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let n = self.index[next];
            if n == 0 {
                break;
            }
            let home = self.home(self.slots[n as usize - 1].line);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.index[hole] = n;
                hole = next;
            }
        }
        self.index[hole] = 0;
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
        fn it_is_a_list_in_order_of_use_or_of_arrival(
            capacity in 1u32..9,
            fifo in any::<bool>(),
            ops in prop::collection::vec((0u64..16, any::<bool>()), 0..300),
        ) {
            let replacement = if fifo { BufferReplacement::Fifo } else { BufferReplacement::Lru };
            let mut buffer = Buffer::new((replacement, 3), capacity, 1);
            let mut list: Vec<u64> = Vec::new();
            for (line, insert) in ops {
                let place = list.iter().position(|at| *at == line);
                prop_assert_eq!(buffer.holds(line), place.is_some());
                prop_assert_eq!(buffer.touch(line).map(|slot| buffer.slot(slot).line), place.map(|_| line));
                match place {
                    Some(place) if !fifo => {
                        list.remove(place);
                        list.insert(0, line);
                    }
                    None if insert => {
                        if list.len() == capacity as usize {
                            let left = buffer.evict(Time::ZERO).map(|slot| slot.line);
                            prop_assert_eq!(left, list.pop());
                        }
                        let slot = buffer.insert(line);
                        prop_assert_eq!(buffer.slot(slot).line, line);
                        list.insert(0, line);
                    }
                    _ => {}
                }
                prop_assert_eq!(buffer.len(), list.len());
            }
        }

        #[test]
        fn a_line_drawn_is_one_that_is_there_and_idle(
            ops in prop::collection::vec((0u64..40, 0u64..50), 0..300),
        ) {
            let mut buffer = Buffer::new((BufferReplacement::Sampled, 3), 8, 1);
            let mut there: std::collections::BTreeMap<u64, Time> = std::collections::BTreeMap::new();
            for (now, (line, ready)) in ops.into_iter().enumerate() {
                let now = Time(now as u64);
                if buffer.touch(line).is_none() {
                    if there.len() == 8 {
                        match buffer.evict(now) {
                            Some(left) => prop_assert!(there.remove(&left.line).is_some_and(|until| until <= now)),
                            None => continue,
                        }
                    }
                    let slot = buffer.insert(line);
                    buffer.slot(slot).ready = now + Time(ready);
                    there.insert(line, now + Time(ready));
                }
                prop_assert_eq!(buffer.len(), there.len());
            }
        }
    }
}
