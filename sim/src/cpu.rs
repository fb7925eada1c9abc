//! The state of one simulated CPU.

use std::collections::VecDeque;

use daxsim_configs::kernel::PathLength;
use daxsim_configs::machine::MachineSpec;
use daxsim_types::{Pfn, Time, VirtAddr};

use crate::apic::{Interrupt, Vector};
use crate::engine::Foresight;
use crate::kernel::call_function::Call;
use crate::kernel::tlbstate::CpuTlbState;
use crate::measure::{Executed, Part, Parts};
use crate::mmu::broadcast::Broadcast;
use crate::mmu::nested::NestedCaches;
use crate::mmu::psc::Psc;
use crate::mmu::rights::Control;
use crate::mmu::tlbs::{Tlbs, Unbalanced};
use crate::program::Runner;

/// Whether a CPU can go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunState {
    /// Has work that can run at the CPU's time.
    Ready,
    /// Waits for another CPU: a lock, an entry, an answer. The part says what the wait is attributed to.
    Blocked(Part),
    /// Waits for a time: its thread sleeps.
    Asleep(Time),
    /// Has no work: waits for the program's next step.
    Parked,
}

/// One simulated CPU: clock, translation state, interrupts, attribution.
pub struct Cpu {
    /// Time of an instruction whose operands hit the L1D, in femtoseconds.
    instruction_femtoseconds: u64,
    pub(crate) now: Time,
    /// Where the hits end that are foreseen, if that is later.
    pub(crate) ahead: Time,
    /// The run of accesses under way.
    pub(crate) runner: Option<Box<Runner>>,
    pub(crate) state: RunState,
    /// What time is attributed to at the moment.
    pub(crate) part: Part,
    pub(crate) parts: Parts,
    /// What the kernel executed.
    pub(crate) executed: Executed,
    pub(crate) tlbs: Tlbs,
    pub(crate) psc: Psc,
    /// Caches of the second stage, if there is one.
    pub(crate) nested: Option<NestedCaches>,
    /// What of CR0 and CR4 bears on translation.
    pub(crate) control: Control,
    /// Root of the loaded page tables.
    pub(crate) cr3: Pfn,
    pub(crate) pcid: u16,
    pub(crate) irqs_on: bool,
    pub(crate) inbox: VecDeque<Interrupt>,
    /// `call_single_queue`.
    pub(crate) call_queue: Vec<Call>,
    pub(crate) tlb_state: CpuTlbState,
    /// INVLPGBs issued since the last TLBSYNC.
    pub(crate) broadcasts: Vec<Broadcast>,
    /// Pages of the user half (PTI) that are to be invalidated on the way to user mode.
    pub(crate) user_pages_due: Vec<VirtAddr>,
    /// Shootdown answers that this CPU still waits for.
    pub(crate) pending_answers: u32,
    /// The latest answer so far.
    pub(crate) answered: Time,
    /// When the last posted write of user code (CLWB, CLFLUSHOPT, non-temporal store) is accepted.
    pub(crate) posted: Time,
    /// When the machine loses power: the clock stands still there.
    pub(crate) stop: Time,
}

impl Cpu {
    pub(crate) fn new(spec: &MachineSpec, index: u16, boot_root: Pfn) -> Self {
        Self {
            instruction_femtoseconds: u64::from(spec.cpu.milli_cpi) * spec.cpu.clock.period_ps(),
            now: Time::ZERO,
            ahead: Time::ZERO,
            runner: None,
            state: RunState::Parked,
            part: Part::User,
            parts: Parts::default(),
            executed: Executed::default(),
            tlbs: Tlbs::new(&spec.tlb),
            psc: Psc::new(&spec.psc, spec.mmu.levels),
            nested: spec.nested.as_ref().map(NestedCaches::new),
            control: Control::new(&spec.mmu),
            cr3: boot_root,
            pcid: 0,
            irqs_on: true,
            inbox: VecDeque::new(),
            call_queue: Vec::new(),
            tlb_state: CpuTlbState::new(index),
            broadcasts: Vec::new(),
            user_pages_due: Vec::new(),
            pending_answers: 0,
            answered: Time::ZERO,
            posted: Time::ZERO,
            stop: Time::MAX,
        }
    }

    /// Lets `dt` pass, attributed to `part`. The only way a running CPU's clock advances.
    pub(crate) fn spend_as(&mut self, part: Part, dt: Time) {
        let dt = dt.min(self.stop.saturating_sub(self.now));
        self.now += dt;
        self.parts[part] += dt;
    }

    /// Whether the power has gone.
    pub(crate) fn has_stopped(&self) -> bool {
        self.now >= self.stop
    }

    /// When it does what others could see, as far as that is known.
    #[inline]
    pub(crate) fn acts_at(&self) -> Time {
        self.now.max(self.ahead)
    }

    /// When it has something to do, if it has.
    pub(crate) fn next_action(&self) -> Option<Time> {
        match self.state {
            RunState::Ready => Some(self.acts_at()),
            RunState::Asleep(until) => {
                Some(self.next_interrupt().map_or(until, |at| at.max(self.now).min(until)))
            }
            RunState::Blocked(_) | RunState::Parked => self.next_interrupt().map(|at| at.max(self.now)),
        }
    }

    /// Whether accesses are under way that an interrupt has to wait for.
    pub(crate) fn has_accesses_in_flight(&self) -> bool {
        let window = self.runner.as_ref().and_then(|runner| runner.window.as_ref());
        window.is_some_and(|window| !window.is_drained(self.now))
    }

    /// Changes what is foreseen; `give_up` says when the first of what it gave up would have begun, if it did. True if it did.
    pub(crate) fn give_up(&mut self, give_up: impl FnOnce(&mut Foresight) -> Option<Time>) -> bool {
        let at = self.runner.as_mut().and_then(|runner| give_up(&mut runner.foresight));
        self.ahead = at.unwrap_or(self.ahead);
        at.is_some()
    }

    /// Lets `dt` pass, attributed to what the CPU is doing.
    pub(crate) fn spend(&mut self, dt: Time) {
        self.spend_as(self.part, dt);
    }

    /// Executes a building block whose loads and stores hit the L1D.
    pub(crate) fn work(&mut self, block: PathLength) {
        self.count(block);
        self.spend(self.instruction_time(block.instructions));
    }

    /// Time of instructions whose loads and stores hit the L1D.
    #[inline]
    pub(crate) fn instruction_time(&self, instructions: u32) -> Time {
        Time(u64::from(instructions) * self.instruction_femtoseconds / 1000)
    }

    /// Counts a block whose time is not that of its instructions: a string operation.
    pub(crate) fn count(&mut self, block: PathLength) {
        self.executed.add(block);
    }

    /// Lets the clock reach `time` (if it is not already later), attributed to `part`.
    pub(crate) fn wait_until(&mut self, time: Time, part: Part) {
        let dt = time.saturating_sub(self.now);
        self.spend_as(part, dt);
    }

    /// Whether what the caches of the walker counted adds up.
    pub(crate) fn check_walk_caches(&self) -> Result<(), Unbalanced> {
        self.psc.check_balance()?;
        self.nested.as_ref().map_or(Ok(()), NestedCaches::check_balance)
    }

    /// When the next interrupt is due, if the CPU would take one.
    pub(crate) fn next_interrupt(&self) -> Option<Time> {
        self.takes().map(|(_, arrives)| arrives)
    }

    /// Takes the next interrupt.
    pub(crate) fn take_interrupt(&mut self) -> Option<Interrupt> {
        let (at, _) = self.takes()?;
        self.inbox.remove(at)
    }

    /// The first interrupt that the CPU would take: its place in the inbox, and when it arrives.
    fn takes(&self) -> Option<(usize, Time)> {
        let would = |interrupt: &Interrupt| match interrupt.vector {
            Vector::CallFunction => self.irqs_on,
            // Microcode serves it.
            Vector::RemoteAction => true,
            // A CPU without a step waits for no tick: when it has one, it sweeps before.
            Vector::LazySweep => self.irqs_on && self.state != RunState::Parked,
        };
        // Nearly always it is the one at the head.
        let first = self.inbox.front()?;
        if would(first) {
            return Some((0, first.arrives));
        }
        let at = self.inbox.iter().position(would)?;
        Some((at, self.inbox.get(at)?.arrives))
    }
}
