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

/// What an access is by its number in a trace (`AccessOp`): loads, stores, both, fetches.
const KINDS: [AccessKind; 4] = [AccessKind::Read, AccessKind::Write, AccessKind::Read, AccessKind::Fetch];

/// Turns records into accesses.
#[derive(Clone, Debug)]
pub struct Expander {
    /// What the issue slots of a record take that touches one line, in picoseconds, by the number of what it does.
    slots: [u64; 4],
    /// What an instruction takes.
    instruction: u64,
    /// As much as instructions can fall behind accesses.
    most_credit: u64,
    /// The last access, as long as nobody knows what follows it.
    held: Option<Access>,
    /// How much longer the slots of the accesses so far took than the instructions.
    credit: u64,
}

impl Expander {
    /// For a thread on a core of this machine.
    #[must_use]
    pub fn new(spec: &MachineSpec) -> Self {
        let cpu = &spec.cpu;
        // So that no product overflows.
        let instruction = cpu.instruction_interval.0.min(u64::from(u32::MAX));
        // A core that stalls on every access has no slots: an access is an instruction whose data take their time besides.
        let (load, store) = match cpu.window {
            0 | 1 => (instruction, instruction),
            _ => (cpu.load_interval.0, cpu.store_interval.0),
        };
        let most_credit = instruction.saturating_mul(u64::from(cpu.window));
        Self { slots: [load, store, load + store, load], instruction, most_credit, held: None, credit: 0 }
    }

    /// Appends what the machine does for records, but for its last access: an access for each line that they touch, for a
    /// `Modify` loads and then stores.
    pub fn extend(&mut self, records: &[AccessRecord], accesses: &mut Vec<Access>) {
        accesses.reserve(records.len() + 1);
        // Nobody's place, as long as nothing is held.
        let mut last = usize::MAX;
        if let Some(held) = self.held.take() {
            last = accesses.len();
            accesses.push(held);
        }
        for record in records {
            let work = self.begin(record.gap.into());
            if let Some(last) = accesses.get_mut(last) {
                last.work = work;
            }
            let op = record.op as usize & 3;
            let end = record.va.0.saturating_add(u64::from(record.size.max(1)) - 1);
            if end <= record.va.0 | (LINE - 1) && record.op != AccessOp::Modify {
                accesses.push(Access {
                    va: record.va,
                    kind: KINDS[op],
                    dependent: record.dependent,
                    work: 0,
                });
                self.credit += self.slots[op];
            } else {
                self.credit += lines(record, end, accesses) * self.slots[op];
            }
            last = accesses.len() - 1;
        }
        if last < accesses.len() {
            self.held = accesses.pop();
        }
    }

    /// The last access of all; `instructions` come after it.
    pub fn finish(&mut self, instructions: u64) -> Option<Access> {
        let work = self.begin(instructions.min(u64::from(u32::MAX)));
        Some(Access { work, ..self.held.take()? })
    }

    /// So many instructions begin; what they hold up the access before them.
    #[inline]
    fn begin(&mut self, instructions: u64) -> u32 {
        let time = self.instruction * instructions;
        let work = time.saturating_sub(self.credit);
        self.credit = self.credit.saturating_sub(time).min(self.most_credit);
        u32::try_from(work).unwrap_or(u32::MAX)
    }
}

/// Appends an access for each line of a record up to the byte `end`, of a `Modify` two; how many lines there are. Only the first
/// waits for the record before: the others' address is known with it.
#[inline(never)]
fn lines(record: &AccessRecord, end: u64, accesses: &mut Vec<Access>) -> u64 {
    let mut count = 0;
    let mut run = |kind, dependent| {
        accesses.push(Access { va: record.va, kind, dependent, work: 0 });
        count = 1;
        let mut line_end = record.va.0 | (LINE - 1);
        while line_end < end {
            accesses.push(Access::new(VirtAddr(line_end + 1), kind));
            line_end += LINE;
            count += 1;
        }
    };
    run(KINDS[record.op as usize & 3], record.dependent);
    if record.op == AccessOp::Modify {
        run(AccessKind::Write, false);
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
        // As they come: by one, then the others.
        let (first, others) = records.split_at(records.len().min(1));
        expander.extend(first, &mut accesses);
        expander.extend(others, &mut accesses);
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
