//! Whose turn comes first, of any number of CPUs: a tree in which the earlier of two goes up.

use daxsim_types::Time;
use smallvec::SmallVec;

use super::Moment;

/// When each CPU has something to do, as far as that was told. A CPU is told of again whenever that may have changed.
#[derive(Debug)]
pub(crate) struct Turns {
    /// The earliest moment below each node of a heap-ordered tree; the leaves are the CPUs.
    earliest: Vec<Moment>,
    leaves: usize,
    /// CPUs of which something has changed since they were told of.
    changed: Noted,
    /// CPUs that may have use for looking ahead: they had their turn since they last did, or could go on.
    looking: Noted,
}

/// CPUs, each at most once.
#[derive(Debug)]
struct Noted {
    cpus: Vec<usize>,
    is_noted: Vec<bool>,
}

impl Noted {
    fn new(cpus: usize) -> Self {
        Self { cpus: Vec::with_capacity(cpus), is_noted: vec![false; cpus] }
    }

    #[inline]
    fn note(&mut self, cpu: usize) {
        if !std::mem::replace(&mut self.is_noted[cpu], true) {
            self.cpus.push(cpu);
        }
    }

    /// Takes out the last that was noted.
    #[inline]
    fn pop(&mut self) -> Option<usize> {
        let cpu = self.cpus.pop()?;
        self.is_noted[cpu] = false;
        Some(cpu)
    }
}

impl Turns {
    pub(crate) fn new(cpus: usize) -> Self {
        let leaves = cpus.next_power_of_two();
        let earliest = vec![Moment::NEVER; 2 * leaves];
        let mut turns = Self { earliest, leaves, changed: Noted::new(cpus), looking: Noted::new(cpus) };
        turns.change_all();
        turns
    }

    /// Notes that something may have changed with a CPU.
    #[inline]
    pub(crate) fn change(&mut self, cpu: usize) {
        self.changed.note(cpu);
    }

    /// Notes that with all CPUs.
    pub(crate) fn change_all(&mut self) {
        (0..self.changed.is_noted.len()).for_each(|cpu| self.change(cpu));
    }

    /// A CPU that changed since it was asked for.
    #[inline]
    pub(crate) fn next_changed(&mut self) -> Option<usize> {
        self.changed.pop()
    }

    /// Notes that a CPU may have use for looking ahead.
    #[inline]
    pub(crate) fn looks(&mut self, cpu: usize) {
        self.looking.note(cpu);
    }

    /// Takes out the CPUs that may have use for looking ahead, in order.
    pub(crate) fn take_looking(&mut self) -> SmallVec<[usize; 16]> {
        let mut cpus: SmallVec<_> = std::iter::from_fn(|| self.looking.pop()).collect();
        cpus.sort_unstable();
        cpus
    }

    /// Says when a CPU has something to do.
    pub(crate) fn tell(&mut self, cpu: usize, time: Option<Time>) {
        let mut node = self.leaves + cpu;
        self.earliest[node] = time.map_or(Moment::NEVER, |time| Moment { time, cpu });
        while node > 1 {
            let best = self.earliest[node].min(self.earliest[node ^ 1]);
            node /= 2;
            if self.earliest[node] == best {
                // Nothing changes further up. A moment names its CPU, so it is the same one's.
                return;
            }
            self.earliest[node] = best;
        }
    }

    /// The two earliest moments.
    pub(crate) fn two_earliest(&self) -> (Moment, Moment) {
        let first = self.earliest[1];
        if first == Moment::NEVER {
            return (first, first);
        }
        let (mut node, mut second) = (self.leaves + first.cpu, Moment::NEVER);
        while node > 1 {
            second = second.min(self.earliest[node ^ 1]);
            node /= 2;
        }
        (first, second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_earliest_are_those_that_a_sorted_list_begins_with(
            cpus in 1_usize..40,
            told in prop::collection::vec((0_usize..40, prop::option::of(0_u64..20)), 1..200),
        ) {
            let (mut turns, mut list) = (Turns::new(cpus), vec![None; cpus]);
            for (cpu, time) in told {
                let cpu = cpu % cpus;
                turns.tell(cpu, time.map(Time));
                list[cpu] = time;
                let mut sorted: Vec<Moment> = list
                    .iter()
                    .enumerate()
                    .filter_map(|(cpu, time)| Some(Moment { time: Time((*time)?), cpu }))
                    .collect();
                sorted.sort();
                sorted.resize(cpus.max(2), Moment::NEVER);
                prop_assert_eq!(turns.two_earliest(), (sorted[0], sorted[1]));
            }
        }

        #[test]
        fn cpus_that_look_ahead_come_once_and_in_order(looking in prop::collection::vec(0_usize..9, 0..30)) {
            let mut turns = Turns::new(9);
            looking.iter().for_each(|cpu| turns.looks(*cpu));
            let mut expected = looking;
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(turns.take_looking().to_vec(), expected);
            prop_assert!(turns.take_looking().is_empty());
        }

        #[test]
        fn a_cpu_that_changed_is_asked_for_once(changed in prop::collection::vec(0_usize..9, 0..30)) {
            let mut turns = Turns::new(9);
            while turns.next_changed().is_some() {}
            changed.iter().for_each(|cpu| turns.change(*cpu));
            let mut asked: Vec<usize> = std::iter::from_fn(|| turns.next_changed()).collect();
            asked.sort_unstable();
            let mut expected = changed;
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(asked, expected);
        }
    }
}
