//! What a kind of memory did over time, and how long its requests took. Looks on: nothing here changes a time.

use std::iter::Sum;

use daxsim_types::{LINE_BYTES, Time};
use hdrhistogram::Histogram;

/// Stretches of a timeline at most. When they do not reach, two at a time become one.
const STRETCHES: usize = 256;
/// Length of a stretch to begin with, as a power of two of picoseconds: about a microsecond.
const FIRST_SHIFT: u32 = 20;
/// Steps of a histogram from one power of two to the next, as a power of two.
const STEP_BITS: u32 = 3;
/// Significant digits of a histogram: more than the steps have.
const DIGITS: u8 = 3;

/// One kind of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceProfile {
    /// Reads, from the L3's miss until the data leave the controller.
    pub reads: Waits,
    /// Writes that a core sent itself, by CLWB and its like or past the caches, until the controller has accepted them.
    pub writes: Waits,
    /// Both over time.
    pub timeline: Timeline,
}

impl DeviceProfile {
    /// A read that arrived at `arrive`.
    #[inline]
    pub(super) fn read(&mut self, arrive: Time, latency: Time) {
        self.reads.record(latency);
        let stretch = self.timeline.at(arrive);
        stretch.reads += 1;
        stretch.read_time += latency;
    }

    /// A write that arrived at `arrive` and waited for `stall`.
    #[inline]
    pub(super) fn write(&mut self, arrive: Time, stall: Time) {
        let stretch = self.timeline.at(arrive);
        stretch.writes += 1;
        stretch.write_stall += stall;
    }
}

/// How often what time passed: exact below eight picoseconds, then eight steps for each power of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    counts: Vec<u64>,
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Time,
    /// The shortest, the longest.
    pub extremes: Option<(Time, Time)>,
}

impl Waits {
    /// Notes one.
    #[inline]
    pub(super) fn record(&mut self, time: Time) {
        let step = step_of(time.0);
        if step >= self.counts.len() {
            self.counts.resize(step + 1, 0);
        }
        self.counts[step] += 1;
        self.count += 1;
        self.sum += time;
        let (least, most) = self.extremes.unwrap_or((time, time));
        self.extremes = Some((least.min(time), most.max(time)));
    }

    /// As a histogram of picoseconds, each counted in the middle of its step.
    #[must_use]
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        let mut histogram = Histogram::new_with_max(self.extremes?.1.0.max(2), DIGITS).ok()?;
        for (step, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            histogram.saturating_record_n(middle_of(step).0, *count);
        }
        Some(histogram)
    }
}

/// The step that holds a value.
const fn step_of(value: u64) -> usize {
    if value >> STEP_BITS == 0 {
        return value as usize;
    }
    let power = value.ilog2();
    let within = (value >> (power - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    (((power - STEP_BITS + 1) << STEP_BITS) as u64 + within) as usize
}

/// The middle of a step.
const fn middle_of(step: usize) -> Time {
    let (power, within) = ((step >> STEP_BITS) as u32, step as u64 & ((1 << STEP_BITS) - 1));
    if power == 0 {
        return Time(within);
    }
    let first = ((1 << STEP_BITS) + within) << (power - 1);
    Time(first + (1 << (power - 1)) / 2)
}

/// Sums over stretches of simulated time, all of one length, by when something came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline<S = Stretch> {
    shift: u32,
    stretches: Vec<S>,
}

/// What arrived in a stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Lines read.
    pub reads: u64,
    /// Lines written.
    pub writes: u64,
    /// Time that these reads took, all together: over the length of the stretch it is how many were under way, on average.
    pub read_time: Time,
    /// Time that these writes waited for room in their queue.
    pub write_stall: Time,
}

impl<S> Default for Timeline<S> {
    fn default() -> Self {
        Self { shift: FIRST_SHIFT, stretches: Vec::new() }
    }
}

impl<S: Copy + Default + Sum> Timeline<S> {
    /// The stretch that a time is in.
    #[inline]
    pub(crate) fn at(&mut self, time: Time) -> &mut S {
        let mut place = (time.0 >> self.shift) as usize;
        if place >= self.stretches.len() {
            place = self.reach(time);
        }
        &mut self.stretches[place]
    }

    #[cold]
    fn reach(&mut self, time: Time) -> usize {
        while (time.0 >> self.shift) as usize >= STRETCHES {
            self.stretches = self.stretches.chunks(2).map(|two| two.iter().copied().sum()).collect();
            self.shift += 1;
        }
        let place = (time.0 >> self.shift) as usize;
        self.stretches.resize(self.stretches.len().max(place + 1), S::default());
        place
    }

    /// Length of a stretch.
    #[must_use]
    pub const fn length(&self) -> Time {
        Time(1 << self.shift)
    }

    /// The stretches from the start of the simulation to the last request.
    #[must_use]
    pub fn stretches(&self) -> &[S] {
        &self.stretches
    }
}

impl Sum for Stretch {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            reads: sum.reads + one.reads,
            writes: sum.writes + one.writes,
            read_time: sum.read_time + one.read_time,
            write_stall: sum.write_stall + one.write_stall,
        })
    }
}

impl Stretch {
    /// Bytes read.
    #[must_use]
    pub const fn bytes_read(&self) -> u64 {
        self.reads * LINE_BYTES
    }

    /// Bytes written.
    #[must_use]
    pub const fn bytes_written(&self) -> u64 {
        self.writes * LINE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_histogram_tells_a_wait_of_nanoseconds_from_one_of_microseconds() {
        let mut waits = Waits::default();
        assert!(waits.histogram().is_none());
        let times = [Time::ZERO, Time(34_259), Time(34_259), Time(68_000), Time(52_000_000)];
        times.into_iter().for_each(|time| waits.record(time));
        let histogram = waits.histogram().unwrap();
        assert_eq!(histogram.len(), 5);
        for (quantile, time) in [(0.5, 34_259.0), (0.8, 68_000.0), (1.0, 52_000_000.0)] {
            let found = histogram.value_at_quantile(quantile) as f64;
            assert!((found / time - 1.0).abs() < 0.07, "{found} for {time}");
        }
    }

    proptest! {
        #[test]
        fn a_step_holds_its_middle_and_is_an_eighth_wide(value in any::<u64>(), bits in 0u32..64) {
            let value = value >> bits;
            let middle = middle_of(step_of(value)).0;
            prop_assert_eq!(step_of(middle), step_of(value));
            prop_assert!(middle.abs_diff(value) <= value / 8, "{} {}", middle, value);
        }

        #[test]
        fn a_timeline_is_the_same_as_one_of_its_last_length(
            times in prop::collection::vec((0u64..1 << 34, any::<bool>()), 1..200),
        ) {
            let mut profile = DeviceProfile::default();
            for (at, read) in &times {
                if *read { profile.read(Time(*at), Time(7)) } else { profile.write(Time(*at), Time(3)) }
            }
            let (timeline, length) = (&profile.timeline, profile.timeline.length().0);
            prop_assert!(timeline.stretches().len() <= STRETCHES);
            for (n, stretch) in (0..).zip(timeline.stretches()) {
                let inside = |of: bool| times.iter().filter(|(at, read)| at / length == n && *read == of).count() as u64;
                let (reads, writes) = (inside(true), inside(false));
                let expected =
                    Stretch { reads, writes, read_time: Time(7 * reads), write_stall: Time(3 * writes) };
                prop_assert_eq!(*stretch, expected);
            }
            let last = times.iter().map(|(at, _)| at / length).max();
            prop_assert_eq!(timeline.stretches().len() as u64, last.map_or(0, |last| last + 1));
        }
    }

    #[test]
    fn a_long_run_has_long_stretches() {
        let mut timeline = Timeline::<Stretch>::default();
        timeline.at(Time(0)).reads = 1;
        timeline.at(Time(255 << FIRST_SHIFT)).reads = 2;
        assert_eq!((timeline.length(), timeline.stretches().len()), (Time(1 << FIRST_SHIFT), 256));
        timeline.at(Time(1000 << FIRST_SHIFT)).reads = 4;
        assert_eq!((timeline.length(), timeline.stretches().len()), (Time(4 << FIRST_SHIFT), 251));
        let reads: Vec<u64> = timeline.stretches().iter().map(|s| s.reads).filter(|n| *n > 0).collect();
        assert_eq!(reads, [1, 2, 4]);
    }
}
