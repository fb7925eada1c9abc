//! Where in an array a page may be.
//!
//! An array has rows of `ways` slots. In a plain one the page number picks a row, and the page may be in any way of it. Where
//! a page size has only some of the ways, the next bits of the page number pick which: with 8 ways and 4 for 2 MiB pages,
//! either half, so that these see twice the sets of half the ways, as CPUID reports it of AMD's second-level TLBs. In a skewed
//! array each way has a row of its own for the page.

use daxsim_configs::machine::{SetIndex, TlbSpec};
use daxsim_types::PageSize;

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub(super) row: u32,
    pub(super) way: u32,
}

impl Spot {
    /// The first slot.
    pub const FIRST: Self = Self { row: 0, way: 0 };
}

/// Page sizes as an array tells them apart: those of [`PageSize::ALL`], then coalesced 4 KiB pages.
pub(super) const COALESCED: usize = 3;

/// The choice of slots.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub ways: usize,
    row_mask: u64,
    row_bits: u32,
    /// The page number is exclusive-ored with itself shifted by this; 63 for a linear index.
    fold: u32,
    skewed: bool,
    /// Every page may be in any way of one row.
    pub plain: bool,
    /// Ways for each kind of page.
    kinds: [Window; 4],
}

/// The ways of a kind of page: `count` of them in a row (the last is followed by the first), from a multiple of `step`.
#[derive(Clone, Copy, Debug)]
struct Window {
    count: usize,
    step: usize,
    positions: u64,
}

impl Window {
    fn new(count: usize, ways: usize) -> Self {
        let step = common_divisor(count, ways);
        Self { count, step, positions: if count == ways { 1 } else { (ways / step) as u64 } }
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

impl Place {
    pub fn new(spec: &TlbSpec) -> Self {
        let (ways, sets) = (spec.ways as usize, spec.sets());
        let [small, large, giant] = PageSize::ALL.map(|s| Window::new(spec.ways_of(s) as usize, ways));
        let kinds = [small, large, giant, small];
        let skewed = spec.index == SetIndex::Skewed;
        Self {
            ways,
            row_mask: u64::from(sets) - 1,
            row_bits: sets.trailing_zeros(),
            fold: if spec.index == SetIndex::Linear { 63 } else { sets.trailing_zeros() },
            skewed,
            plain: !skewed && kinds.iter().all(|k| k.positions == 1),
            kinds,
        }
    }

    /// The row of page `number` in an array that is not skewed.
    #[inline]
    pub const fn row(&self, number: u64) -> usize {
        ((number ^ (number >> self.fold)) & self.row_mask) as usize
    }

    /// The row of page `number` in `way`.
    fn row_in(&self, number: u64, way: usize) -> usize {
        if !self.skewed || self.row_bits == 0 {
            return self.row(number);
        }
        let next = (number >> self.row_bits) & self.row_mask;
        let turn = way as u32 % self.row_bits;
        let turned = (next << turn) | (next >> (self.row_bits - turn));
        ((number ^ turned) & self.row_mask) as usize
    }

    /// Every slot that page `number` of a kind may be in.
    pub fn candidates(&self, kind: usize, number: u64) -> impl Iterator<Item = Spot> + '_ {
        let window = self.kinds[kind];
        let start = ((number >> self.row_bits) % window.positions) as usize * window.step;
        (start..start + window.count).map(move |way| {
            let way = way % self.ways;
            Spot { row: self.row_in(number, way) as u32, way: way as u32 }
        })
    }
}
