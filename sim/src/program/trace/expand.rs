//! What a machine does for the records of a trace: accesses of lines, and the time of the instructions between them.
//!
//! A core renames so many instructions a cycle (`cpu.instruction_interval`); its accesses have issue slots of their own
//! (`cpu.load_interval`, `cpu.store_interval`). Whichever takes longer holds up what follows: accesses that wait for their slots let
//! the instructions behind them go on, as far as these fit the reorder buffer (`cpu.window`). What instructions do beside
//! accesses (dependences, mispredicted branches, divisions) is not in a trace: this is the least that they can take.

use daxsim_configs::machine::MachineSpec;
use daxsim_traces::access::{AccessOp, AccessRecord};
use daxsim_types::{AccessKind, VirtAddr};

use crate::program::Access;

/// Bytes of a cache line.
const LINE: u64 = 64;

/// What instructions take, in picoseconds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    load: u64,
    store: u64,
    instruction: u64,
    /// As much as instructions can fall behind accesses.
    most_credit: u64,
}

/// Turns records into accesses.
#[derive(Clone, Debug)]
pub struct Expander {
    pace: Pace,
    /// The last access, as long as nobody knows what follows it.
    last: Option<Access>,
    /// How much longer the slots of the accesses so far took than the instructions.
    credit: u64,
}

impl Expander {
    /// For a thread on a core of this machine.
    #[must_use]
    pub fn new(spec: &MachineSpec) -> Self {
        let cpu = &spec.cpu;
        let instruction = cpu.instruction_interval.0;
        // A core that stalls on every access has no slots: an access is an instruction whose data take their time besides.
        let (load, store) = match cpu.window {
            0 | 1 => (instruction, instruction),
            _ => (cpu.load_interval.0, cpu.store_interval.0),
        };
        let most_credit = instruction.saturating_mul(u64::from(cpu.window));
        Self { pace: Pace { load, store, instruction, most_credit }, last: None, credit: 0 }
    }

    /// Appends what the machine does for a record, but for its last access: an access for each line that it touches, for a
    /// `Modify` loads and then stores.
    #[inline]
    pub fn push(&mut self, record: &AccessRecord, accesses: &mut Vec<Access>) {
        accesses.extend(self.begin(record.gap.into()));
        let start = accesses.len();
        let (loads, stores) = match record.op {
            AccessOp::Load => (lines(record, AccessKind::Read, record.dependent, accesses), 0),
            AccessOp::Fetch => (lines(record, AccessKind::Fetch, record.dependent, accesses), 0),
            AccessOp::Store => (0, lines(record, AccessKind::Write, record.dependent, accesses)),
            AccessOp::Modify => {
                let loads = lines(record, AccessKind::Read, record.dependent, accesses);
                (loads, lines(record, AccessKind::Write, false, accesses))
            }
        };
        debug_assert_eq!(accesses.len() - start, (loads + stores) as usize);
        self.credit += loads * self.pace.load + stores * self.pace.store;
        self.last = accesses.pop();
    }

    /// The last access of all; `instructions` come after it.
    pub fn finish(&mut self, instructions: u64) -> Option<Access> {
        self.begin(instructions)
    }

    /// So many instructions begin; the access before them, which is known now.
    #[inline]
    fn begin(&mut self, instructions: u64) -> Option<Access> {
        let time = self.pace.instruction.saturating_mul(instructions);
        let work = time.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(time).min(self.pace.most_credit);
        let last = self.last.take()?;
        Some(Access { work: u32::try_from(work).unwrap_or(u32::MAX), ..last })
    }
}

/// Appends an access for each line of a record; how many there are. Only the first waits for the record before: the others' address
/// is known with it.
#[inline]
fn lines(record: &AccessRecord, kind: AccessKind, dependent: bool, accesses: &mut Vec<Access>) -> u64 {
    let first = record.va;
    accesses.push(Access { va: first, kind, dependent, work: 0 });
    let last = first.0.saturating_add(u64::from(record.size.max(1)) - 1);
    let mut va = first.0 | (LINE - 1);
    let mut count = 1;
    while va < last {
        accesses.push(Access::new(VirtAddr(va + 1), kind));
        va += LINE;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use daxsim_configs::{Override, load_machine};

    use super::*;

    fn expander(set: &[&str]) -> Expander {
        let set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
        Expander::new(&load_machine("skylake-sp-optane", &set).unwrap())
    }

    fn all(expander: &mut Expander, records: &[AccessRecord], trailing: u64) -> Vec<Access> {
        let mut accesses = Vec::new();
        records.iter().for_each(|record| expander.push(record, &mut accesses));
        accesses.extend(expander.finish(trailing));
        accesses
    }

    fn record(va: u64, size: u16, op: AccessOp, gap: u32) -> AccessRecord {
        AccessRecord { va: VirtAddr(va), gap, size, op, dependent: false }
    }

    #[test]
    fn an_access_touches_each_of_its_lines() {
        let expanded = |va, size, op| {
            let record = AccessRecord { dependent: true, ..record(va, size, op, 1) };
            let accesses = all(&mut expander(&[]), &[record], 0);
            accesses.into_iter().map(|a| (a.va.0, a.kind, a.dependent)).collect::<Vec<_>>()
        };
        use AccessKind::{Fetch, Read, Write};
        assert_eq!(expanded(0x1000, 8, AccessOp::Load), [(0x1000, Read, true)]);
        assert_eq!(expanded(0x1000, 0, AccessOp::Fetch), [(0x1000, Fetch, true)]);
        assert_eq!(expanded(0x103c, 4, AccessOp::Store), [(0x103c, Write, true)]);
        assert_eq!(expanded(0x103c, 5, AccessOp::Store), [(0x103c, Write, true), (0x1040, Write, false)]);
        let both = [(0x10, Read, true), (0x40, Read, false), (0x80, Read, false)];
        assert_eq!(expanded(0x10, 128, AccessOp::Load), both);
        assert_eq!(expanded(0x10, 8, AccessOp::Modify), [(0x10, Read, true), (0x10, Write, false)]);
        assert_eq!(expanded(u64::MAX, 9, AccessOp::Load), [(u64::MAX, Read, true)]);
    }

    /// Work in cycles of a clock of 1 GHz, with a load in 1 cycle, a store in 2 and an instruction in half of one.
    fn work(records: &[AccessRecord], trailing: u64) -> Vec<f64> {
        let mut expander = expander(&[
            "cpu.clock=1 GHz",
            "cpu.load_interval=1 cycle",
            "cpu.store_interval=2 cycles",
            "cpu.instruction_interval=0.5 cycles",
            "cpu.window=10",
        ]);
        all(&mut expander, records, trailing).iter().map(|a| f64::from(a.work) / 1000.0).collect()
    }

    #[test]
    fn instructions_take_time_as_far_as_the_slots_of_accesses_do_not() {
        use AccessOp::{Load, Modify, Store};
        let load = |gap| record(0, 8, Load, gap);
        // Two instructions fit beside a load, the next one of 4 takes the other two's time; so do 6 at the end.
        assert_eq!(work(&[load(1), load(2), load(4)], 6), [0.0, 1.0, 2.0]);
        assert_eq!(work(&[record(0, 8, Store, 1), load(6)], 0), [1.0, 0.0]);
        // A load and a store of an instruction: 3 cycles.
        assert_eq!(work(&[record(0, 8, Modify, 1), load(8)], 0), [0.0, 1.0, 0.0]);
        assert_eq!(work(&[load(1), record(8, 8, Store, 0), load(8)], 0), [0.0, 1.0, 0.0]);
    }

    #[test]
    fn slots_that_accesses_wait_for_are_time_for_instructions() {
        let load = |gap| record(0, 8, AccessOp::Load, gap);
        // Four loads take 2 cycles longer than their instructions: the time of four more.
        assert_eq!(work(&[load(1), load(1), load(1), load(1), load(7)], 0), [0.0, 0.0, 0.0, 1.0, 0.0]);
        // No more than ten instructions fall behind.
        let mut many = vec![load(1); 100];
        many.push(load(20));
        assert_eq!(work(&many, 0)[99], 10.0 - 5.0 - 1.0 + 0.0);
    }

    #[test]
    fn a_core_that_stalls_on_every_access_adds_what_lies_between_them() {
        let mut expander =
            expander(&["cpu.clock=1 GHz", "cpu.instruction_interval=0.5 cycles", "cpu.window=1"]);
        let records = [record(0, 8, AccessOp::Load, 1), record(0, 8, AccessOp::Load, 5)];
        let work: Vec<u32> = all(&mut expander, &records, 2).iter().map(|a| a.work).collect();
        assert_eq!(work, [2000, 500]);
    }
}
