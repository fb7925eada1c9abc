//! Where the accesses of a step come from.

use daxsim_types::{AccessKind, VirtAddr};

/// A load or store of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its address.
    pub va: VirtAddr,
    /// Load or store.
    pub kind: AccessKind,
    /// Its address comes from the data of the access before it, as in a chase of pointers: it cannot begin before that is
    /// there. An independent one overlaps with those before it as far as the core's window goes.
    pub dependent: bool,
    /// Picoseconds between its issue slot and what enters next: those of the instructions that follow it in the program and are no
    /// accesses, as far as they do not fit beside it ([`super::trace::Expander`]).
    pub work: u32,
}

impl Access {
    /// An access whose address is known beforehand.
    #[must_use]
    pub const fn new(va: VirtAddr, kind: AccessKind) -> Self {
        Self { va, kind, dependent: false, work: 0 }
    }

    /// A load whose address the access before it loaded.
    #[must_use]
    pub const fn chased(va: VirtAddr) -> Self {
        Self { va, kind: AccessKind::Read, dependent: true, work: 0 }
    }
}

impl From<(VirtAddr, AccessKind)> for Access {
    fn from((va, kind): (VirtAddr, AccessKind)) -> Self {
        Self::new(va, kind)
    }
}

/// A generator of accesses. Every iterator of [`Access`]es is one, and of pairs of address and kind, which are independent. It may
/// be asked from any thread of the host.
pub trait Source: Send {
    /// Adds the next `count` accesses to `batch`: fewer only if there are no more.
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize);
}

impl<I> Source for I
where
    I: Iterator + Send,
    I::Item: Into<Access>,
{
    fn fill(&mut self, batch: &mut Vec<Access>, count: usize) {
        batch.extend(self.take(count).map(Into::into));
    }
}

/// A run of accesses.
pub enum Accesses {
    /// `count` independent accesses of one kind, `stride` bytes apart.
    Stride {
        /// First address.
        start: VirtAddr,
        /// How many.
        count: u64,
        /// Bytes between two.
        stride: u64,
        /// Loads or stores.
        kind: AccessKind,
    },
    /// Independent ones, given one by one.
    List(Vec<(VirtAddr, AccessKind)>),
    /// From a generator, which is asked for some of them ahead of time.
    Stream(Box<dyn Source>),
}

impl Accesses {
    /// A chase of pointers: loads each of which needs the one before it.
    #[must_use]
    pub fn chase(addresses: impl Iterator<Item = VirtAddr> + Send + 'static) -> Self {
        Self::Stream(Box::new(addresses.map(Access::chased)))
    }

    fn into_source(self) -> Box<dyn Source> {
        match self {
            Self::Stride { start, count, stride, kind } => {
                let va = move |n: u64| VirtAddr(start.0.wrapping_add(n.wrapping_mul(stride)));
                Box::new((0..count).map(move |n| Access::new(va(n), kind)))
            }
            Self::List(list) => Box::new(list.into_iter()),
            Self::Stream(source) => source,
        }
    }
}

/// Position in a run. Accesses are generated in batches, so that a generator costs a virtual call a batch.
pub(crate) struct Cursor {
    source: Box<dyn Source>,
    batch: Vec<Access>,
    /// The next of the batch.
    at: usize,
    /// How many went before.
    made: u64,
}

/// Accesses generated at once: 4 KiB of them, which stay in the host's L1D.
const BATCH: usize = 256;

impl Cursor {
    pub(crate) fn new(accesses: Accesses) -> Self {
        Self { source: accesses.into_source(), batch: Vec::new(), at: 0, made: 0 }
    }

    /// The next accesses, in order; none if there are no more. They stay the next ones until [`Self::pass`].
    #[inline]
    pub(crate) fn batch(&mut self) -> &[Access] {
        if self.at == self.batch.len() {
            self.refill();
        }
        &self.batch[self.at..]
    }

    /// The accesses that come after the next `count`, which it must have shown already; none if there are no more.
    pub(crate) fn beyond(&mut self, count: usize) -> &[Access] {
        if self.at + count >= self.batch.len() {
            if self.at >= count {
                self.batch.drain(..self.at);
                self.at = 0;
            }
            self.source.fill(&mut self.batch, BATCH);
        }
        &self.batch[self.at + count..]
    }

    #[inline(never)]
    fn refill(&mut self) {
        self.batch.clear();
        self.at = 0;
        self.source.fill(&mut self.batch, BATCH);
    }

    /// Moves past some of the batch.
    #[inline]
    pub(crate) fn pass(&mut self, count: usize) {
        self.at += count;
        self.made += count as u64;
    }

    /// Takes accesses back that it moved past: they come next.
    pub(crate) fn give_back(&mut self, accesses: &[Access]) {
        self.batch.splice(..self.at, accesses.iter().copied());
        self.at = 0;
        self.made -= accesses.len() as u64;
    }

    /// How many accesses it moved past.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(accesses: Accesses) -> Vec<Access> {
        let mut cursor = Cursor::new(accesses);
        let mut all = Vec::new();
        while let Some(access) = cursor.batch().first().copied() {
            assert_eq!(cursor.batch()[0], access, "looking does not move on");
            all.push(access);
            cursor.pass(1);
        }
        assert_eq!(cursor.made(), all.len() as u64);
        all
    }

    #[test]
    fn a_run_is_the_same_however_it_is_given() {
        let pair = |n: u64| (VirtAddr(0x1000 + 64 * n), AccessKind::Write);
        let count = 3 * BATCH as u64 + 7;
        let expected: Vec<Access> = (0..count).map(|n| pair(n).into()).collect();
        let stride = Accesses::Stride { start: VirtAddr(0x1000), count, stride: 64, kind: AccessKind::Write };
        assert_eq!(all(stride), expected);
        assert_eq!(all(Accesses::List((0..count).map(pair).collect())), expected);
        assert_eq!(all(Accesses::Stream(Box::new((0..count).map(pair)))), expected);
    }

    #[test]
    fn a_chase_is_marked_and_nothing_else_is() {
        let chase = all(Accesses::chase([1, 2].into_iter().map(VirtAddr)));
        assert_eq!(
            chase,
            [1, 2].map(|va| Access { va: VirtAddr(va), kind: AccessKind::Read, dependent: true, work: 0 })
        );
        assert!(all(Accesses::List(vec![(VirtAddr(1), AccessKind::Read)])).iter().all(|a| !a.dependent));
    }

    #[test]
    fn what_is_given_back_comes_next() {
        let pair = |n: u64| Access::new(VirtAddr(n), AccessKind::Read);
        let mut cursor = Cursor::new(Accesses::Stream(Box::new((0..600).map(pair))));
        while cursor.made() < 300 {
            let some = cursor.batch().len().min(50);
            cursor.pass(some);
        }
        let passed = cursor.made();
        cursor.give_back(&[pair(7), pair(8)]);
        assert_eq!(cursor.made(), passed - 2);
        assert_eq!(cursor.batch()[..3], [pair(7), pair(8), pair(passed)]);
    }

    #[test]
    fn looking_beyond_the_next_accesses_does_not_move_on() {
        let pair = |n: u64| Access::new(VirtAddr(n), AccessKind::Read);
        let count = 5 * BATCH as u64 / 2;
        let mut cursor = Cursor::new(Accesses::Stream(Box::new((0..count).map(pair))));
        let mut seen = 0;
        loop {
            let first = pair(cursor.made() + seen);
            let more = cursor.beyond(seen as usize);
            if more.is_empty() {
                break;
            }
            assert_eq!(more[0], first);
            seen += more.len().min(100) as u64;
            if seen > 300 {
                cursor.pass(70);
                seen -= 70;
            }
        }
        assert_eq!(cursor.made() + seen, count);
        assert_eq!(cursor.batch().len() as u64, seen);
    }

    #[test]
    fn an_empty_run_ends_at_once() {
        assert_eq!(all(Accesses::List(Vec::new())), []);
    }
}
