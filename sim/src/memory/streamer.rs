//! The streamer of an L2: what Intel's optimisation manual says of it ("Data prefetching", L2 streamer).
//!
//! It watches what the L1D asks the L2 for, line by line, loads and stores alike. Once two requests in a page follow each other
//! upwards or downwards, it fetches the lines to come: two for each request, up to `cache.prefetch_ahead` ahead, never beyond the
//! page, and only while `cache.superqueue` has room. It follows `cache.prefetch_streams` pages, one direction in each.
//!
//! Left out: that it fetches into the L3 alone when it is far ahead or the L2 has much under way.

use daxsim_configs::machine::CachesSpec;
use daxsim_types::{CacheLine, Time};

/// Lines of a 4 KiB page.
const PAGE_LINES: u64 = 64;
/// Lines fetched for a request.
const FOR_EACH: usize = 2;

/// The streamer of one core, and the lines on their way to its L2.
pub(super) struct Streamer {
    /// The one used last at the end.
    streams: Vec<Stream>,
    most: usize,
    ahead: i64,
    queue: Vec<(CacheLine, Time)>,
    places: usize,
}

/// Requests in a page, by line of the page.
#[derive(Clone, Copy)]
struct Stream {
    page: u64,
    /// The farthest request.
    front: i64,
    /// Up, down, or not known.
    direction: i64,
    /// What to fetch next.
    next: i64,
}

impl Streamer {
    /// One that has seen nothing.
    pub fn new(spec: &CachesSpec) -> Self {
        Self {
            streams: Vec::with_capacity(spec.prefetch_streams as usize),
            most: spec.prefetch_streams.max(1) as usize,
            ahead: i64::from(spec.prefetch_ahead),
            queue: Vec::new(),
            places: spec.superqueue.max(1) as usize,
        }
    }

    /// How long `line`, which the L2 has or will have, is still on its way at `now`.
    pub fn on_its_way(&mut self, line: CacheLine, now: Time) -> Time {
        self.settle(now);
        let there = self.queue.iter().find(|(other, _)| *other == line).map(|(_, there)| *there);
        there.unwrap_or(now).saturating_sub(now)
    }

    /// How long a miss of the L2 at `now` waits for a place in the queue.
    pub fn wait(&mut self, now: Time) -> Time {
        self.settle(now);
        if self.queue.len() < self.places {
            return Time::ZERO;
        }
        self.queue.iter().map(|(_, there)| *there).min().unwrap_or(now).saturating_sub(now)
    }

    /// A line is on its way until `there`.
    pub fn fly(&mut self, line: CacheLine, there: Time) {
        self.queue.push((line, there));
    }

    fn settle(&mut self, now: Time) {
        self.queue.retain(|(_, there)| *there > now);
    }

    /// The L1D asked for `line` at `now`: the lines to fetch.
    pub fn request(&mut self, line: CacheLine, now: Time) -> impl Iterator<Item = CacheLine> + use<> {
        self.settle(now);
        let room = self.places.saturating_sub(self.queue.len()).min(FOR_EACH);
        let ahead = self.ahead;
        let stream = self.follow(line);
        let mut found = [None; FOR_EACH];
        for place in found.iter_mut().take(room) {
            *place = stream.fetch(ahead);
        }
        found.into_iter().flatten()
    }

    /// The stream of the line's page, with this request.
    fn follow(&mut self, line: CacheLine) -> &mut Stream {
        let (page, at) = (line.0 / PAGE_LINES, (line.0 % PAGE_LINES) as i64);
        let known = self.streams.iter().position(|stream| stream.page == page);
        let stream = match known {
            Some(place) => {
                let mut stream = self.streams.remove(place);
                stream.ask(at);
                stream
            }
            None => Stream { page, front: at, direction: 0, next: at },
        };
        if self.streams.len() >= self.most {
            self.streams.remove(0);
        }
        self.streams.push(stream);
        let last = self.streams.len() - 1;
        &mut self.streams[last]
    }
}

impl Stream {
    fn ask(&mut self, at: i64) {
        let step = at - self.front;
        if self.direction == 0 {
            self.direction = step.signum();
            self.front = at;
            self.next = at + self.direction;
        } else if step * self.direction > 0 {
            self.front = at;
            if (self.next - at) * self.direction <= 0 {
                self.next = at + self.direction;
            }
        }
    }

    /// The next line to fetch, if it is not too far ahead and in the page.
    fn fetch(&mut self, ahead: i64) -> Option<CacheLine> {
        let next = self.next;
        let near = (next - self.front) * self.direction <= ahead;
        if self.direction == 0 || !near || !(0..PAGE_LINES as i64).contains(&next) {
            return None;
        }
        self.next += self.direction;
        Some(CacheLine(self.page * PAGE_LINES + next as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamer(ahead: i64, most: usize, places: usize) -> Streamer {
        Streamer { streams: Vec::new(), most, ahead, queue: Vec::new(), places }
    }

    fn asked(s: &mut Streamer, lines: &[u64]) -> Vec<Vec<u64>> {
        lines.iter().map(|n| s.request(CacheLine(*n), Time::ZERO).map(|line| line.0).collect()).collect()
    }

    #[test]
    fn a_stream_is_two_lines_further_ahead_with_each_request_until_it_is_far_enough() {
        let mut s = streamer(5, 32, 32);
        let none: Vec<u64> = vec![];
        assert_eq!(
            asked(&mut s, &[0, 1, 2, 3, 4]),
            [none.clone(), vec![2, 3], vec![4, 5], vec![6, 7], vec![8, 9]]
        );
        assert_eq!(asked(&mut s, &[5, 6, 7]), [vec![10], vec![11], vec![12]], "five ahead");
        assert_eq!(asked(&mut s, &[6]), [none], "a request that comes late changes nothing");
    }

    #[test]
    fn down_as_well_as_up_and_never_out_of_the_page() {
        let mut s = streamer(20, 32, 32);
        assert_eq!(asked(&mut s, &[67, 66, 65]), [vec![], vec![65, 64], vec![]]);
        assert_eq!(asked(&mut s, &[126, 127]), [vec![], Vec::<u64>::new()]);
    }

    #[test]
    fn the_page_used_longest_ago_is_forgotten() {
        let mut s = streamer(20, 2, 32);
        assert_eq!(asked(&mut s, &[0, 64, 1]), [vec![], vec![], vec![2, 3]]);
        assert_eq!(asked(&mut s, &[128, 65]), [vec![], Vec::<u64>::new()], "page 1 had to go");
    }

    #[test]
    fn what_is_under_way_takes_places() {
        let mut s = streamer(20, 32, 3);
        s.fly(CacheLine(900), Time(50));
        s.fly(CacheLine(901), Time(70));
        assert_eq!(asked(&mut s, &[0, 1]), [vec![], vec![2]]);
        s.fly(CacheLine(2), Time(90));
        assert_eq!(asked(&mut s, &[2]), [Vec::<u64>::new()]);
        assert_eq!((s.wait(Time(10)), s.on_its_way(CacheLine(2), Time(10))), (Time(40), Time(80)));
        assert_eq!((s.wait(Time(60)), s.on_its_way(CacheLine(2), Time(95))), (Time::ZERO, Time::ZERO));
    }
}
