//! A set-associative array of line tags with exact LRU.

use daxsim_configs::machine::CacheSpec;
use daxsim_types::{CacheLine, LINE_BYTES};

use super::interleave::Divisor;

/// The core may write the line without asking (MESI: M or E).
pub(super) const OWNED: u64 = 1;
/// The copy differs from what the level below has.
pub(super) const DIRTY: u64 = 2;
/// The word holds a line.
const VALID: u64 = 4;
/// Bits below the line number.
const SHIFT: u32 = 3;
/// The bits that a caller may set.
const FLAGS: u64 = OWNED | DIRTY;

/// Equal caches side by side (one per core, or just one), each of `sets` sets of `ways` words.
///
/// A word is `line << 3 | VALID | flags`, zero if empty. Within a set the position is the rank:
/// most recently used first, empty words last.
pub(super) struct Cache {
    words: Vec<u64>,
    ways: usize,
    sets: Divisor,
    /// Words of a unit.
    lines: usize,
}

/// A line that had to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Victim {
    pub line: CacheLine,
    pub flags: u64,
}

const fn key(line: CacheLine) -> u64 {
    line.0 << SHIFT | VALID
}

const fn matches(word: u64, key: u64) -> bool {
    word ^ key < VALID
}

/// Moves `set[rank]` to the front.
fn promote(set: &mut [u64], rank: usize) {
    let word = set[rank];
    set.copy_within(..rank, 1);
    set[0] = word;
}

impl Cache {
    /// `units` caches of the geometry of `spec`.
    pub fn new(spec: &CacheSpec, units: usize) -> Self {
        let ways = spec.ways.max(1) as usize;
        let sets = (spec.size / (LINE_BYTES * ways as u64)).max(1);
        Self {
            words: vec![0; units * sets as usize * ways],
            ways,
            sets: Divisor::new(sets),
            lines: sets as usize * ways,
        }
    }

    /// Lines that one unit holds.
    pub const fn lines(&self) -> usize {
        self.lines
    }

    #[inline]
    fn set(&mut self, unit: usize, line: CacheLine) -> &mut [u64] {
        let start = self.start(unit, line);
        &mut self.words[start..start + self.ways]
    }

    #[inline]
    const fn start(&self, unit: usize, line: CacheLine) -> usize {
        let (_, set) = self.sets.div_rem(line.0);
        unit * self.lines + set as usize * self.ways
    }

    /// The fast path: if `unit` holds `line` with every flag of `needed`, makes it the most
    /// recently used and returns true; otherwise changes nothing.
    #[inline]
    pub fn hit(&mut self, unit: usize, line: CacheLine, needed: u64) -> bool {
        let key = key(line);
        let set = self.set(unit, line);
        let Some(rank) = set.iter().position(|&word| matches(word, key)) else { return false };
        if set[rank] & needed != needed {
            return false;
        }
        if rank > 0 {
            promote(set, rank);
        }
        true
    }

    /// Makes `line` the most recently used of its set and returns its word, for reading and
    /// adding flags.
    #[inline]
    pub fn touch(&mut self, unit: usize, line: CacheLine) -> Option<&mut u64> {
        let key = key(line);
        let set = self.set(unit, line);
        let rank = set.iter().position(|&word| matches(word, key))?;
        if rank > 0 {
            promote(set, rank);
        }
        set.first_mut()
    }

    /// The word of `line`, its rank left as it is.
    #[inline]
    pub fn peek_mut(&mut self, unit: usize, line: CacheLine) -> Option<&mut u64> {
        let key = key(line);
        self.set(unit, line).iter_mut().find(|word| matches(**word, key))
    }

    /// The flags of `line` if it is here.
    pub fn flags(&self, unit: usize, line: CacheLine) -> Option<u64> {
        let key = key(line);
        let start = self.start(unit, line);
        let set = &self.words[start..start + self.ways];
        set.iter().find(|&&word| matches(word, key)).map(|word| word & FLAGS)
    }

    /// Puts `line`, which must not be here, first in its set.
    #[inline]
    pub fn insert(&mut self, unit: usize, line: CacheLine, flags: u64) -> Option<Victim> {
        let set = self.set(unit, line);
        debug_assert!(!set.iter().any(|&word| matches(word, key(line))), "{line:?} is here already");
        let last = set.len() - 1;
        let victim = set[last];
        set.copy_within(..last, 1);
        set[0] = key(line) | flags;
        (victim != 0).then_some(Victim { line: CacheLine(victim >> SHIFT), flags: victim & FLAGS })
    }

    /// Takes `line` out and returns its flags.
    #[inline]
    pub fn remove(&mut self, unit: usize, line: CacheLine) -> Option<u64> {
        let key = key(line);
        let set = self.set(unit, line);
        let rank = set.iter().position(|&word| matches(word, key))?;
        let flags = set[rank] & FLAGS;
        set.copy_within(rank + 1.., rank);
        if let Some(last) = set.last_mut() {
            *last = 0;
        }
        Some(flags)
    }

    /// The lines of a unit with their flags, set by set, most recently used first.
    pub fn contents(&self, unit: usize) -> impl Iterator<Item = (CacheLine, u64)> + '_ {
        let lines = self.lines();
        let words = &self.words[unit * lines..(unit + 1) * lines];
        words.iter().filter(|&&word| word != 0).map(|word| (CacheLine(word >> SHIFT), word & FLAGS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxsim_types::Time;

    fn cache(sets: u64, ways: u32, units: usize) -> Cache {
        Cache::new(&crate::memory::tests::geometry(sets, ways, Time(1)), units)
    }

    fn lines(cache: &Cache, unit: usize) -> Vec<u64> {
        cache.contents(unit).map(|(line, _)| line.0).collect()
    }

    #[test]
    fn the_least_recently_used_line_leaves_first() {
        let mut c = cache(1, 3, 1);
        for line in 0..3 {
            assert_eq!(c.insert(0, CacheLine(line), 0), None);
        }
        assert!(c.touch(0, CacheLine(0)).is_some());
        assert_eq!(lines(&c, 0), [0, 2, 1]);
        assert_eq!(c.insert(0, CacheLine(9), DIRTY), Some(Victim { line: CacheLine(1), flags: 0 }));
        assert_eq!(c.remove(0, CacheLine(0)), Some(0));
        assert_eq!(lines(&c, 0), [9, 2]);
        assert_eq!(c.insert(0, CacheLine(5), 0), None, "the place of a removed line is free");
    }

    #[test]
    fn line_zero_is_a_line_like_any_other() {
        let mut c = cache(2, 2, 1);
        assert_eq!(c.flags(0, CacheLine(0)), None);
        c.insert(0, CacheLine(0), 0);
        assert_eq!(c.flags(0, CacheLine(0)), Some(0));
    }

    #[test]
    fn a_refused_hit_changes_nothing() {
        let mut c = cache(1, 2, 1);
        c.insert(0, CacheLine(1), 0);
        c.insert(0, CacheLine(2), OWNED);
        assert!(!c.hit(0, CacheLine(1), OWNED));
        assert!(!c.hit(0, CacheLine(3), 0));
        assert_eq!(lines(&c, 0), [2, 1]);
        assert!(c.hit(0, CacheLine(1), 0));
        assert!(c.hit(0, CacheLine(2), OWNED));
        assert_eq!(lines(&c, 0), [2, 1]);
    }

    #[test]
    fn sets_may_be_any_number_and_units_are_apart() {
        let mut c = cache(3, 1, 2);
        for line in 0..3 {
            assert_eq!(c.insert(1, CacheLine(line), 0), None);
        }
        assert_eq!(lines(&c, 0), [0; 0]);
        assert_eq!(c.insert(1, CacheLine(4), 0).map(|v| v.line), Some(CacheLine(1)));
    }
}
