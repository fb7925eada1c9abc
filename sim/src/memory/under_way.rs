//! Lines on their way between caches: the home of a line serves the requests for it one after another.
//!
//! A request that makes a line somebody else's is under way until the line is there. The next one for it begins only then: the cache
//! that has it cannot give it up before it has it. So a counter that N cores increment takes N transfers, one behind another,
//! however close together the cores asked. Readers of a line that nobody changes are served side by side, once it has arrived.
//!
//! Simplified: who gets a line keeps it for no longer than the one access that it asked for, as if the next request had been
//! waiting at the home all the time; requests are served in the order in which they were made.

use daxsim_types::{CacheLine, Time};

/// Lines that can be under way in one set.
const WAYS: usize = 8;
const SETS: usize = 256;
/// No line: none has this address.
const NONE: CacheLine = CacheLine(u64::MAX);

/// The lines whose present transfer may not be over.
///
/// A table of fixed size: a transfer that is over tells nothing, so that its place can be had. A line is forgotten too soon only if
/// nine of one set are under way at a time.
#[derive(Debug)]
pub(super) struct LinesUnderWay(Vec<(CacheLine, Time)>);

impl Default for LinesUnderWay {
    fn default() -> Self {
        Self(vec![(NONE, Time::ZERO); WAYS * SETS])
    }
}

impl LinesUnderWay {
    #[inline]
    fn set(line: CacheLine) -> std::ops::Range<usize> {
        // The high bits of a product with 2^64 / golden ratio.
        let at = (line.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize * WAYS;
        at..at + WAYS
    }

    /// How long a request of `now` waits for the present transfer of `line`.
    #[inline]
    pub fn wait(&self, line: CacheLine, now: Time) -> Time {
        let set = &self.0[Self::set(line)];
        set.iter().find(|(held, _)| *held == line).map_or(Time::ZERO, |(_, until)| until.saturating_sub(now))
    }

    /// Notes that `line` is under way until `until`, from a request of `now` on.
    #[inline]
    pub fn begin(&mut self, line: CacheLine, now: Time, until: Time) {
        let set = &mut self.0[Self::set(line)];
        let at = match set.iter().position(|(held, _)| *held == line) {
            Some(at) => at,
            None => set.iter().position(|(_, end)| *end <= now).unwrap_or_else(|| earliest(set)),
        };
        set[at] = (line, until);
    }
}

/// The one of a set that arrives first.
#[cold]
fn earliest(set: &[(CacheLine, Time)]) -> usize {
    set.iter().enumerate().min_by_key(|(at, (_, end))| (*end, *at)).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_more_lines_than_a_set_holds_the_first_to_arrive_is_forgotten() {
        let mut lines = LinesUnderWay::default();
        let set = LinesUnderWay::set(CacheLine(0));
        let same: Vec<CacheLine> =
            (0..).map(CacheLine).filter(|line| LinesUnderWay::set(*line) == set).take(WAYS + 1).collect();
        for (at, line) in same.iter().enumerate() {
            lines.begin(*line, Time(0), Time(100 + at as u64));
        }
        let waits: Vec<u64> = same.iter().map(|line| lines.wait(*line, Time(90)).0).collect();
        assert_eq!(waits, [0, 11, 12, 13, 14, 15, 16, 17, 18]);
    }

    proptest! {
        #[test]
        fn it_is_a_map_from_lines_to_arrivals(
            ops in prop::collection::vec((0u64..1 << 40, 0u64..6, 1u64..50), 0..400),
        ) {
            let (mut lines, mut map) = (LinesUnderWay::default(), BTreeMap::new());
            let mut now = 0;
            // So few lines at a time that no set overflows.
            for (high, low, step) in ops {
                now += step;
                let line = CacheLine(if step % 2 == 0 { low } else { high });
                let until: u64 = map.get(&line).copied().unwrap_or(0);
                prop_assert_eq!(lines.wait(line, Time(now)), Time(until.saturating_sub(now)));
                let end = now.max(until) + 40;
                lines.begin(line, Time(now), Time(end));
                map.insert(line, end);
            }
        }
    }
}
