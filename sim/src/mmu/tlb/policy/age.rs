//! Exact orders of use or of fill. An empty slot is older than any live one.

use crate::mmu::tlb::Spot;

/// For up to 16 ways: a word for each row, whose hexadecimal digits are the ways from the newest (lowest) to the oldest.
#[derive(Clone, Debug)]
pub(in crate::mmu::tlb) struct Order {
    words: Vec<u64>,
    /// Bit position of the oldest way.
    last: u32,
    pub by_use: bool,
}

/// One in every digit.
const ONES: u64 = 0x1111_1111_1111_1111;

/// Bit position of the digit `way`, which is in the word.
#[inline]
const fn position(word: u64, way: u32) -> u32 {
    let zeroed = word ^ (ONES * way as u64);
    // The lowest zero digit is where the borrow starts.
    (zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 3)).trailing_zeros() & !3
}

impl Order {
    pub const MOST_WAYS: usize = 16;

    pub fn new(rows: usize, ways: usize, by_use: bool) -> Self {
        // The digits above the ways are left alone. Way 0 is filled first.
        let mut word = 0xfedc_ba98_7654_3210_u64;
        let last = 4 * (ways as u32 - 1);
        for way in 0..ways as u32 {
            let digit = 0xf << (last - 4 * way);
            word = (word & !digit) | (u64::from(way) << (last - 4 * way));
        }
        Self { words: vec![word; rows], last, by_use }
    }

    #[inline]
    pub fn newest(&mut self, spot: Spot) {
        let word = &mut self.words[spot.row as usize];
        let at = position(*word, spot.way);
        let newer = *word & ((1 << at) - 1);
        let older = *word & (!0xf << at);
        *word = older | (newer << 4) | u64::from(spot.way);
    }

    pub fn oldest(&mut self, spot: Spot) {
        let last = self.last;
        let word = &mut self.words[spot.row as usize];
        let at = position(*word, spot.way);
        let newer = *word & ((1 << at) - 1);
        let ways = (0xf << last) | ((1 << last) - 1);
        let older = ((*word & ways) >> 4) & (!0 << at);
        *word = (*word & !ways) | (u64::from(spot.way) << last) | older | newer;
    }

    #[inline]
    pub fn last(&self, row: usize) -> usize {
        ((self.words[row] >> self.last) & 0xf) as usize
    }
}

/// For any number of ways: a ring for each row, from the newest way on to the oldest and back.
#[derive(Clone, Debug)]
pub(in crate::mmu::tlb) struct List {
    /// Of each slot, the way that is newer and the way that is older.
    links: Vec<(u16, u16)>,
    /// Of each row, its newest way.
    newest: Vec<u16>,
    ways: usize,
    pub by_use: bool,
}

impl List {
    pub fn new(rows: usize, ways: usize, by_use: bool) -> Self {
        // The oldest is way 0: it is filled first.
        let link = |way: usize| (((way + 1) % ways) as u16, ((way + ways - 1) % ways) as u16);
        let links = (0..rows).flat_map(|_| (0..ways).map(link)).collect();
        Self { links, newest: vec![(ways - 1) as u16; rows], ways, by_use }
    }

    fn row(&mut self, row: usize) -> (&mut [(u16, u16)], &mut u16) {
        (&mut self.links[row * self.ways..][..self.ways], &mut self.newest[row])
    }

    #[inline]
    pub fn newest(&mut self, spot: Spot) {
        let (links, newest) = self.row(spot.row as usize);
        let way = spot.way as u16;
        if *newest != way {
            move_between(links, way, *newest);
            *newest = way;
        }
    }

    pub fn oldest(&mut self, spot: Spot) {
        let (links, newest) = self.row(spot.row as usize);
        let way = spot.way as u16;
        if *newest == way {
            // The ring turns by one.
            *newest = links[usize::from(way)].1;
        } else {
            move_between(links, way, *newest);
        }
    }

    #[inline]
    pub fn last(&self, row: usize) -> usize {
        let newest = usize::from(self.newest[row]);
        usize::from(self.links[row * self.ways + newest].0)
    }
}

/// Moves `way` between `newest` and what is before that in the ring, the oldest.
fn move_between(links: &mut [(u16, u16)], way: u16, newest: u16) {
    let at = |way: u16| usize::from(way);
    let last = links[at(newest)].0;
    if last == way {
        return;
    }
    let (newer, older) = links[at(way)];
    links[at(newer)].1 = older;
    links[at(older)].0 = newer;
    links[at(way)] = (last, newest);
    links[at(last)].1 = way;
    links[at(newest)].0 = way;
}

/// For slots in any rows: when each was last used or filled, 0 if it is empty.
#[derive(Clone, Debug)]
pub(in crate::mmu::tlb) struct Stamps {
    stamps: Vec<u64>,
    clock: u64,
    pub by_use: bool,
}

impl Stamps {
    pub fn new(entries: usize, by_use: bool) -> Self {
        Self { stamps: vec![0; entries], clock: 0, by_use }
    }

    pub fn newest(&mut self, i: usize) {
        self.clock += 1;
        self.stamps[i] = self.clock;
    }

    pub fn oldest(&mut self, i: usize) {
        self.stamps[i] = 0;
    }

    pub fn oldest_among(&self, indices: impl Iterator<Item = usize>) -> usize {
        indices.enumerate().min_by_key(|(_, i)| self.stamps[*i]).map_or(0, |(position, _)| position)
    }
}
