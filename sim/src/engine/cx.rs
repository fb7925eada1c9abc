//! What running work sees: its CPU, the machine, and the micro-operations that take time.

use std::future::poll_fn;
use std::task::Poll;

use daxsim_configs::kernel::{CommonPath, DaxKnobs, PathLength};
use daxsim_types::{CacheLine, CpuId, Time};

use super::touch::{GiveWay, TakeLock, Touch, Unlock};
use super::{LockId, LockMode, Moment, StringOp, Sys};
use crate::cpu::{Cpu, RunState};
use crate::kernel::FaultTrail;
use crate::machine::Machine;
use crate::measure::{Part, PathStep};
use crate::memory::Access;
use crate::observe::{Begins, MicroOp};

/// The work of one CPU, seen from inside.
#[derive(Clone, Copy)]
pub struct Cx<'s> {
    sys: &'s Sys,
    cpu: CpuId,
}

impl<'s> Cx<'s> {
    /// The view of `cpu`.
    #[must_use]
    pub fn new(sys: &'s Sys, cpu: CpuId) -> Self {
        Self { sys, cpu }
    }

    /// The CPU.
    #[must_use]
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// The system, for making other views.
    #[must_use]
    pub fn sys(&self) -> &'s Sys {
        self.sys
    }

    /// The moment until which this CPU may act without giving way.
    pub(crate) fn horizon(&self) -> Moment {
        self.sys.horizon.get()
    }

    /// Looks at or changes the machine, in no time.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(&mut Machine) -> R) -> R {
        self.sys.with(f)
    }

    /// Looks at or changes this CPU.
    #[inline(always)]
    pub(crate) fn on_cpu<R>(&self, f: impl FnOnce(&mut Cpu) -> R) -> R {
        self.sys.with(|m| f(&mut m.cpus[self.cpu.index()]))
    }

    /// This CPU's time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.on_cpu(|c| c.now)
    }

    /// Attributes what follows to `part`; returns what it was, to be put back.
    pub(crate) fn set_part(&self, part: Part) -> Part {
        self.on_cpu(|c| std::mem::replace(&mut c.part, part))
    }

    /// Executes a building block. Of the lines that it touches, those with a name are accessed beside it ([`Cx::load`] and
    /// so on): a block's loads and stores hold these accesses, so they add time, but nothing to the counts.
    #[track_caller]
    pub(crate) fn work(&self, block: PathLength) {
        self.begins_op(MicroOp::Block);
        self.on_cpu(|c| c.work(block));
    }

    /// Lets a fixed cost pass.
    #[track_caller]
    pub(crate) fn spend(&self, dt: Time) {
        self.begins_op(MicroOp::Fixed);
        self.on_cpu(|c| c.spend(dt));
    }

    /// Waits until no other CPU with something to do is behind this one, taking interrupts that are due.
    pub(crate) fn sync(&self) -> GiveWay<'s> {
        GiveWay::new(self.sys, self.cpu.index(), true)
    }

    /// Waits until no other CPU with something to do is behind this one. Interrupts have to wait.
    pub(crate) fn give_way(&self) -> GiveWay<'s> {
        GiveWay::new(self.sys, self.cpu.index(), false)
    }

    /// Gives way until another CPU wakes this one.
    pub(crate) async fn blocked(&self) {
        poll_fn(|_| if self.on_cpu(|c| c.state.is_waiting()) { Poll::Pending } else { Poll::Ready(()) })
            .await;
    }

    /// Lets the thread sleep: the CPU is idle, and lazy about its address space, until then.
    pub(crate) async fn sleep(&self, dt: Time) {
        self.on_cpu(|c| {
            c.state = RunState::Asleep(c.now + dt);
            c.tlb_state.lazy = c.tlb_state.loaded_mm.is_some();
        });
        self.blocked().await;
    }

    /// `schedule` of a thread that another CPU will wake: the CPU is idle, and lazy about its address space, until it switches
    /// back to the thread.
    pub(crate) async fn schedule(&self, part: Part) {
        let index = self.cpu.index();
        let mm = self.sys.with(|m| {
            m.block(index, part);
            let state = &mut m.cpus[index].tlb_state;
            state.lazy = state.loaded_mm.is_some();
            state.loaded_mm
        });
        self.blocked().await;
        if let Some(mm) = mm {
            self.sys.with(|m| m.run_again(index, mm));
        }
    }

    /// A kernel load of a named line. Its stall beyond the L1D is memory time.
    #[track_caller]
    pub(crate) fn load(&self, line: CacheLine) -> Touch<'s> {
        self.begins(Begins::Load(line));
        Touch::new(self.sys, self.cpu.index(), line, Access::Read)
    }

    /// A kernel store.
    #[track_caller]
    pub(crate) fn store(&self, line: CacheLine) -> Touch<'s> {
        self.begins(Begins::Store(line));
        Touch::new(self.sys, self.cpu.index(), line, Access::Write)
    }

    /// A locked read-modify-write.
    #[track_caller]
    pub(crate) fn rmw(&self, line: CacheLine) -> Touch<'s> {
        self.begins(Begins::Locked(line));
        Touch::new(self.sys, self.cpu.index(), line, Access::Rmw)
    }

    /// A locked read-modify-write of a count in a `struct page`.
    #[track_caller]
    pub(crate) fn rmw_struct_page(&self, line: CacheLine) -> impl Future<Output = ()> + use<'s> {
        self.rmw(line).and(|m| m.measure.struct_page_rmws += 1)
    }

    /// Takes a lock, waiting for it if need be.
    #[track_caller]
    pub(crate) fn lock(&self, id: LockId, mode: LockMode) -> TakeLock<'s> {
        self.begins(Begins::Lock(id));
        TakeLock::new(self.sys, self.cpu.index(), id, mode)
    }

    /// Takes a lock if that needs no waiting: its word is read, and exchanged if it is still what it was
    /// (`__down_read_trylock`, `__refcount_inc_not_zero_limited_acquire`). If it is not, the exchange is tried again at once, with the
    /// line here.
    pub(crate) async fn try_lock(&self, id: LockId, mode: LockMode) -> bool {
        let line = self.sys.with(|m| m.locks.line(id));
        let seen = self.load(line).and(move |m| m.locks.changes(id)).await;
        let (current, taken) =
            self.rmw(line).and(move |m| (m.locks.changes(id), m.locks.try_acquire(id, mode))).await;
        if current != seen {
            let again = self.sys.with(|m| m.spec.cost.locked_rmw);
            self.spend(again);
        }
        if let Some(owner) = self.sys.with(|m| m.locks.owner_line(id)).filter(|_| taken) {
            // The line may be somebody else's again.
            self.store(owner).await;
        }
        taken
    }

    /// Gives a lock up.
    #[track_caller]
    pub(crate) fn unlock(&self, id: LockId, mode: LockMode) -> Unlock<'s> {
        self.begins(Begins::Unlock(id));
        Unlock::new(self.sys, self.cpu.index(), id, mode)
    }

    /// Goes on as a reader with a lock held for writing.
    pub(crate) async fn demote(&self, id: LockId) {
        let line = self.sys.with(|m| m.locks.line(id));
        self.rmw(line).await;
        for next in self.sys.with(|m| m.locks.demote(id)) {
            self.sys.with(|m| self.sys.hand_over(m, self.cpu.index(), next, id));
        }
    }

    /// The hand-over of a lock whose word was already stored: its next holders go on from now.
    pub(crate) fn release(&self, id: LockId, mode: LockMode) {
        self.sys.with(|m| self.sys.release(m, self.cpu.index(), id, mode));
    }

    /// Lets a blocked CPU go on from this CPU's time.
    pub(crate) fn wake(&self, index: usize) {
        self.sys.with(|m| self.sys.wake(m, self.cpu.index(), index));
    }

    /// What follows from the knobs of the insert.
    pub(crate) fn knob<R: PartialEq>(&self, question: impl Fn(&DaxKnobs) -> R) -> R {
        self.sys.with(|m| m.kernel.ask(|k| question(&k.dax)))
    }

    /// Executes a named building block of the kernel's path.
    #[track_caller]
    pub(crate) fn step(&self, block: impl Fn(&CommonPath) -> PathLength) {
        self.begins_op(MicroOp::Block);
        self.sys.with(|m| {
            let block = m.kernel.ask(|k| block(&k.path_length.common));
            m.cpus[self.cpu.index()].work(block);
        });
    }

    /// Counts a string operation over a page, whose time is that of its lines, and begins it.
    #[track_caller]
    pub(crate) fn string_step(&self, block: impl Fn(&CommonPath) -> PathLength) -> StringOp<'s> {
        self.sys.with(|m| {
            let block = m.kernel.ask(|k| block(&k.path_length.common));
            m.cpus[self.cpu.index()].count(block);
        });
        self.string_op()
    }

    /// Begins a string operation that a path length holds, or none.
    #[track_caller]
    pub(crate) fn string_op(&self) -> StringOp<'s> {
        self.begins_op(MicroOp::Copy);
        StringOp::string(*self)
    }

    /// Begins a run of stores that the core overlaps, and whose instructions are counted elsewhere.
    #[track_caller]
    pub(crate) fn stores(&self) -> StringOp<'s> {
        self.begins_op(MicroOp::Stores);
        StringOp::stores(*self)
    }

    /// Adds to what is known of the fault being handled.
    pub(crate) fn trail(&self, change: impl FnOnce(&mut FaultTrail)) {
        self.sys.with(|m| change(&mut m.trails[self.cpu.index()]));
    }

    /// Notes a step on the fault's path, if faults are recorded.
    #[inline]
    pub(crate) fn note(&self, step: PathStep) {
        self.sys.with(|m| m.note_in_fault(self.cpu, step));
    }

    /// Turns interrupts off or on; returns what they were.
    pub(crate) fn set_irqs(&self, on: bool) -> bool {
        self.on_cpu(|c| std::mem::replace(&mut c.irqs_on, on))
    }
}
