//! What happens next to the entries of a window.

use daxsim_types::Time;

/// Times and entries, in the order of time, then of program.
#[derive(Default)]
pub(super) struct Events {
    /// Time above entry. The next one last: few are waiting at a time, and most of those that come are among the first.
    waiting: Vec<u128>,
}

/// An event that comes behind fewer than these moves them one by one.
const NEAR: usize = 6;

const fn time(event: u128) -> Time {
    Time((event >> 64) as u64)
}

impl Events {
    /// When the next one is; [`Time::MAX`] if there is none.
    #[inline]
    pub fn next(&self) -> Time {
        self.waiting.last().map_or(Time::MAX, |event| time(*event))
    }

    /// Takes out the next one, if it is at `now` or before.
    #[inline]
    pub fn pop(&mut self, now: Time) -> Option<(Time, u64)> {
        let event = *self.waiting.last()?;
        if time(event) > now {
            return None;
        }
        self.waiting.pop();
        Some((time(event), event as u64))
    }

    #[inline]
    pub fn push(&mut self, at: Time, id: u64) {
        let event = u128::from(at.0) << 64 | u128::from(id);
        if self.waiting.last().is_none_or(|next| *next > event) {
            self.waiting.push(event);
        } else {
            self.push_behind(event);
        }
    }

    fn push_behind(&mut self, event: u128) {
        let mut place = self.waiting.len();
        if let Some(beyond) = place.checked_sub(NEAR)
            && self.waiting[beyond] < event
        {
            let place = self.waiting[..beyond].partition_point(|other| *other > event);
            self.waiting.insert(place, event);
            return;
        }
        self.waiting.push(event);
        while place > 0 && self.waiting[place - 1] < event {
            self.waiting[place] = self.waiting[place - 1];
            place -= 1;
        }
        self.waiting[place] = event;
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_in_the_order_of_time_then_of_program(
            ops in prop::collection::vec((any::<bool>(), 0u64..20), 0..300),
        ) {
            let (mut events, mut model) = (Events::default(), BTreeSet::new());
            for (id, (push, at)) in (0..).zip(ops) {
                // Not in the order of the numbers.
                let (at, id) = (Time(at), id ^ 5);
                if push {
                    events.push(at, id);
                    model.insert((at, id));
                } else {
                    let next = model.first().copied().filter(|event| event.0 <= at);
                    prop_assert_eq!(events.pop(at), next);
                    next.iter().for_each(|event| {
                        model.remove(event);
                    });
                }
                prop_assert_eq!(events.next(), model.first().map_or(Time::MAX, |event| event.0));
            }
            events.clear();
            prop_assert_eq!(events.pop(Time::MAX), None);
        }
    }
}
