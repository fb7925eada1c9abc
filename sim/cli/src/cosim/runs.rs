//! Runs of kernel accesses between two of the program.

use daxsim_sim::bare::{Access, kind};
use daxsim_types::Time;

/// Bytes of a line.
const LINE: u64 = 64;
/// Lines that are kept before the same ones are thrown together.
const KEPT: usize = 1 << 17;

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
    /// Every line of the page that was accessed at its end: the kernel filled that page.
    pub filled: bool,
}

/// A run of the kernel's that is under way.
#[derive(Clone, Debug, Default)]
pub struct Run {
    under_way: bool,
    /// The program has begun an instruction that accessed other memory first.
    held: bool,
    begun: Time,
    /// What interrupts took since then.
    interrupted: Time,
    executed: Executed,
    lines: Vec<u64>,
    too_many: bool,
}

impl Run {
    /// The kernel made accesses, from `begun` on.
    pub fn add(&mut self, begun: Time, accesses: &[Access]) {
        if !self.under_way || self.held {
            self.clear();
            (self.under_way, self.begun) = (true, begun);
        }
        accesses.iter().for_each(|access| self.add_one(access));
        if self.lines.len() > KEPT {
            self.throw_together();
        }
    }

    /// An interrupt took so long.
    pub fn skip(&mut self, took: Time) {
        self.interrupted += took;
    }

    /// The program accessed memory that is not looked at. That was the repeated instruction, as MOVS does it, if the next access is by it, too.
    pub fn hold(&mut self, access: &Access) {
        if self.under_way && (!self.held || access.instructions == 0) {
            self.add_one(access);
            self.held = true;
        } else {
            self.clear();
        }
    }

    fn add_one(&mut self, access: &Access) {
        self.executed.add(access);
        if !self.too_many {
            self.lines.push(access.pa / LINE);
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

    /// Whether the kernel made accesses since the last [`Self::end`], and the program's next one is by the instruction that they were
    /// made for.
    pub fn leads_to(&self, access: &Access) -> bool {
        self.under_way && (!self.held || access.instructions == 0)
    }

    /// The run ends at `ended`, with an access of the program that belongs to it, if one does, to a page of so many bytes.
    pub fn end(&mut self, last: Option<(&Access, u64)>, ended: Time) -> Way {
        let page = last.map_or(0..0, |(access, bytes)| {
            let first = (access.pa & !(bytes - 1)) / LINE;
            first..first + bytes / LINE
        });
        last.into_iter().for_each(|(access, _)| self.add_one(access));
        self.throw_together();
        let lines = (!self.too_many).then_some(self.lines.len() as u64);
        let in_page = self.lines.iter().filter(|line| page.contains(line)).count() as u64;
        let filled = in_page > 0 && in_page == page.end - page.start;
        let took = ended.saturating_sub(self.begun).saturating_sub(self.interrupted);
        let way = Way { executed: self.executed, lines, took, filled };
        self.under_way = false;
        way
    }

    /// Forgets what came.
    pub fn clear(&mut self) {
        (self.under_way, self.held, self.interrupted) = (false, false, Time::ZERO);
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
        run.skip(Time::from_ns(1));
        let last = Access::store(0, 0, 0).after(1);
        let way = run.end(Some((&last, 4096)), Time::from_ns(9));
        let executed = Executed { instructions: 7, loads: 3, stores: 1, atomics: 0 };
        assert_eq!(way, Way { executed, lines: Some(3), took: Time::from_ns(3), filled: false });
        assert!(!run.leads_to(&last));
        run.add(Time::from_ns(20), &[at(7)]);
        assert_eq!(run.end(None, Time::from_ns(21)).executed.instructions, 2);
    }

    #[test]
    fn an_instruction_may_access_other_memory_before_the_page() {
        let (other, page) = (Access::load(0, 0x5000, 0x5000).after(1), Access::store(0, 0, 0));
        let mut run = Run::default();
        run.add(Time::ZERO, &[at(1)]);
        run.hold(&other);
        assert!(run.leads_to(&page) && !run.leads_to(&page.after(1)));
        assert_eq!(run.end(Some((&page, 4096)), Time::ZERO).executed.instructions, 3);
        // The program went on before the kernel came again.
        run.add(Time::ZERO, &[at(1)]);
        run.hold(&other);
        run.add(Time::ZERO, &[at(2)]);
        assert_eq!(run.end(Some((&page, 4096)), Time::ZERO).executed.instructions, 2);
        run.add(Time::ZERO, &[at(1)]);
        run.hold(&other);
        run.hold(&other);
        assert!(!run.leads_to(&page));
    }

    #[test]
    fn a_page_is_filled_if_all_its_lines_were_touched() {
        let last = Access::store(0, 0x10_0000, 0x10_0000);
        for (lines, filled) in [(64, true), (63, false)] {
            let mut run = Run::default();
            let page: Vec<Access> = (1..lines).map(|line| at(0x10_0000 / LINE + line)).collect();
            run.add(Time::ZERO, &page);
            // The access itself is one.
            assert_eq!(run.end(Some((&last, 4096)), Time::ZERO).filled, filled);
        }
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
