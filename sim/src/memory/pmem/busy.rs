//! Something that serves one after another, asked not quite in order of time.

use daxsim_types::Time;

/// When it is busy: the last stretch without a gap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    since: Time,
    until: Time,
}

impl Busy {
    /// Takes `length` of it from `at` on, or as soon as it is free: from when. What fits before the stretch does not wait.
    #[inline]
    pub fn take(&mut self, at: Time, length: Time) -> Time {
        if at + length <= self.since {
            return at;
        }
        let start = at.max(self.until);
        if start > self.until {
            self.since = start;
        }
        self.until = start + length;
        start
    }

    /// When the stretch ends.
    pub const fn until(&self) -> Time {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_serves_in_turn_and_lets_earlier_ones_into_the_gap_before() {
        let mut busy = Busy::default();
        assert_eq!(busy.take(Time(100), Time(10)), Time(100));
        assert_eq!(busy.take(Time(104), Time(10)), Time(110));
        assert_eq!(busy.take(Time(95), Time(10)), Time(120), "would not fit before 100");
        assert_eq!(busy.take(Time(80), Time(10)), Time(80));
        assert_eq!((busy.take(Time(500), Time(10)), busy.until()), (Time(500), Time(510)));
    }
}
