//! One TLB array: set-associative, fully associative or skewed, for several page sizes and PCIDs.
//!
//! What an entry is found by: page number, page size and PCID, all exactly; an entry of a global page is found under every PCID
//! (Intel SDM vol. 3, 4.10.2.2 and 4.10.2.4). The set is picked by the number of the page of the entry's own size (`place`),
//! the victim by one of several policies (`policy`); an empty slot is always taken first, that of the lowest way.
//!
//! An entry stays in its slot. Tags are apart from entries, so that a set is compared without a branch for each way.

mod drop;
mod entry;
mod place;
mod policy;

use daxsim_configs::machine::TlbSpec;
use daxsim_types::{PageSize, VirtAddr};

pub use entry::{PteLine, TlbEntry, TlbStats};
pub(super) use place::Spot;
use place::{COALESCED, Place};
use policy::Policy;

use crate::host;

/// Tag of an empty slot: no global page's tag has a PCID.
const EMPTY: u64 = u64::MAX;
/// Tags of a line of the host's caches.
const HOST_LINE: usize = 8;
/// Marks the tag of a global page.
const GLOBAL: u64 = 1 << 18;
/// The bits of a tag that say the kind of page.
const KIND: u64 = 3;
/// Where the page number stands in a tag.
const PAGE_SHIFT: u32 = 19;

/// What an entry is found by. Exact: 45 bits of page number, as a canonical address of 5-level paging (others never reach a TLB)
/// is known by its low 57 bits; 16 of PCID; 2 of the kind of page.
#[inline]
const fn tag(kind: usize, number: u64, pcid: u16) -> u64 {
    (number << PAGE_SHIFT) | ((pcid as u64) << 2) | kind as u64
}

/// [`tag`] of a global page, without a PCID.
#[inline]
const fn global_tag(kind: usize, number: u64) -> u64 {
    tag(kind, number, 0) | GLOBAL
}

/// The kind of page of a tag.
#[inline]
const fn kind_of(tag: u64) -> usize {
    (tag & KIND) as usize
}

/// Where an entry goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    spot: Spot,
    tag: u64,
    /// The slot has an entry for the same page.
    same: bool,
}

impl Room {
    pub const fn spot(&self) -> Spot {
        self.spot
    }
}

/// A page that was pushed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    kind: usize,
    number: u64,
}

impl Gone {
    /// The low 45 bits of its number, if it is a single 4 KiB page.
    #[inline]
    pub const fn small_page(self) -> Option<u64> {
        if self.kind == 0 { Some(self.number) } else { None }
    }
}

/// The way of the tag among `N`, compared without branches.
#[inline]
fn way_among<const N: usize>(set: &[u64], tag: u64) -> Option<usize> {
    let set = set.first_chunk::<N>()?;
    let mut found = N;
    for (way, t) in set.iter().enumerate() {
        found = if *t == tag { way } else { found };
    }
    (found < N).then_some(found)
}

/// The way of the tag among any number, eight at a time.
fn way_among_many(set: &[u64], tag: u64) -> Option<usize> {
    let (chunks, rest) = set.as_chunks::<8>();
    let at = chunks.iter().position(|chunk| chunk.iter().fold(false, |any, &t| any | (t == tag)));
    match at {
        Some(at) => way_among::<8>(&chunks[at], tag).map(|way| 8 * at + way),
        None => rest.iter().position(|&t| t == tag).map(|way| 8 * chunks.len() + way),
    }
}

/// One array.
#[derive(Clone, Debug)]
pub struct TlbArray {
    /// `ways` tags a row.
    tags: Vec<u64>,
    /// Parallel to `tags`.
    entries: Vec<TlbEntry>,
    place: Place,
    policy: Policy,
    /// log2 of the bytes that an entry of each kind holds.
    shifts: [u32; 4],
    /// Live entries by kind.
    live: [u32; 4],
    /// Live entries of global pages.
    globals: u32,
    /// Live entries that are pieces of a larger page.
    fragments: u32,
    /// The PCID of every entry since the array was last empty, if they had one and none was global.
    owner: Option<u16>,
    stats: TlbStats,
}

impl TlbArray {
    /// An empty array of the geometry in `spec`, whose random choices start from 0.
    #[must_use]
    pub fn new(spec: &TlbSpec) -> Self {
        Self::seeded(spec, 0)
    }

    /// The same, with random choices that start from `seed`.
    #[must_use]
    pub fn seeded(spec: &TlbSpec, seed: u64) -> Self {
        let entries = spec.entries as usize;
        let place = Place::new(spec);
        let plain = place.plain;
        let [small, large, giant] = PageSize::ALL.map(PageSize::shift);
        Self {
            tags: vec![EMPTY; entries],
            entries: vec![TlbEntry::NOTHING; entries],
            place,
            policy: Policy::new(spec, plain, seed),
            shifts: [small, large, giant, small + spec.coalesce.trailing_zeros()],
            live: [0; 4],
            globals: 0,
            fragments: 0,
            owner: None,
            stats: TlbStats::default(),
        }
    }

    /// log2 of the 4 KiB pages that a coalesced entry holds; 0 if there are none.
    #[must_use]
    pub const fn span(&self) -> u8 {
        (self.shifts[COALESCED] - self.shifts[0]) as u8
    }

    /// Kind of an entry, and the number that it is found by.
    #[inline]
    const fn key(&self, e: &TlbEntry) -> (usize, u64) {
        let kind = if e.span > 0 { COALESCED } else { e.size as usize };
        (kind, e.page >> e.span)
    }

    #[inline]
    pub(super) const fn index(&self, spot: Spot) -> usize {
        spot.row as usize * self.place.ways + spot.way as usize
    }

    /// The way of `tag` in a row.
    #[inline]
    fn way_of(&self, row: usize, tag: u64) -> Option<usize> {
        let ways = self.place.ways;
        let set = &self.tags[row * ways..][..ways];
        match ways {
            4 => way_among::<4>(set, tag),
            6 => way_among::<6>(set, tag),
            8 => way_among::<8>(set, tag),
            12 => way_among::<12>(set, tag),
            16 => way_among::<16>(set, tag),
            _ => way_among_many(set, tag),
        }
    }

    /// The slot with exactly this tag.
    #[inline]
    fn seek(&self, kind: usize, number: u64, tag: u64) -> Option<Spot> {
        if self.place.plain {
            let row = self.place.row(number);
            self.way_of(row, tag).map(|way| Spot { row: row as u32, way: way as u32 })
        } else {
            self.place.candidates(kind, number).find(|spot| self.tags[self.index(*spot)] == tag)
        }
    }

    /// The slot of the entry that serves a page under `pcid`.
    #[inline]
    fn find(&self, kind: usize, number: u64, pcid: u16) -> Option<Spot> {
        if self.live[kind] == 0 {
            return None;
        }
        let at = self.seek(kind, number, tag(kind, number, pcid));
        if at.is_none() && self.globals > 0 {
            return self.seek(kind, number, global_tag(kind, number));
        }
        at
    }

    /// The slot of the entry that serves `va`, looked for as a 4 KiB page, a coalesced one, and then by growing size.
    #[inline(always)]
    pub(super) fn find_any(&self, va: VirtAddr, pcid: u16) -> Option<Spot> {
        let [small, others @ ..] = self.live;
        if others == [0; 3] {
            // Most arrays hold one kind of page, or none.
            return if small == 0 { None } else { self.find(0, va.0 >> self.shifts[0], pcid) };
        }
        self.find_any_live(va, pcid)
    }

    #[inline(never)]
    fn find_any_live(&self, va: VirtAddr, pcid: u16) -> Option<Spot> {
        for kind in [0, COALESCED, 1, 2] {
            if self.live[kind] > 0 {
                let found = self.find(kind, va.0 >> self.shifts[kind], pcid);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// [`Self::find`] for a page of one size, alone or in a coalesced entry.
    #[inline]
    fn find_page(&self, page: u64, size: PageSize, pcid: u16) -> Option<Spot> {
        let found = self.find(size as usize, page, pcid);
        if found.is_none() && size == PageSize::Size4K {
            return self.find(COALESCED, page >> self.span(), pcid);
        }
        found
    }

    /// Asks the host for the tags of the row where the 4 KiB page of `va` is.
    #[inline]
    pub(super) fn warm(&self, va: VirtAddr) {
        let first = self.place.row(va.0 >> self.shifts[0]) * self.place.ways;
        if let Some(tags) = self.tags.get(first..first + self.place.ways) {
            tags.iter().step_by(HOST_LINE).chain(tags.last()).for_each(host::prefetch);
        }
    }

    /// What is in a slot that was found.
    #[inline]
    pub(super) fn at(&self, spot: Spot) -> &TlbEntry {
        &self.entries[self.index(spot)]
    }

    /// Notes a hit in a slot that was found.
    #[inline]
    pub(super) fn used(&mut self, spot: Spot) {
        let i = self.index(spot);
        self.policy.used(spot, i);
    }

    /// The same, where the index of the slot is known.
    #[inline(always)]
    pub(super) fn used_at(&mut self, spot: Spot, index: usize) {
        self.policy.used(spot, index);
    }

    /// The entry that serves `va`, noted as a hit but not counted.
    #[inline]
    pub fn touch_any(&mut self, va: VirtAddr, pcid: u16) -> Option<TlbEntry> {
        let spot = self.find_any(va, pcid)?;
        self.used(spot);
        Some(*self.at(spot))
    }

    /// The entry that serves `page` of `size` under `pcid`, noted as a hit. Counts one lookup.
    pub fn lookup(&mut self, page: u64, size: PageSize, pcid: u16) -> Option<TlbEntry> {
        let found = self.find_page(page, size, pcid);
        self.count(found.is_some());
        let spot = found?;
        self.used(spot);
        Some(*self.at(spot))
    }

    /// Counts a lookup made by [`Self::touch_any`].
    #[inline]
    pub const fn count(&mut self, hit: bool) {
        self.stats.lookups += 1;
        self.stats.hits += hit as u64;
        self.stats.misses += !hit as u64;
    }

    /// The entry that [`Self::lookup`] would find, neither counted nor noted.
    #[must_use]
    pub fn probe(&self, page: u64, size: PageSize, pcid: u16) -> Option<&TlbEntry> {
        self.find_page(page, size, pcid).map(|spot| self.at(spot))
    }

    /// The row that the number of `e` picks.
    pub(super) const fn row_of(&self, e: &TlbEntry) -> usize {
        self.place.row(self.key(e).1)
    }

    /// Whether the array has an entry for exactly what `e` holds.
    pub(super) fn has(&self, e: &TlbEntry) -> bool {
        self.slot_of(e).is_some()
    }

    /// Whether `e` would find an empty slot.
    pub(super) fn has_room(&self, e: &TlbEntry) -> bool {
        let (kind, number) = self.key(e);
        self.place.candidates(kind, number).any(|spot| self.tags[self.index(spot)] == EMPTY)
    }

    fn tag_of(&self, e: &TlbEntry) -> u64 {
        let (kind, number) = self.key(e);
        if e.global { global_tag(kind, number) } else { tag(kind, number, e.pcid) }
    }

    fn slot_of(&self, e: &TlbEntry) -> Option<Spot> {
        let (kind, number) = self.key(e);
        if self.live[kind] == 0 { None } else { self.seek(kind, number, self.tag_of(e)) }
    }

    /// Puts `entry` in, in place of the entry for the same page if there is one, else in an empty slot, else in place of the
    /// victim, which is returned.
    pub fn insert(&mut self, entry: TlbEntry) -> Option<TlbEntry> {
        let room = self.room_for(&entry);
        let old = self.entries[self.index(room.spot)];
        self.put(room, &entry).map(|_| old)
    }

    /// Where `entry` goes.
    #[inline]
    pub(super) fn room_for(&mut self, entry: &TlbEntry) -> Room {
        let (kind, number) = self.key(entry);
        let tag = self.tag_of(entry);
        let same = if self.live[kind] == 0 { None } else { self.seek(kind, number, tag) };
        match same {
            Some(spot) => Room { spot, tag, same: true },
            None => Room { spot: self.make_room(kind, number), tag, same: false },
        }
    }

    /// Puts `entry` where it goes; which page was pushed out.
    #[inline]
    pub(super) fn put(&mut self, room: Room, entry: &TlbEntry) -> Option<Gone> {
        let Room { spot, tag, same } = room;
        let i = self.index(spot);
        let old = self.tags[i];
        let evicted = !same && old != EMPTY;
        self.stats.fills += 1;
        self.stats.replaced += u64::from(same);
        self.stats.evictions += u64::from(evicted);
        // Most entries take the place of one of their own kind.
        let alike = old != EMPTY && (old ^ tag) & (GLOBAL | KIND) == 0 && self.fragments == 0;
        if !alike || self.owner != Some(entry.pcid) || entry.global || entry.origin != entry.size {
            self.recount(i, tag, entry);
        }
        self.tags[i] = tag;
        self.entries[i] = *entry;
        self.policy.filled(spot, i);
        evicted.then_some(Gone { kind: kind_of(old), number: old >> PAGE_SHIFT })
    }

    /// Counts what is in slot `i` out, and `entry` in.
    fn recount(&mut self, i: usize, tag: u64, entry: &TlbEntry) {
        if self.tags[i] != EMPTY {
            self.forget(i);
        }
        if self.is_empty() {
            self.owner = (!entry.global).then_some(entry.pcid);
        } else if entry.global || self.owner != Some(entry.pcid) {
            self.owner = None;
        }
        self.live[kind_of(tag)] += 1;
        self.globals += u32::from(entry.global);
        self.fragments += u32::from(entry.origin != entry.size);
    }

    /// The slot that makes room for a page.
    #[inline]
    fn make_room(&mut self, kind: usize, number: u64) -> Spot {
        if !self.place.plain {
            return self.make_room_among(kind, number);
        }
        let row = self.place.row(number);
        let way = self.policy.last(row).unwrap_or_else(|| self.make_room_in(row));
        Spot { row: row as u32, way: way as u32 }
    }

    /// The way of a row that makes room where no order is kept.
    fn make_room_in(&mut self, row: usize) -> usize {
        let ways = self.place.ways;
        let set = &self.tags[row * ways..][..ways];
        let empty = if self.len() < self.tags.len() { set.iter().position(|t| *t == EMPTY) } else { None };
        empty.unwrap_or_else(|| self.policy.victim(row, ways))
    }

    #[inline(never)]
    fn make_room_among(&mut self, kind: usize, number: u64) -> Spot {
        let spots: Vec<Spot> = self.place.candidates(kind, number).collect();
        if let Some(empty) = spots.iter().find(|spot| self.tags[self.index(**spot)] == EMPTY) {
            return *empty;
        }
        let ways = self.place.ways;
        let indices = spots.iter().map(|spot| spot.row as usize * ways + spot.way as usize);
        spots[self.policy.victim_among(indices, spots.len())]
    }

    /// Takes `entries[i]` out of the counts of live entries.
    #[inline]
    fn forget(&mut self, i: usize) {
        let tag = self.tags[i];
        self.live[kind_of(tag)] -= 1;
        self.globals -= u32::from(tag & GLOBAL != 0);
        if self.fragments > 0 {
            let e = &self.entries[i];
            self.fragments -= u32::from(e.origin != e.size);
        }
    }

    /// Every live entry, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &TlbEntry> {
        self.tags.iter().zip(&self.entries).filter(|(tag, _)| **tag != EMPTY).map(|(_, e)| e)
    }

    /// Live entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.live[0] + self.live[1] + self.live[2] + self.live[3]) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts since the array was made.
    #[must_use]
    pub const fn stats(&self) -> TlbStats {
        self.stats
    }
}
