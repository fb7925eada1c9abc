//! The second stage of translation: EPT or NPT, from guest-physical to host-physical addresses (Intel SDM vol. 3, 28.3; AMD APM
//! vol. 2, 15.25).
//!
//! The machine then is a virtual one, and the frames in its page tables are the guest's. The hypervisor has mapped all of them;
//! or, with `nested.exit`, it maps each page of user and persistent memory at its first touch, which exits to it (EPT
//! violation). The memory of the kernel's own objects and page tables was touched when the guest booted. A and D of the second
//! stage are not modelled. Its tables have no contents to store: where an entry lies follows from the address that it maps,
//! eight neighbours to a line, in host memory above that of the guest. Host frames of main memory, and those of persistent memory,
//! are in order or permuted: a hypervisor that passes on a DAX range maps one piece, one with a file for it the file's blocks.

use daxsim_configs::machine::{HostFrames, MachineSpec, NestedSpec, host_level_bytes};
use daxsim_types::{CacheLine, PageSize, Pfn, PhysAddr, Time, VirtAddr};

use super::lru::Lru;
use super::psc::{Link, Psc};
use super::rights::Rights;
use super::tlb::TlbStats;
use super::tlbs::Unbalanced;

/// Where the host has the guest's memory, and the entries that say so.
pub(crate) struct HostMap {
    /// Size of the host's pages.
    pub size: PageSize,
    /// Level of the hypervisor's root.
    pub top: u32,
    /// Of the lookup before a translation.
    pub latency: Time,
    /// First address of the entries of each level.
    entries: Vec<u64>,
    /// Of pages of main memory, and of persistent memory, where they are permuted.
    moved: Vec<Moved>,
    unmapped: Option<Unmapped>,
}

impl HostMap {
    /// The map that `spec` describes, for a machine with such memory.
    pub fn new(spec: &NestedSpec, machine: &MachineSpec) -> Self {
        let limit = machine.pmem.base + machine.pmem.capacity;
        let mut at = machine.dram.capacity;
        let place = |level| {
            let first = at;
            at += if level < spec.page_size.level() { 0 } else { host_level_bytes(level, limit) };
            first
        };
        let entries = (0..spec.levels).map(place).collect();
        let moved = [
            (spec.frames, 0, machine.dram.capacity),
            (spec.pmem_frames, machine.pmem.base, machine.pmem.capacity),
        ];
        let shift = spec.page_size.shift();
        let moved = moved.into_iter().filter(|(frames, ..)| *frames == HostFrames::Random).map(
            |(_, start, capacity)| Moved {
                first: start >> shift,
                order: Permutation::new(capacity >> shift, spec.seed.wrapping_add(start)),
            },
        );
        let (moved, size, top, latency) = (moved.collect(), spec.page_size, spec.levels - 1, spec.latency);
        Self { size, top, latency, entries, moved, unmapped: None }
    }

    /// The same, with what the hypervisor maps at its first touch: everything from `first` to `end`.
    pub fn mapping_on_touch(mut self, exit: Time, first: u64, end: u64) -> Self {
        let first = first.div_ceil(self.size.bytes());
        let pages = (end >> self.size.shift()).saturating_sub(first);
        let mapped = vec![0; pages.div_ceil(64) as usize];
        self.unmapped = (exit > Time::ZERO).then_some(Unmapped { exit, first, mapped });
        self
    }

    /// What an access to a guest's frame exits for, if the hypervisor has not mapped its page.
    #[inline]
    pub fn exit(&self, guest: Pfn) -> Option<Time> {
        let page = guest.0 >> (self.size.shift() - 12);
        self.unmapped.as_ref().filter(|unmapped| !unmapped.is_mapped(page)).map(|unmapped| unmapped.exit)
    }

    /// Maps the page of a guest's frame.
    pub fn map(&mut self, guest: Pfn) {
        let page = guest.0 >> (self.size.shift() - 12);
        if let Some(unmapped) = &mut self.unmapped {
            unmapped.map(page);
        }
    }

    /// The host's frame of a guest's.
    #[inline]
    pub fn frame(&self, guest: Pfn) -> Pfn {
        self.moved_frame(guest, Permutation::of)
    }

    /// The guest's frame that a frame of the host backs.
    pub fn guest_frame(&self, host: Pfn) -> Pfn {
        self.moved_frame(host, Permutation::whence)
    }

    #[inline]
    fn moved_frame(&self, frame: Pfn, to: fn(&Permutation, u64) -> u64) -> Pfn {
        let shift = self.size.shift() - 12;
        let page = frame.0 >> shift;
        let Some(moved) = self.moved.iter().find(|moved| moved.holds(page)) else { return frame };
        let page = moved.first + to(&moved.order, page - moved.first);
        Pfn(page << shift | frame.0 & (self.size.pages() - 1))
    }

    /// The host's frames of a run of the guest's in one memory, in as many runs.
    pub fn runs(&self, guest: Pfn, pages: u64) -> impl Iterator<Item = (Pfn, u64)> + '_ {
        let (mut at, end) = (guest.0, guest.0 + pages);
        std::iter::from_fn(move || {
            let moves = self.moved.iter().any(|moved| moved.holds(at >> (self.size.shift() - 12)));
            let next = if moves { ((at | (self.size.pages() - 1)) + 1).min(end) } else { end };
            let run = (at < end).then(|| (self.frame(Pfn(at)), next - at));
            at = next;
            run
        })
    }

    /// The line of the entry of `level` that maps a guest-physical address.
    fn entry_line(&self, guest: PhysAddr, level: u32) -> CacheLine {
        let index = guest.0 >> (12 + 9 * level);
        PhysAddr(self.entries[level as usize] + 8 * index).line()
    }
}

/// Pages that the hypervisor maps at their first touch.
struct Unmapped {
    exit: Time,
    /// The first of them.
    first: u64,
    /// A bit for each that is mapped by now.
    mapped: Vec<u64>,
}

impl Unmapped {
    /// Word and bit of a page; none if it was mapped from the beginning.
    fn place(&self, page: u64) -> Option<(usize, u64)> {
        let at = page.checked_sub(self.first)?;
        let word = (at / 64) as usize;
        (word < self.mapped.len()).then_some((word, 1 << (at % 64)))
    }

    fn is_mapped(&self, page: u64) -> bool {
        self.place(page).is_none_or(|(word, bit)| self.mapped[word] & bit != 0)
    }

    fn map(&mut self, page: u64) {
        if let Some((word, bit)) = self.place(page) {
            self.mapped[word] |= bit;
        }
    }
}

/// What a CPU has cached of the second stage. Nothing that a guest executes drops any of it (Intel SDM vol. 3, 28.4.3.1).
#[derive(Clone, Debug)]
pub(crate) struct NestedCaches {
    psc: Psc,
    /// Host pages that hold guest tables.
    tlb: Lru,
}

/// What of a nested walk is left to read, from the highest level down.
pub(crate) struct NestedWalk {
    /// Level of the first entry to read; nothing is to be read if the translation was cached.
    from: Option<u32>,
}

impl NestedCaches {
    pub fn new(spec: &NestedSpec) -> Self {
        Self { psc: Psc::nested(spec), tlb: Lru::new(spec.tlb, 0) }
    }

    /// Looks up the frame of a guest table.
    pub fn begin_table(&mut self, map: &HostMap, guest: Pfn) -> NestedWalk {
        let page = guest.addr().0 >> map.size.shift();
        match self.tlb.lookup(page, page) {
            Some(_) => NestedWalk { from: None },
            None => self.begin(map, guest),
        }
    }

    /// Looks up where the walk for a guest frame may start.
    pub fn begin(&mut self, map: &HostMap, guest: Pfn) -> NestedWalk {
        let from = self.psc.deepest(VirtAddr(guest.addr().0), 0).map_or(map.top, |(level, _)| level);
        NestedWalk { from: Some(from) }
    }

    /// Keeps what the walk for a guest frame has read at `level`.
    fn read(&mut self, map: &HostMap, guest: Pfn, level: u32) {
        if level > map.size.level() {
            let link = Link { table: Pfn(0), rights: Rights::ALL };
            self.psc.fill(level, VirtAddr(guest.addr().0), 0, link);
        }
    }

    /// Keeps the translation of a guest table's frame.
    pub fn end_table(&mut self, map: &HostMap, guest: Pfn) {
        let page = guest.addr().0 >> map.size.shift();
        self.tlb.fill(page, page, 0);
    }

    /// Whether every count of every cache adds up.
    pub fn check_balance(&self) -> Result<(), Unbalanced> {
        let (found, live) = (self.tlb.stats(), self.tlb.len());
        if !found.balances(live) {
            return Err(Unbalanced { name: "nested_tlb", found, live });
        }
        self.psc.check_balance()
    }

    /// Counts by cache.
    pub fn stats(&self) -> Vec<(&'static str, TlbStats)> {
        [("nested_tlb", self.tlb.stats())].into_iter().chain(self.psc.stats()).collect()
    }
}

impl NestedWalk {
    /// Whether the translation was cached.
    pub const fn is_cached(&self) -> bool {
        self.from.is_none()
    }

    /// The next entry to read for a guest frame, with its level; keeps what it says.
    pub fn next(&mut self, map: &HostMap, caches: &mut NestedCaches, guest: Pfn) -> Option<(u32, CacheLine)> {
        let level = self.from.filter(|level| *level >= map.size.level())?;
        caches.read(map, guest, level);
        self.from = level.checked_sub(1);
        Some((level, map.entry_line(guest.addr(), level)))
    }
}

/// Pages of the host in another order than the guest's.
struct Moved {
    /// The first of them.
    first: u64,
    order: Permutation,
}

impl Moved {
    const fn holds(&self, page: u64) -> bool {
        page >= self.first && page - self.first < self.order.count
    }
}

/// A seeded permutation of `0..count` that needs no memory: four Feistel rounds over as many bits as `count` takes, walked on
/// until the result is below `count`. What is not below it stays where it is.
struct Permutation {
    count: u64,
    half: u32,
    seed: u64,
}

impl Permutation {
    const fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2), seed }
    }

    fn of(&self, x: u64) -> u64 {
        let mut y = x;
        if x < self.count {
            loop {
                y = self.shuffle(y);
                if y < self.count {
                    break;
                }
            }
        }
        y
    }

    /// What `of` takes there.
    fn whence(&self, y: u64) -> u64 {
        let mut x = y;
        if y < self.count {
            loop {
                x = self.unshuffle(x);
                if x < self.count {
                    break;
                }
            }
        }
        x
    }

    const fn mask(&self) -> u64 {
        (1 << self.half) - 1
    }

    fn round(&self, round: u64, half: u64) -> u64 {
        mix(half ^ mix(self.seed.wrapping_add(round))) & self.mask()
    }

    fn shuffle(&self, x: u64) -> u64 {
        let (mut left, mut right) = (x >> self.half, x & self.mask());
        for round in 0..4 {
            (left, right) = (right, left ^ self.round(round, right));
        }
        left << self.half | right
    }

    fn unshuffle(&self, y: u64) -> u64 {
        let (mut left, mut right) = (y >> self.half, y & self.mask());
        for round in (0..4).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        left << self.half | right
    }
}

/// SplitMix64's finaliser.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(page: &str, frames: &str, seed: u64) -> (HostMap, MachineSpec) {
        let text = format!(
            "base = \"skylake-sp-optane\"\n[nested]\npage_size = \"{page}\"\nframes = \"{frames}\"\nseed = {seed}\n\
             tlb = 0\npml4e = 0\npdpte = 0\npde = 0\n"
        );
        let spec = daxsim_configs::parse_machine("guest.toml", &text, &[]).unwrap();
        (HostMap::new(spec.nested.as_ref().unwrap(), &spec), spec)
    }

    #[test]
    fn a_permutation_has_every_number_once_and_depends_on_its_seed() {
        for count in [1, 2, 3, 5, 64, 1000, 4097] {
            let order = |seed| {
                let p = Permutation::new(count, seed);
                (0..count).map(|x| p.of(x)).collect::<Vec<_>>()
            };
            let mut sorted = order(7);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            assert_eq!(order(7), order(7));
            assert!(count < 64 || order(7) != order(8));
            let there = Permutation::new(count, 7);
            assert_eq!((there.of(count + 3), there.whence(count + 3)), (count + 3, count + 3));
            assert!((0..count).all(|x| there.whence(there.of(x)) == x));
        }
    }

    #[test]
    fn host_pages_move_as_a_whole_and_persistent_memory_stays() {
        for (page, size) in [("4K", 1), ("2M", 512), ("1G", 512 * 512)] {
            let (map, spec) = map(page, "random", 3);
            let moved = (0..8).filter(|block| map.frame(Pfn(block * size)) != Pfn(block * size)).count();
            assert!(moved > 4, "{page}: {moved}");
            for block in 0..8 {
                let first = map.frame(Pfn(block * size));
                assert!(first.0 < spec.dram.capacity >> 12);
                assert_eq!(map.frame(Pfn(block * size + size - 1)), Pfn(first.0 + size - 1));
            }
            let pmem = Pfn((spec.pmem.base >> 12) + 77);
            assert_eq!(map.frame(pmem), pmem);
        }
        assert_eq!(map("4K", "sequential", 3).0.frame(Pfn(1234)), Pfn(1234));
    }

    #[test]
    fn blocks_of_persistent_memory_move_among_themselves_and_back() {
        let text = "base = \"skylake-sp-optane\"\n[nested]\npage_size = \"2M\"\nframes = \"random\"\n\
                    pmem_frames = \"random\"\ntlb = 0\npml4e = 0\npdpte = 0\npde = 0\n";
        let spec = daxsim_configs::parse_machine("guest.toml", text, &[]).unwrap();
        let map = HostMap::new(spec.nested.as_ref().unwrap(), &spec);
        let (first, pages) = (spec.pmem.base >> 12, spec.pmem.capacity >> 12);
        let moved: Vec<Pfn> = (0..8).map(|block| map.frame(Pfn(first + 512 * block))).collect();
        assert!(moved.iter().all(|pfn| (first..first + pages).contains(&pfn.0) && pfn.0 % 512 == 0));
        assert!(moved.windows(2).any(|two| two[1].0 != two[0].0 + 512));
        for guest in [0, 511, 512, first, first + 1000, first + pages - 1, first + pages].map(Pfn) {
            assert_eq!(map.guest_frame(map.frame(guest)), guest);
        }
        let runs: Vec<(Pfn, u64)> = map.runs(Pfn(first + 500), 1000).collect();
        let expected =
            [(500, 12), (512, 512), (1024, 476)].map(|(at, len)| (map.frame(Pfn(first + at)), len));
        assert_eq!(runs, expected);
    }

    #[test]
    fn entries_lie_above_the_guests_memory_eight_to_a_line() {
        let (map, spec) = map("4K", "sequential", 0);
        let line = |page: u64, level| map.entry_line(PhysAddr(page << 12), level);
        assert_eq!(line(8, 0), line(15, 0));
        assert_ne!(line(7, 0), line(8, 0));
        assert_eq!(line(0, 1), line(8 * 512 - 1, 1));
        let all: Vec<CacheLine> = (0..4).flat_map(|l| [line(0, l), line((48 << 18) - 1, l)]).collect();
        assert!(all.is_sorted());
        assert!(all[0].addr().0 >= spec.dram.capacity && all[7].addr().0 < spec.pmem.base);
    }
}
