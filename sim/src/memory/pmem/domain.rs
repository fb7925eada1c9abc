//! What the persistence domain does not have yet: lines that a cache holds modified, and writes on their way to a queue.
//!
//! The queue of a controller is in the domain (ADR), the caches are not. Nothing here takes simulated time, and nothing is
//! asked at a store that finds its line modified already.

use std::collections::BTreeMap;

use daxsim_types::{CacheLine, PageSize, Pfn, Time};

use crate::memory::directory::CoreSet;

/// Pages of a chunk of the table, 2 MiB.
const CHUNK: usize = 512;
/// Writes on their way that are kept before those accepted are looked for.
const LEAST_KEPT: usize = 1024;

/// What a watch that was kept is known by to whoever keeps it.
pub type Tag = u32;

/// Lines of one page, as a mask: bit n is the n-th line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLines {
    /// The page.
    pub frame: Pfn,
    /// Its lines.
    pub lines: u64,
}

/// Lines that would be lost, of one page and for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaccepted {
    /// Which lines.
    pub of: PageLines,
    /// Whether they have left the caches, but were not accepted.
    pub in_flight: bool,
    /// The kept watch that they belong to.
    pub kept: Option<Tag>,
}

/// The lines that are not in the persistence domain.
pub(in crate::memory) struct Domain {
    first: u64,
    chunks: Vec<Option<Box<Chunk>>>,
    in_flight: Vec<InFlight>,
    /// Length of `in_flight` at which it is pruned next.
    prune_at: usize,
    watches: Vec<Watch>,
    kept: BTreeMap<u64, Vec<(u64, Tag)>>,
}

/// Modified lines of 512 pages.
struct Chunk {
    modified: [u64; CHUNK],
    /// Lines that ever were, or that were written past the caches.
    written: [u64; CHUNK],
    /// Pages with any.
    pages: u32,
}

/// A write that was sent.
struct InFlight {
    page: u64,
    line: u64,
    accepted: Time,
    /// Cores whose watch saw the line before it was sent.
    watchers: CoreSet,
    kept: Option<Tag>,
}

/// Lines that were not in the domain when the watch began, and have not been sent there since.
struct Watch {
    core: usize,
    /// Page and lines, ascending.
    pages: Vec<(u64, u64)>,
    /// Where the last line was found: write-back goes page by page.
    hint: usize,
}

impl Watch {
    /// Takes a line out; whether it was there.
    fn take(&mut self, page: u64, line: u64) -> bool {
        let known = self.pages.get(self.hint).is_some_and(|(at, _)| *at == page);
        if !known {
            let Ok(at) = self.pages.binary_search_by_key(&page, |(at, _)| *at) else { return false };
            self.hint = at;
        }
        let lines = &mut self.pages[self.hint].1;
        let found = *lines & line != 0;
        *lines &= !line;
        found
    }
}

/// Page and line bit of a line.
const fn locate(line: CacheLine) -> (u64, u64) {
    (line.0 / 64, 1 << (line.0 % 64))
}

impl Domain {
    /// For a device that begins at byte `base`.
    pub fn new(base: u64) -> Self {
        Self {
            first: base / PageSize::Size4K.bytes(),
            chunks: Vec::new(),
            in_flight: Vec::new(),
            prune_at: LEAST_KEPT,
            watches: Vec::new(),
            kept: BTreeMap::new(),
        }
    }

    #[inline]
    fn slot(&self, page: u64) -> (usize, usize) {
        let at = page.wrapping_sub(self.first) as usize;
        (at / CHUNK, at % CHUNK)
    }

    /// A cache now holds `line`, which must be of the device, modified.
    #[inline]
    pub fn modified(&mut self, line: CacheLine) {
        let (page, bit) = locate(line);
        let (chunk, slot) = self.slot(page);
        if let Some(Some(chunk)) = self.chunks.get_mut(chunk) {
            chunk.pages += u32::from(chunk.modified[slot] == 0);
            chunk.modified[slot] |= bit;
            chunk.written[slot] |= bit;
        } else {
            let new = self.first_of_chunk(chunk);
            new.pages = 1;
            new.modified[slot] = bit;
            new.written[slot] = bit;
        }
    }

    #[cold]
    fn first_of_chunk(&mut self, chunk: usize) -> &mut Chunk {
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        self.chunks[chunk].insert(Box::new(Chunk { modified: [0; CHUNK], written: [0; CHUNK], pages: 0 }))
    }

    /// `line` was sent to its queue at `sent`, and no cache holds it modified any more; the queue has it from `accepted` on.
    #[inline]
    pub fn sent(&mut self, line: CacheLine, sent: Time, accepted: Time) {
        let (page, bit) = locate(line);
        let (chunk, slot) = self.slot(page);
        match self.chunks.get_mut(chunk) {
            Some(Some(chunk)) => {
                if chunk.modified[slot] & bit != 0 {
                    chunk.modified[slot] &= !bit;
                    chunk.pages -= u32::from(chunk.modified[slot] == 0);
                }
                chunk.written[slot] |= bit;
            }
            _ => self.first_of_chunk(chunk).written[slot] = bit,
        }
        let (mut watchers, mut kept) = (CoreSet::default(), None);
        if !(self.watches.is_empty() && self.kept.is_empty()) {
            (watchers, kept) = self.take_watched(page, bit);
        }
        self.in_flight.push(InFlight { page, line: bit, accepted, watchers, kept });
        if self.in_flight.len() >= self.prune_at {
            self.prune(sent);
        }
    }

    /// Forgets the writes that were accepted by `now`: nothing will be judged earlier.
    fn prune(&mut self, now: Time) {
        self.in_flight.retain(|write| write.accepted > now);
        self.prune_at = (2 * self.in_flight.len()).max(LEAST_KEPT);
    }

    /// Takes a line out of every watch.
    fn take_watched(&mut self, page: u64, bit: u64) -> (CoreSet, Option<Tag>) {
        let mut watchers = CoreSet::default();
        for watch in &mut self.watches {
            if watch.take(page, bit) {
                watchers = watchers.with(watch.core);
            }
        }
        let mut tag = None;
        if let Some(kept) = self.kept.get_mut(&page) {
            for (lines, of) in kept.iter_mut().filter(|(lines, _)| lines & bit != 0) {
                *lines &= !bit;
                tag = Some(*of);
            }
            kept.retain(|(lines, _)| *lines != 0);
            if kept.is_empty() {
                self.kept.remove(&page);
            }
        }
        (watchers, tag)
    }

    /// The lines of a page that a cache holds modified.
    pub fn modified_lines(&self, frame: Pfn) -> u64 {
        let (chunk, slot) = self.slot(frame.0);
        self.chunks.get(chunk).and_then(Option::as_ref).map_or(0, |chunk| chunk.modified[slot])
    }

    /// The pages of `pages` pages from `first` that have modified lines, ascending.
    pub fn modified_pages(&self, first: Pfn, pages: u64) -> Vec<PageLines> {
        let mut found = Vec::new();
        let (mut page, end) = (first.0.max(self.first), first.0.saturating_add(pages));
        while page < end {
            let (chunk, slot) = self.slot(page);
            if chunk >= self.chunks.len() {
                break;
            }
            let run = ((CHUNK - slot) as u64).min(end - page);
            if let Some(chunk) = self.chunks[chunk].as_ref().filter(|chunk| chunk.pages > 0) {
                let masks = chunk.modified[slot..slot + run as usize].iter().zip(page..);
                let modified = masks.filter(|(lines, _)| **lines != 0);
                found.extend(modified.map(|(lines, at)| PageLines { frame: Pfn(at), lines: *lines }));
            }
            page += run;
        }
        found
    }

    /// Every line that was written, by page, ascending.
    pub fn written_pages(&self) -> Vec<PageLines> {
        let chunks = self.chunks.iter().zip((self.first..).step_by(CHUNK));
        let pages = chunks.filter_map(|(chunk, first)| Some((chunk.as_ref()?, first)));
        pages
            .flat_map(|(chunk, first)| chunk.written.iter().zip(first..))
            .filter(|(lines, _)| **lines != 0)
            .map(|(lines, at)| PageLines { frame: Pfn(at), lines: *lines })
            .collect()
    }

    /// Watches, for `core`, what is not in the domain at `now` of the runs of pages `runs`: (first frame, pages).
    pub fn watch(&mut self, core: usize, runs: &[(Pfn, u64)], now: Time) {
        self.watches.retain(|watch| watch.core != core);
        let modified = runs.iter().flat_map(|(first, pages)| self.modified_pages(*first, *pages));
        let mut pages: Vec<(u64, u64)> = modified.map(|page| (page.frame.0, page.lines)).collect();
        pages.sort_unstable();
        self.watches.push(Watch { core, pages, hint: 0 });
        self.prune(now);
        for write in &mut self.in_flight {
            if runs.iter().any(|(first, pages)| write.page.wrapping_sub(first.0) < *pages) {
                write.watchers = write.watchers.with(core);
            }
        }
    }

    /// Ends the watch of `core` at `now`. With a tag, what of it is still not in the domain is kept until it gets there;
    /// returns whether that is anything new.
    pub fn end_watch(&mut self, core: usize, now: Time, keep: Option<Tag>) -> bool {
        let Some(at) = self.watches.iter().position(|watch| watch.core == core) else { return false };
        let watch = self.watches.swap_remove(at);
        let mut any = false;
        if let Some(tag) = keep {
            for (page, lines) in watch.pages.into_iter().filter(|(_, lines)| *lines != 0) {
                let kept = self.kept.entry(page).or_default();
                let new = kept.iter().fold(lines, |new, (known, _)| new & !known);
                if new != 0 {
                    kept.push((new, tag));
                    any = true;
                }
            }
        }
        self.prune(now);
        for write in &mut self.in_flight {
            let watched = write.watchers.without(core) != write.watchers;
            if watched && keep.is_some() && write.kept.is_none() {
                write.kept = keep;
                any = true;
            }
            write.watchers = write.watchers.without(core);
        }
        any
    }

    /// Everything that is not in the domain at `now`, in the order of the frames.
    pub fn unaccepted(&self, now: Time) -> Vec<Unaccepted> {
        let mut found = Vec::new();
        let all = self.modified_pages(Pfn(self.first), (self.chunks.len() * CHUNK) as u64);
        for page in all {
            let mut rest = page.lines;
            for (lines, tag) in self.kept.get(&page.frame.0).into_iter().flatten() {
                rest &= !lines;
                let of = PageLines { lines: *lines, ..page };
                found.push(Unaccepted { of, in_flight: false, kept: Some(*tag) });
            }
            if rest != 0 {
                let of = PageLines { lines: rest, ..page };
                found.push(Unaccepted { of, in_flight: false, kept: None });
            }
        }
        let mut writes: BTreeMap<(u64, Option<Tag>), u64> = BTreeMap::new();
        for write in self.in_flight.iter().filter(|write| write.accepted > now) {
            *writes.entry((write.page, write.kept)).or_default() |= write.line;
        }
        found.extend(writes.into_iter().map(|((page, kept), lines)| Unaccepted {
            of: PageLines { frame: Pfn(page), lines },
            in_flight: true,
            kept,
        }));
        found.sort_by_key(|lines| lines.of.frame.0);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u64 = 1 << 18;

    fn domain() -> Domain {
        Domain::new(FIRST << 12)
    }

    const fn line(page: u64, n: u64) -> CacheLine {
        CacheLine((FIRST + page) * 64 + n)
    }

    fn pages(domain: &Domain) -> Vec<(u64, u64)> {
        let all = domain.modified_pages(Pfn(FIRST), 1 << 20);
        all.into_iter().map(|page| (page.frame.0 - FIRST, page.lines)).collect()
    }

    #[test]
    fn a_line_is_out_of_the_domain_from_its_first_store_until_it_is_accepted() {
        let mut d = domain();
        d.modified(line(3, 0));
        d.modified(line(3, 0));
        d.modified(line(1000, 63));
        assert_eq!(pages(&d), [(3, 1), (1000, 1 << 63)]);
        assert_eq!(d.modified_pages(Pfn(FIRST + 4), 100), []);
        d.sent(line(3, 0), Time(10), Time(50));
        assert_eq!(pages(&d), [(1000, 1 << 63)]);
        let at = |now| {
            d.unaccepted(Time(now)).iter().map(|u| (u.of.frame.0 - FIRST, u.in_flight)).collect::<Vec<_>>()
        };
        assert_eq!(at(49), [(3, true), (1000, false)]);
        assert_eq!(at(50), [(1000, false)]);
    }

    #[test]
    fn a_watch_keeps_what_was_never_sent_and_nothing_that_was_stored_later() {
        let mut d = domain();
        for n in 0..4 {
            d.modified(line(0, n));
        }
        d.watch(7, &[(Pfn(FIRST), 2)], Time(0));
        d.sent(line(0, 1), Time(1), Time(2));
        d.sent(line(0, 2), Time(1), Time(2));
        d.modified(line(0, 2));
        d.modified(line(1, 0));
        assert!(d.end_watch(7, Time(5), Some(9)));
        let kept: Vec<(u64, Option<Tag>)> =
            d.unaccepted(Time(5)).iter().map(|u| (u.of.lines, u.kept)).collect();
        assert_eq!(kept, [(0b1001, Some(9)), (0b0100, None), (1, None)]);
        // A later watch of the same lines has nothing new to keep; a line that is sent is kept no more.
        d.watch(7, &[(Pfn(FIRST), 1)], Time(6));
        d.sent(line(0, 2), Time(7), Time(8));
        assert!(!d.end_watch(7, Time(9), Some(10)));
        d.sent(line(0, 0), Time(10), Time(11));
        d.sent(line(0, 3), Time(10), Time(11));
        assert_eq!(d.unaccepted(Time(11)).iter().map(|u| u.kept).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn what_another_core_has_sent_is_kept_while_it_is_on_its_way() {
        let mut d = domain();
        d.modified(line(0, 0));
        d.modified(line(0, 1));
        d.sent(line(0, 0), Time(0), Time(100));
        d.watch(1, &[(Pfn(FIRST), 1)], Time(10));
        d.sent(line(0, 1), Time(20), Time(200));
        assert!(d.end_watch(1, Time(30), Some(4)));
        let kept = |now| d.unaccepted(Time(now)).iter().map(|u| (u.of.lines, u.kept)).collect::<Vec<_>>();
        assert_eq!(kept(30), [(0b11, Some(4))]);
        assert_eq!(kept(150), [(0b10, Some(4))]);
        assert_eq!(kept(200), []);
    }

    #[test]
    fn writes_accepted_long_ago_are_forgotten() {
        let mut d = domain();
        for n in 0..1_000_000 {
            d.sent(line(n % 4096, n % 64), Time(n), Time(n + 500));
        }
        assert!(d.in_flight.len() <= LEAST_KEPT + 500);
        assert_eq!(d.unaccepted(Time(1_000_000)).iter().map(|u| u.of.lines.count_ones()).sum::<u32>(), 499);
    }
}
