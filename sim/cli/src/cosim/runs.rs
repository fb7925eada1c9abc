//! Runs of kernel accesses between two of the program.

use daxsim_sim::bare::{Access, kind};
use daxsim_types::Time;

/// Lines that are kept before the same ones are thrown together.
const KEPT: usize = 1 << 16;

/// What was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Executed {
    /// Instructions.
    pub instructions: u64,
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Atomic instructions, each a load and a store.
    pub atomics: u64,
}

impl Executed {
    /// Counts an access with the instructions before it.
    pub fn add(&mut self, access: &Access) {
        self.instructions += u64::from(access.instructions);
        let (load, store) = (access.kind == kind::LOAD, access.kind == kind::STORE);
        self.loads += u64::from(!store);
        self.stores += u64::from(!load);
        self.atomics += u64::from(!load && !store);
    }
}

/// One way through the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// What it executed.
    pub executed: Executed,
    /// Distinct lines that it touched; `None` if they were too many to keep.
    pub lines: Option<u64>,
    /// How long it took on the simulated machine.
    pub took: Time,
}

/// A run of the kernel's that is under way.
#[derive(Clone, Debug, Default)]
pub struct Run {
    under_way: bool,
    begun: Time,
    executed: Executed,
    lines: Vec<u64>,
    too_many: bool,
}

impl Run {
    /// The kernel made accesses, from `begun` on.
    pub fn add(&mut self, begun: Time, accesses: &[Access]) {
        if !self.under_way {
            self.clear();
            (self.under_way, self.begun) = (true, begun);
        }
        accesses.iter().for_each(|access| self.add_one(access));
        if self.lines.len() > KEPT {
            self.throw_together();
        }
    }

    fn add_one(&mut self, access: &Access) {
        self.executed.add(access);
        if !self.too_many {
            self.lines.push(access.pa / 64);
        }
    }

    fn throw_together(&mut self) {
        self.lines.sort_unstable();
        self.lines.dedup();
        // A run of that many lines is a boot, not a fault.
        if self.lines.len() > KEPT / 2 {
            self.too_many = true;
            self.lines.clear();
        }
    }

    /// Whether the kernel made accesses since the last [`Self::end`].
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }

    /// The run ends at `ended`, with an access of the program that belongs to it, if one does.
    pub fn end(&mut self, last: Option<&Access>, ended: Time) -> Way {
        last.into_iter().for_each(|access| self.add_one(access));
        self.throw_together();
        let lines = (!self.too_many).then_some(self.lines.len() as u64);
        let way = Way { executed: self.executed, lines, took: ended.saturating_sub(self.begun) };
        self.under_way = false;
        way
    }

    /// Forgets what came.
    pub fn clear(&mut self) {
        self.under_way = false;
        self.executed = Executed::default();
        self.lines.clear();
        self.too_many = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64) -> Access {
        Access::load(0, line * 64, line * 64).after(2)
    }

    #[test]
    fn a_run_counts_what_came_since_the_last_one_ended() {
        let mut run = Run::default();
        run.add(Time::from_ns(5), &[at(1), at(2)]);
        run.add(Time::from_ns(6), &[at(1)]);
        let way = run.end(Some(&Access::store(0, 0, 0).after(1)), Time::from_ns(9));
        let executed = Executed { instructions: 7, loads: 3, stores: 1, atomics: 0 };
        assert_eq!(way, Way { executed, lines: Some(3), took: Time::from_ns(4) });
        assert!(!run.is_under_way());
        run.add(Time::from_ns(20), &[at(7)]);
        assert_eq!(run.end(None, Time::from_ns(21)).executed.instructions, 2);
    }

    #[test]
    fn what_is_no_fault_takes_no_memory() {
        let mut run = Run::default();
        for n in 0..100 {
            let some: Vec<Access> = (0..5000).map(|line| at(n * 5000 + line)).collect();
            run.add(Time::ZERO, &some);
        }
        assert!(run.lines.capacity() < 4 * KEPT);
        let way = run.end(None, Time::ZERO);
        assert_eq!((way.executed.loads, way.lines), (500_000, None));
    }

    #[test]
    fn a_long_run_of_few_lines_keeps_them() {
        let mut run = Run::default();
        for _ in 0..100 {
            let some: Vec<Access> = (0..5000).map(|line| at(line % 50)).collect();
            run.add(Time::ZERO, &some);
        }
        assert_eq!(run.end(None, Time::ZERO).lines, Some(50));
    }
}
