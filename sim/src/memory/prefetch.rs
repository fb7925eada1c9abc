//! What a core fetches unasked.
//!
//! `next-line` and `stride` are much simpler than any real one: triggered by demand misses of the L2 only, one line ahead, in the
//! core's L2 at once. [`Streamer`] is that of Intel's L2.

use daxsim_configs::machine::{CachesSpec, Prefetch};
use daxsim_types::CacheLine;

use super::streamer::Streamer;

/// Lines of a 4 KiB page, which no prefetch leaves: the next frame may be anything.
const PAGE_LINES: u64 = 64;
/// Pages whose strides a core follows.
const PAGES: usize = 16;

/// The prefetchers of all cores.
pub(super) struct Prefetcher {
    kind: Prefetch,
    /// `PAGES` for each core, by the low bits of the frame number.
    pages: Vec<Page>,
    /// One for each core, if there are any.
    streamers: Vec<Streamer>,
}

/// The misses of a page.
#[derive(Clone, Copy)]
struct Page {
    frame: u64,
    last: u64,
    stride: i64,
}

/// No page.
const NONE: Page = Page { frame: u64::MAX, last: 0, stride: 0 };

impl Prefetcher {
    pub fn new(spec: &CachesSpec, cores: usize) -> Self {
        let kind = spec.prefetch;
        let streamers = if kind == Prefetch::Streamer { cores } else { 0 };
        let pages = if kind == Prefetch::Stride { PAGES * cores } else { 0 };
        let streamers = (0..streamers).map(|_| Streamer::new(spec)).collect();
        Self { kind, pages: vec![NONE; pages], streamers }
    }

    /// Whether there is one.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.kind != Prefetch::Off
    }

    /// The streamer of a core, if it has one.
    #[inline]
    pub fn streamer(&mut self, core: usize) -> Option<&mut Streamer> {
        self.streamers.get_mut(core)
    }

    /// The line to fetch after a miss of the L2.
    pub fn after_miss(&mut self, core: usize, line: CacheLine) -> Option<CacheLine> {
        let step = match self.kind {
            Prefetch::Off | Prefetch::Streamer => 0,
            Prefetch::NextLine => 1,
            Prefetch::Stride => self.stride(core, line),
        };
        let next = line.0.checked_add_signed(step)?;
        (step != 0 && next / PAGE_LINES == line.0 / PAGE_LINES).then_some(CacheLine(next))
    }

    /// The distance of this miss from the last one in its page, if that was the distance before, too.
    fn stride(&mut self, core: usize, line: CacheLine) -> i64 {
        let frame = line.0 / PAGE_LINES;
        let page = &mut self.pages[core * PAGES + (frame % PAGES as u64) as usize];
        if page.frame != frame {
            *page = Page { frame, last: line.0, stride: 0 };
            return 0;
        }
        let stride = line.0 as i64 - page.last as i64;
        let confirmed = stride == page.stride;
        // A prefetched line does not miss: the next miss is two strides on.
        let same = confirmed || (page.stride != 0 && stride == 2 * page.stride);
        (page.last, page.stride) = (line.0, if same { page.stride } else { stride });
        if same { page.stride } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetcher(kind: Prefetch, cores: usize) -> Prefetcher {
        let caches = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().cache;
        Prefetcher::new(&CachesSpec { prefetch: kind, ..caches }, cores)
    }

    fn after(p: &mut Prefetcher, lines: &[u64]) -> Vec<Option<u64>> {
        lines.iter().map(|&n| p.after_miss(0, CacheLine(n)).map(|line| line.0)).collect()
    }

    #[test]
    fn nothing_leaves_its_page() {
        let mut p = prefetcher(Prefetch::NextLine, 1);
        assert_eq!(after(&mut p, &[0, 62, 63, 64]), [Some(1), Some(63), None, Some(65)]);
        let mut p = prefetcher(Prefetch::Stride, 1);
        assert_eq!(after(&mut p, &[10, 30, 50]), [None, None, None], "70 is in the next page");
        assert_eq!(after(&mut prefetcher(Prefetch::Off, 1), &[0, 1, 2]), [None; 3]);
    }

    #[test]
    fn a_stride_is_followed_once_it_came_twice() {
        let mut p = prefetcher(Prefetch::Stride, 2);
        assert_eq!(after(&mut p, &[4, 7, 10]), [None, None, Some(13)]);
        assert_eq!(after(&mut p, &[16]), [Some(19)], "13 was there");
        assert_eq!(after(&mut p, &[15, 14, 13]), [None, Some(13), Some(12)], "down as well as up");
        assert_eq!(p.after_miss(1, CacheLine(19)), None, "each core for itself");
    }
}
