//! Which frames of main memory user pages and page tables get, one after another.

use daxsim_configs::machine::{FrameOrder, FramesSpec, MachineSpec};
use daxsim_types::{PageSize, Pfn};

/// Rounds of the Feistel network.
const ROUNDS: u64 = 4;

/// A one-to-one map of `0..count` on itself, drawn from a seed: a Feistel network over the next even power of two, applied again
/// as long as the result lies outside (cycle walking). It needs no memory, and can be undone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Permutation {
    count: u64,
    half: u32,
    seed: u64,
}

impl Permutation {
    pub fn new(count: u64, seed: u64) -> Self {
        let count = count.max(1);
        let half = (64 - (count - 1).leading_zeros()).div_ceil(2).max(1);
        Self { count, half, seed }
    }

    fn round(self, right: u64, round: u64) -> u64 {
        let mixed = (right ^ self.seed.wrapping_add(round).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) >> (64 - self.half)
    }

    /// Where `index` goes, which must be below the count.
    pub fn apply(self, index: u64) -> u64 {
        let (mask, mut at) = ((1 << self.half) - 1, index);
        loop {
            let (mut left, mut right) = (at >> self.half, at & mask);
            for round in 0..ROUNDS {
                (left, right) = (right, left ^ self.round(right, round));
            }
            at = left << self.half | right;
            if at < self.count {
                return at;
            }
        }
    }

    /// What goes to `image`.
    pub fn undo(self, image: u64) -> u64 {
        let (mask, mut at) = ((1 << self.half) - 1, image);
        loop {
            let (mut left, mut right) = (at >> self.half, at & mask);
            for round in (0..ROUNDS).rev() {
                (left, right) = (right ^ self.round(left, round), left);
            }
            at = left << self.half | right;
            if at < self.count {
                return at;
            }
        }
    }
}

/// A region of frames, or of aligned groups of frames, given out in an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    first: u64,
    count: u64,
    /// Pages of a group, as a power of two.
    shift: u32,
    order: Option<Permutation>,
    colours: u64,
    /// Of 100 rows, those that begin with a colour of their own.
    turned: u64,
    drift: Drift,
}

/// How the colours of consecutive frames fall behind their numbers: after each run some are left out. The number of a frame with
/// those left out counted is its *turn*.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Drift {
    /// Frames of a run.
    run: u64,
    /// Colours left out after a run, in the mean; 0 if there is no drift.
    skipped: u64,
    seed: u64,
}

impl Drift {
    const NONE: Self = Self { run: 1, skipped: 0, seed: 0 };

    fn new(frames: &FramesSpec) -> Self {
        match frames.order {
            FrameOrder::Drifting => {
                Self { run: u64::from(frames.run), skipped: u64::from(frames.skipped), seed: frames.seed }
            }
            _ => Self::NONE,
        }
    }

    /// Frames in so many turns at least.
    const fn frames(&self, turns: u64) -> u64 {
        // The first run may begin late, and so may the last.
        turns.saturating_sub(self.skipped) / (self.run + self.skipped) * self.run
    }

    /// The turn of the first frame of a run. Runs begin at even distances, each up to `skipped` turns late.
    const fn start(&self, run: u64) -> u64 {
        let drawn = (run ^ self.seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let drawn = (drawn ^ drawn >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
        run * (self.run + self.skipped) + drawn % (self.skipped + 1)
    }

    const fn turn(&self, frame: u64) -> u64 {
        self.start(frame / self.run) + frame % self.run
    }

    /// The frame of a turn, if it was not left out.
    fn frame(&self, turn: u64) -> Option<u64> {
        let latest = turn / (self.run + self.skipped);
        let run = if self.start(latest) <= turn { latest } else { latest.checked_sub(1)? };
        let at = turn - self.start(run);
        (at < self.run).then_some(run * self.run + at)
    }
}

impl Region {
    /// Frames from `first` on, by their number.
    pub const fn sequential(first: u64) -> Self {
        Self { first, count: 0, shift: 0, order: None, colours: 1, turned: 0, drift: Drift::NONE }
    }

    /// The frames of `first..end` in the order of the machine. What is beyond the last one is given out by its number.
    pub fn new(spec: &MachineSpec, first: u64, end: u64) -> Self {
        Self::of_groups(spec, first, end, 0)
    }

    /// The same of groups of `1 << shift` frames; groups have no colours.
    fn of_groups(spec: &MachineSpec, first: u64, end: u64, shift: u32) -> Self {
        let (frames, l2) = (&spec.frames, &spec.cache.l2);
        let of_l2 = l2.size / u64::from(l2.ways.max(1)) / PageSize::Size4K.bytes();
        let colours = match (frames.order, frames.colours) {
            (FrameOrder::Coloured | FrameOrder::Rotated | FrameOrder::Drifting, 0) if shift == 0 => {
                of_l2.max(1)
            }
            (FrameOrder::Coloured | FrameOrder::Rotated | FrameOrder::Drifting, n) if shift == 0 => {
                u64::from(n)
            }
            _ => 1,
        };
        let rows = (end.saturating_sub(first) >> shift) / colours;
        let shuffled = frames.order != FrameOrder::Sequential && rows > 1;
        let order = shuffled.then(|| Permutation::new(rows, frames.seed ^ first << 32));
        let turned = if frames.order == FrameOrder::Rotated { u64::from(frames.turned) } else { 0 };
        let drift = if shift == 0 { Drift::new(frames) } else { Drift::NONE };
        Self { first, count: rows * colours, shift, order, colours, turned, drift }
    }

    /// Groups that it has before `end`, its own.
    const fn groups(&self, end: u64) -> u64 {
        (end.saturating_sub(self.first) >> self.shift).saturating_sub(self.count - self.ordered())
    }

    /// Groups that the order gives out; those after it come behind all of them, by their number.
    const fn ordered(&self) -> u64 {
        self.drift.frames(self.count)
    }

    /// The first frame of group number `index`.
    #[inline]
    pub fn frame(&self, index: u64) -> Pfn {
        Pfn(self.first + (self.position(index) << self.shift))
    }

    /// The number of the group that a frame is in.
    #[inline(always)]
    pub fn index(&self, frame: Pfn) -> Option<u64> {
        let position = frame.0.checked_sub(self.first)? >> self.shift;
        match &self.order {
            Some(order) => self.unshuffled(order, position),
            None => Some(position),
        }
    }

    #[inline(never)]
    fn unshuffled(&self, order: &Permutation, position: u64) -> Option<u64> {
        if position >= self.count {
            return Some(position - self.count + self.ordered());
        }
        let (row, colour) = (position / self.colours, position % self.colours);
        let turned = self.colours - self.turned(row);
        let turn = order.undo(row) * self.colours + (colour + turned) % self.colours;
        self.drift.frame(turn).filter(|index| *index < self.ordered())
    }

    /// Rows are permuted; within a row colours follow each other.
    #[inline]
    fn position(&self, index: u64) -> u64 {
        match self.order {
            Some(order) if index < self.ordered() => {
                let turn = self.drift.turn(index);
                let row = order.apply(turn / self.colours);
                row * self.colours + (turn + self.turned(row)) % self.colours
            }
            Some(_) => index - self.ordered() + self.count,
            None => index,
        }
    }

    /// The colour that a row begins with. The row, as a place in memory, is random already.
    const fn turned(&self, row: u64) -> u64 {
        let drawn = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        if drawn % 100 < self.turned { drawn / 100 % self.colours } else { 0 }
    }
}

/// User memory: frames that were never given out, by page size, and frames that came back.
pub(crate) struct UserFrames {
    small: Region,
    huge: Region,
    next_small: u64,
    next_huge: u64,
    /// Where 1 GiB frames come from.
    next_giant: u64,
    /// The first frames after those of 4 KiB, of 2 MiB, and after all.
    ends: [u64; 3],
    /// Frames of all sizes come one after another.
    together: bool,
    /// Frames given back, used again last in, first out, whatever their colour.
    pub free: Vec<Pfn>,
}

impl UserFrames {
    /// The frames of `first..end`.
    ///
    /// By number, frames of all sizes come one after another. In any other order, the lower half is for 4 KiB frames, the next
    /// quarter for 2 MiB frames, and the last one for 1 GiB frames, by their number. Nobody who does not ask for
    /// [`Self::room`] is refused: what lies beyond the last frame is given out by its number.
    pub fn new(spec: &MachineSpec, first: u64, end: u64) -> Self {
        let huge = PageSize::Size2M.pages();
        let quarter = end.saturating_sub(first) / 4;
        let after_small = (first + 2 * quarter).next_multiple_of(huge);
        let after_huge = after_small + quarter / huge * huge;
        Self {
            small: Region::new(spec, first, after_small),
            huge: Region::of_groups(spec, after_small, after_huge, huge.trailing_zeros()),
            next_small: 0,
            next_huge: 0,
            next_giant: after_huge,
            ends: [after_small, after_huge, end],
            together: spec.frames.order == FrameOrder::Sequential,
            free: Vec::new(),
        }
    }

    /// Bytes of pages of a size that were never given out.
    pub fn room(&self, page: PageSize) -> u64 {
        let [after_small, after_huge, end] = self.ends;
        let (next, end) = match page {
            _ if self.together => (self.small.frame(self.next_small).0.next_multiple_of(page.pages()), end),
            PageSize::Size4K => (self.next_small, self.small.groups(after_small)),
            PageSize::Size2M => (self.huge.first + (self.next_huge << self.huge.shift), after_huge),
            PageSize::Size1G => (self.next_giant.next_multiple_of(page.pages()), end),
        };
        end.saturating_sub(next) << 12
    }

    /// The first frame of a page.
    pub fn take(&mut self, page: PageSize) -> Pfn {
        match page {
            PageSize::Size4K => self.free.pop().unwrap_or_else(|| {
                self.next_small += 1;
                self.small.frame(self.next_small - 1)
            }),
            PageSize::Size2M if self.together => self.aligned(page),
            PageSize::Size1G if self.together => self.skip_to(page),
            PageSize::Size2M => {
                self.next_huge += 1;
                self.huge.frame(self.next_huge - 1)
            }
            PageSize::Size1G => {
                let head = self.next_giant.next_multiple_of(page.pages());
                self.next_giant = head + page.pages();
                Pfn(head)
            }
        }
    }

    /// The next aligned frames of all; those before are free for smaller pages.
    fn aligned(&mut self, page: PageSize) -> Pfn {
        let next = self.small.frame(self.next_small).0;
        self.free.extend((next..next.next_multiple_of(page.pages())).map(Pfn));
        self.skip_to(page)
    }

    fn skip_to(&mut self, page: PageSize) -> Pfn {
        let next = self.small.frame(self.next_small).0;
        let head = next.next_multiple_of(page.pages());
        self.next_small += head - next + page.pages();
        Pfn(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::machine;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn spec(order: FrameOrder, seed: u64) -> MachineSpec {
        let mut spec = machine(1);
        spec.frames.order = order;
        spec.frames.seed = seed;
        spec
    }

    proptest! {
        #[test]
        fn a_permutation_is_one_to_one_and_can_be_undone(count in 1u64..5000, seed in any::<u64>()) {
            let p = Permutation::new(count, seed);
            let images: BTreeSet<u64> = (0..count).map(|n| p.apply(n)).collect();
            prop_assert_eq!(images.len() as u64, count);
            prop_assert!(images.last().is_some_and(|last| *last < count));
            for n in 0..count {
                prop_assert_eq!(p.undo(p.apply(n)), n);
            }
        }
    }

    #[test]
    fn random_frames_are_all_there_once_and_in_no_order() {
        let of = |seed| {
            let region = Region::new(&spec(FrameOrder::Random, seed), 1000, 11_000);
            (0..10_000).map(|n| region.frame(n).0).collect::<Vec<_>>()
        };
        let frames = of(1);
        assert_eq!(frames, of(1));
        assert_ne!(frames, of(2));
        let mut sorted = frames.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(1000..11_000));
        let near = frames.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 100).count();
        assert!(near < 400, "{near} of 10000 lie near the one before; 200 would by chance");
        let low = frames[..1000].iter().filter(|&&frame| frame < 6000).count();
        assert!((400..600).contains(&low), "{low} of the first 1000 lie in the lower half");
    }

    #[test]
    fn colours_come_in_turn_and_rows_in_no_order() {
        let mut spec = spec(FrameOrder::Coloured, 1);
        spec.frames.colours = 16;
        let region = Region::new(&spec, 1600, 3200);
        let frames: Vec<u64> = (0..1600).map(|n| region.frame(n).0).collect();
        assert!(frames.iter().enumerate().all(|(n, frame)| frame % 16 == n as u64 % 16));
        let rows: Vec<u64> = frames.iter().step_by(16).map(|frame| frame / 16).collect();
        assert!(rows.windows(2).filter(|pair| pair[0] < pair[1]).count() < 75);
        assert_eq!(frames.iter().collect::<BTreeSet<_>>().len(), 1600);
        for n in 0..1700 {
            assert_eq!(region.index(region.frame(n)), Some(n));
        }
    }

    #[test]
    fn colours_are_those_of_the_l2_unless_they_are_given() {
        let mut spec = spec(FrameOrder::Coloured, 1);
        spec.cache.l2.size = 1 << 20;
        spec.cache.l2.ways = 16;
        let region = Region::new(&spec, 0, 4096);
        assert!((0..4096).all(|n| region.frame(n).0 % 16 == n % 16));
    }

    #[test]
    fn pages_of_no_two_sizes_overlap() {
        let (first, end) = (100_000, 100_000 + (8 << 18));
        for order in [
            FrameOrder::Sequential,
            FrameOrder::Random,
            FrameOrder::Coloured,
            FrameOrder::Rotated,
            FrameOrder::Drifting,
        ] {
            let mut user = UserFrames::new(&spec(order, 7), first, end);
            let mut seen = BTreeSet::new();
            for n in 0..2000u64 {
                let page = match n {
                    1000 => PageSize::Size1G,
                    _ if n % 40 == 39 => PageSize::Size2M,
                    _ => PageSize::Size4K,
                };
                let room = user.room(page);
                let (head, pages) = (user.take(page).0, page.pages());
                assert!(head % pages == 0 && head >= first && head + pages <= end, "{order:?}: {head}");
                assert!(room >= page.bytes() && user.room(page) <= room);
                assert!((head..head + pages).all(|frame| seen.insert(frame)), "{order:?}: {head} again");
            }
        }
    }

    #[test]
    fn there_is_room_until_there_is_none() {
        for order in [FrameOrder::Sequential, FrameOrder::Random] {
            let mut user = UserFrames::new(&spec(order, 7), 4096, 4096 + 4096);
            let mut taken = 0;
            while user.room(PageSize::Size2M) >= PageSize::Size2M.bytes() {
                user.take(PageSize::Size2M);
                taken += 1;
            }
            assert_eq!(taken, if order == FrameOrder::Sequential { 8 } else { 2 });
        }
    }

    #[test]
    fn rotated_runs_hold_every_colour_and_begin_with_different_ones() {
        let mut spec = spec(FrameOrder::Rotated, 1);
        spec.frames.colours = 64;
        let region = Region::new(&spec, 0, 64 * 64);
        let starts: BTreeSet<u64> = (0..64)
            .map(|run| {
                let frames: Vec<u64> = (0..64).map(|at| region.frame(run * 64 + at).0).collect();
                assert_eq!(frames.iter().map(|frame| frame % 64).collect::<BTreeSet<_>>().len(), 64);
                assert!(frames.windows(2).all(|pair| (pair[0] + 1) % 64 == pair[1] % 64));
                assert!((0..64).all(|at| region.index(Pfn(frames[at as usize])) == Some(run * 64 + at)));
                frames[0] % 64
            })
            .collect();
        assert!(starts.len() > 20, "{starts:?}");
        spec.frames.turned = 0;
        let region = Region::new(&spec, 0, 64 * 64);
        assert!((0..64).all(|run| region.frame(run * 64).0.is_multiple_of(64)));
    }

    #[test]
    fn a_drift_leaves_out_colours_after_each_run_and_no_frame_comes_twice() {
        let mut spec = spec(FrameOrder::Drifting, 1);
        (spec.frames.colours, spec.frames.run, spec.frames.skipped) = (64, 32, 2);
        let region = Region::new(&spec, 0, 64 * 64);
        let frames: Vec<u64> = (0..region.groups(64 * 64)).map(|n| region.frame(n).0).collect();
        assert!(frames.len() > 3700 && frames.iter().all(|frame| *frame < 64 * 64));
        let left_out: Vec<u64> =
            frames.windows(2).map(|pair| (pair[1] % 64 + 127 - pair[0] % 64) % 64).collect();
        assert!(left_out.iter().enumerate().all(|(n, gap)| *gap == 0 || (n % 32 == 31 && *gap <= 4)));
        assert_eq!(left_out.iter().collect::<BTreeSet<_>>().len(), 5, "none to twice as many as in the mean");
        let mut owners: Vec<u64> = (0..64 * 64).filter_map(|frame| region.index(Pfn(frame))).collect();
        owners.sort_unstable();
        assert!(owners.into_iter().eq(0..frames.len() as u64));
        for n in 0..5000 {
            assert_eq!(region.index(region.frame(n)), Some(n));
        }
    }

    #[test]
    fn what_came_back_last_is_used_first() {
        let mut user = UserFrames::new(&spec(FrameOrder::Random, 7), 1000, 9000);
        let frames = [user.take(PageSize::Size4K), user.take(PageSize::Size4K)];
        user.free.extend(frames);
        assert_eq!([user.take(PageSize::Size4K), user.take(PageSize::Size4K)], [frames[1], frames[0]]);
    }
}
