//! Interrupts, found in the stream and told apart from what they interrupt.
//!
//! A guest that waits for the simulated machine runs slowly, but its timers run with the host's clock: much more of them fall into a fault than on a
//! real processor. What a processor does to deliver an interrupt is in the stream: it loads the gate from the table of interrupts and stores a frame
//! of five words, all with the instruction before. IRET loads the same five words. In between, and in all that comes nested in it, is the interrupt.
//!
//! One that came while the program ran returns from another stack, so there any five words that one instruction loads are taken for its
//! end; at the latest it ends with the next access of the program, or with its next exception.

use daxsim_ring::{Access, Op};

use super::runs::Executed;

/// Where Linux has the table of interrupts: `CPU_ENTRY_AREA_RO_IDT`, arch/x86/include/asm/cpu_entry_area.h.
const TABLE: u64 = 0xffff_fe00_0000_0000;
/// Bytes of it, and of a gate (Intel SDM 3A, 6.14.1).
const TABLE_BYTES: u64 = 4096;
const GATE_BYTES: u64 = 16;
/// The first vector that is no exception (Intel SDM 3A, table 6-1).
const FIRST: u64 = 32;
/// Words of a frame: SS, RSP, RFLAGS, CS, RIP (Intel SDM 3A, 6.14.2).
const FRAME: u8 = 5;

/// What a CPU is about.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    delivery: Option<Delivery>,
    /// The outermost interrupt.
    inside: Option<Inside>,
}

/// A gate was loaded, and the frame is not stored yet.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    vector: u64,
    /// The stack was changed: it came from the program.
    from_user: bool,
    stored: u8,
}

/// An interrupt is handled.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    /// Where its frame is, if it came from the kernel.
    frame: Option<u64>,
    /// Words that the last instruction has loaded one behind the other, from the first of them on.
    loaded: u8,
    first: u64,
    executed: Executed,
}

/// Interrupts of all CPUs.
#[derive(Debug)]
pub struct Interrupts {
    cpus: Vec<Cpu>,
    /// What each took that has ended.
    pub ended: Vec<Executed>,
}

impl Interrupts {
    /// For a machine with so many CPUs.
    pub fn new(cpus: usize) -> Self {
        Self { cpus: vec![Cpu::default(); cpus], ended: Vec::new() }
    }

    /// Looks at the next access of a CPU; whether it belongs to an interrupt.
    #[inline]
    pub fn has(&mut self, cpu: u16, access: &Access) -> bool {
        let Some(state) = self.cpus.get_mut(usize::from(cpu)) else { return false };
        let in_table = access.va.0.wrapping_sub(TABLE) < TABLE_BYTES;
        if !in_table && state.delivery.is_none() && state.inside.is_none() {
            return false;
        }
        let (belongs, ended) = state.look(access, in_table);
        self.ended.extend(ended);
        belongs
    }
}

impl Cpu {
    #[cold]
    fn look(&mut self, access: &Access, in_table: bool) -> (bool, Option<Executed>) {
        if access.user {
            *self = Self { delivery: None, inside: None };
            return (false, None);
        }
        if in_table {
            let vector = (access.va.0 - TABLE) / GATE_BYTES;
            if self.delivery.is_none_or(|delivery| delivery.vector != vector || delivery.stored > 0) {
                self.delivery = Some(Delivery { vector, from_user: false, stored: 0 });
            }
        } else if access.gap != 0 {
            self.delivery = None;
        }
        let before = self.inside.is_some() || self.delivery.is_some_and(|delivery| delivery.vector >= FIRST);
        if !in_table && let Some(delivery) = self.delivery {
            self.deliver(delivery, access);
        }
        let ended = self.inside.as_mut().is_some_and(|inside| inside.add(access));
        let executed = if ended { self.inside.take().map(|inside| inside.executed) } else { None };
        (before, executed)
    }

    /// An access between the load of a gate and the handler's first instruction.
    fn deliver(&mut self, mut delivery: Delivery, access: &Access) {
        match access.op {
            // A descriptor is loaded by halves; what has eight bytes is the stack's address in the task state segment.
            Op::Load => delivery.from_user |= access.size == 8,
            Op::Store | Op::Locked => delivery.stored += 1,
        }
        self.delivery = (delivery.stored < FRAME).then_some(delivery);
        if delivery.stored < FRAME {
            return;
        }
        if delivery.vector < FIRST {
            // An exception of the program: what came before has returned there.
            self.inside = self.inside.filter(|_| !delivery.from_user);
        } else if self.inside.is_none() {
            let frame = (!delivery.from_user).then_some(access.va.0);
            self.inside = Some(Inside { frame, ..Inside::default() });
        }
    }
}

impl Inside {
    /// Counts an access; whether it is the last one of IRET.
    fn add(&mut self, access: &Access) -> bool {
        self.executed.instructions += u64::from(access.gap);
        match access.op {
            Op::Load => self.executed.loads += 1,
            Op::Store => self.executed.stores += 1,
            Op::Locked => {
                self.executed.stores += 1;
                self.executed.atomics += 1;
            }
        }
        let at = access.va.0;
        let is_next = self.loaded > 0 && access.gap == 0 && at == self.first + 8 * u64::from(self.loaded);
        match (access.op, access.size) {
            (Op::Load, 8) if is_next => self.loaded += 1,
            (Op::Load, 8) => (self.loaded, self.first) = (1, at),
            // IRET looks a descriptor up between the words.
            (Op::Load, _) if access.gap == 0 => {}
            _ => self.loaded = 0,
        }
        self.loaded == FRAME && self.frame.is_none_or(|frame| frame == self.first)
    }
}

#[cfg(test)]
mod tests {
    use daxsim_types::VirtAddr;

    use super::*;

    const STACK: u64 = 0xffff_c900_0000_4000;
    const TASK: u64 = 0xffff_fe00_0000_3004;
    const DESCRIPTOR: u64 = 0xffff_fe00_0000_1010;

    fn at(va: u64, op: Op, size: u8, gap: u32) -> Access {
        Access { va: VirtAddr(va), pa: None, op, size, user: false, device: false, gap }
    }

    fn load(va: u64, gap: u32) -> Access {
        at(va, Op::Load, 8, gap)
    }

    /// What the processor does to deliver a vector.
    fn delivered(vector: u64, from_user: bool) -> Vec<Access> {
        let mut all: Vec<Access> = (0..3).map(|n| at(TABLE + 16 * vector + 4 * n, Op::Load, 4, 0)).collect();
        all.extend((0..2).map(|n| at(DESCRIPTOR + 4 * n, Op::Load, 4, 0)));
        all.extend(from_user.then(|| load(TASK, 0)));
        all.extend((1..=5).map(|n| at(STACK - 8 * n, Op::Store, 8, 0)));
        all
    }

    /// What IRET does with a frame that begins there.
    fn returned(frame: u64) -> Vec<Access> {
        let mut all: Vec<Access> = (0..3).map(|n| load(frame + 8 * n, u32::from(n == 0))).collect();
        all.extend((0..2).map(|n| at(DESCRIPTOR + 4 * n, Op::Load, 4, 0)));
        all.extend((3..5).map(|n| load(frame + 8 * n, 0)));
        all
    }

    /// How many of each group belong to an interrupt.
    fn seen(groups: &[Vec<Access>]) -> (Vec<usize>, Vec<Executed>) {
        let mut interrupts = Interrupts::new(1);
        let count = |group: &Vec<Access>, i: &mut Interrupts| group.iter().filter(|a| i.has(0, a)).count();
        let counts = groups.iter().map(|group| count(group, &mut interrupts)).collect();
        (counts, interrupts.ended)
    }

    #[test]
    fn an_interrupt_of_the_kernel_lasts_to_the_return_from_its_frame() {
        let work = || vec![load(STACK + 64, 3), at(STACK - 64, Op::Store, 8, 2)];
        // Another one nested in it, with its own return, and a load of a word of the frame, are within.
        let nested = [delivered(0x40, false), work(), returned(STACK - 48)].concat();
        let own = vec![load(STACK - 40, 1), load(STACK - 32, 1)];
        let (counts, ended) =
            seen(&[work(), delivered(0xec, false), work(), nested, own, returned(STACK - 40), work()]);
        assert_eq!(counts, [0, 10, 2, 10 + 2 + 7, 2, 7, 0]);
        // From the frame's last word on: that, two works, the frame of the nested one.
        let took = ended.iter().map(|one| (one.instructions, one.stores)).collect::<Vec<_>>();
        assert_eq!(took, [(5 + 5 + 1 + 2 + 1, 1 + 1 + 5 + 1)]);
    }

    #[test]
    fn exceptions_are_none() {
        let (counts, ended) = seen(&[delivered(14, true), vec![load(STACK, 9)], returned(STACK - 40)]);
        assert_eq!((counts, ended.len()), (vec![0, 0, 0], 0));
    }

    #[test]
    fn one_of_the_program_ends_with_its_return_or_its_next_access_or_exception() {
        let kernel = || vec![load(STACK + 512, 3)];
        let (counts, _) = seen(&[delivered(0xec, true), kernel(), returned(STACK + 0x1000), kernel()]);
        assert_eq!(counts, [11, 1, 7, 0]);
        let user = vec![Access { user: true, ..load(0x1000, 1) }];
        let (counts, _) = seen(&[delivered(0xec, true), kernel(), user, kernel()]);
        assert_eq!(counts, [11, 1, 0, 0]);
        let (counts, _) = seen(&[delivered(0xec, true), kernel(), delivered(14, true), kernel()]);
        assert_eq!((counts[1], counts[3]), (1, 0));
    }
}
