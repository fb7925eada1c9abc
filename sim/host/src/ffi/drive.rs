//! Functions that let the machine do something.

use std::ffi::c_void;

use daxsim_types::VirtAddr;

use super::{DaxsimAccess, DaxsimMachine, DaxsimTaken, Failure, Status, null, page_of, store, with_machine};
use crate::{Access, GuestMemory, Invpcid, Machine, Mode, NoSuchCpu, Range, Time};

impl From<NoSuchCpu> for Failure {
    fn from(error: NoSuchCpu) -> Self {
        Self::new(Status::Cpu, error)
    }
}

/// Makes `count` accesses in order. If `took_ps` is not NULL, what each took is stored there, in picoseconds, without the
/// instructions before it. If `made` is not NULL, the number of accesses that were made is stored there: after a failure, that of
/// those before the wrong one.
///
/// # Safety
///
/// `accesses` and `took_ps` have room for `count`; `machine` is one, in use by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_run(
    machine: *mut DaxsimMachine,
    accesses: *const DaxsimAccess,
    count: usize,
    took_ps: *mut u64,
    made: *mut usize,
) -> Status {
    let work = |machine: &mut Machine| {
        if accesses.is_null() && count > 0 {
            return Err(null("accesses"));
        }
        let accesses: &[Access] = if count == 0 {
            &[]
        } else {
            // SAFETY: `count` valid records, whose layout is that of `Access`, without invalid values.
            unsafe { std::slice::from_raw_parts(accesses.cast(), count) }
        };
        let done = if took_ps.is_null() {
            machine.run(accesses, |_, _| {})
        } else {
            // SAFETY: there is room for `count`, and `at` is below.
            machine.run(accesses, |at, took| unsafe { took_ps.add(at).write(took.0) })
        };
        let number = done.as_ref().map_or_else(|(at, _)| *at, |()| count);
        // SAFETY: null or may be written.
        unsafe { store(made, number) };
        done.map_err(|(at, error)| Failure(Status::Access, format!("access {at}: {error}")))
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

/// Works with a machine, and stores the time that it took.
///
/// # Safety
///
/// As for [`with_machine`] and [`store`].
unsafe fn timed(
    machine: *mut DaxsimMachine,
    took_ps: *mut u64,
    work: impl FnOnce(&mut Machine) -> Result<Time, NoSuchCpu>,
) -> Status {
    let work = |machine: &mut Machine| {
        let took = work(machine)?;
        // SAFETY: the caller's promise.
        unsafe { store(took_ps, took.0) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

/// Lets a CPU execute instructions whose data hit the L1D; of the kernel if `kernel` is not 0.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_execute(
    machine: *mut DaxsimMachine,
    cpu: u16,
    kernel: u8,
    instructions: u64,
    took_ps: *mut u64,
) -> Status {
    let mode = if kernel == 0 { Mode::User } else { Mode::Kernel };
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.execute(cpu, mode, instructions)) }
}

/// Lets a CPU be idle until its clock is at `until_ps`; does nothing if that is past.
///
/// # Safety
///
/// `machine` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_idle_until(machine: *mut DaxsimMachine, cpu: u16, until_ps: u64) -> Status {
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, |m| Ok(m.idle_until(cpu, Time(until_ps))?)) }
}

/// INVLPG.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_invlpg(
    machine: *mut DaxsimMachine,
    cpu: u16,
    va: u64,
    took_ps: *mut u64,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.invlpg(cpu, va)) }
}

/// INVPCID of a type: 0 an address under a PCID, 1 a PCID, 2 everything with global pages, 3 everything but these. What the type does
/// not need is ignored.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_invpcid(
    machine: *mut DaxsimMachine,
    cpu: u16,
    kind: u32,
    pcid: u16,
    va: u64,
    took_ps: *mut u64,
) -> Status {
    let work = |m: &mut Machine| {
        let what = match kind {
            0 => Invpcid::Address(pcid, VirtAddr(va)),
            1 => Invpcid::Context(pcid),
            2 => Invpcid::AllWithGlobals,
            3 => Invpcid::All,
            other => return Err(Failure(Status::Value, format!("INVPCID of type {other}: expected 0 to 3"))),
        };
        let took = m.invpcid(cpu, what)?;
        // SAFETY: null or may be written.
        unsafe { store(took_ps, took.0) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

/// MOV to CR3. `root` is any number that stands for the address space; with `daxsim_set_guest_memory` the physical address of its
/// root. Unless `noflush` is set, what is cached under `pcid` goes.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_mov_cr3(
    machine: *mut DaxsimMachine,
    cpu: u16,
    root: u64,
    pcid: u16,
    noflush: u8,
    took_ps: *mut u64,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.mov_cr3(cpu, root, pcid, noflush != 0)) }
}

/// Drops everything of a CPU, global pages too: CR4.PGE cleared and set again.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_flush_all(
    machine: *mut DaxsimMachine,
    cpu: u16,
    took_ps: *mut u64,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.flush_all(cpu)) }
}

/// Sends an interrupt from one CPU to another, which has it a while later.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_send_ipi(
    machine: *mut DaxsimMachine,
    from: u16,
    to: u16,
    took_ps: *mut u64,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.send_ipi(from, to)) }
}

/// Lets a CPU take the interrupt that reaches it first: its clock goes on to the first instruction of the handler. `any` gets 1 and
/// `taken` what it was; `any` gets 0 if none was sent.
///
/// # Safety
///
/// `machine` is one; `taken` and `any` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_take_interrupt(
    machine: *mut DaxsimMachine,
    cpu: u16,
    taken: *mut DaxsimTaken,
    any: *mut u8,
) -> Status {
    let work = |m: &mut Machine| {
        let found = m.take_interrupt(cpu)?;
        // SAFETY: null or may be written.
        unsafe { store(any, u8::from(found.is_some())) };
        if let Some(it) = found {
            let it = DaxsimTaken {
                from: it.from,
                sent_ps: it.sent.0,
                arrived_ps: it.arrived.0,
                handled_ps: it.handled.0,
            };
            // SAFETY: null or may be written.
            unsafe { store(taken, it) };
        }
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

/// Lets a CPU leave the handler of an interrupt: EOI and IRET.
///
/// # Safety
///
/// `machine` is one; `took_ps` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_end_interrupt(
    machine: *mut DaxsimMachine,
    cpu: u16,
    took_ps: *mut u64,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { timed(machine, took_ps, |m| m.end_interrupt(cpu)) }
}

/// Says that the addresses from `start` to `last` are mapped by pages of `page` (one of `DAXSIM_PAGE_`), where their physical
/// addresses allow it. Of overlapping ranges the one added first counts.
///
/// # Safety
///
/// `machine` is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_add_range(
    machine: *mut DaxsimMachine,
    start: u64,
    last: u64,
    page: u8,
) -> Status {
    let work = |m: &mut Machine| {
        m.add_range(Range { start, last, page: page_of(page)? });
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

/// Reads eight bytes of the guest's memory at a physical address that is a multiple of eight into `word`; returns 0 if there is
/// no memory, else 1. It must not call functions of this machine.
pub type DaxsimReadGuest = Option<unsafe extern "C" fn(context: *mut c_void, pa: u64, word: *mut u64) -> u8>;

/// A reader of the guest's memory in C.
struct CGuest {
    read: unsafe extern "C" fn(*mut c_void, u64, *mut u64) -> u8,
    context: *mut c_void,
}

// SAFETY: whoever moves a machine to another thread moves its reader with it; the header says that a machine is used by one
// thread at a time.
unsafe impl Send for CGuest {}

impl GuestMemory for CGuest {
    fn read(&mut self, pa: u64) -> Option<u64> {
        let mut word = 0;
        // SAFETY: the host promised that it may be called until the machine is freed.
        let found = unsafe { (self.read)(self.context, pa, &raw mut word) };
        (found != 0).then_some(word)
    }
}

/// Lets TLB misses read the guest's own page tables: `read` is called with `context` until the machine is freed. The roots given to
/// `daxsim_mov_cr3` are physical addresses from then on.
///
/// # Safety
///
/// `machine` is one; `read` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_set_guest_memory(
    machine: *mut DaxsimMachine,
    read: DaxsimReadGuest,
    context: *mut c_void,
) -> Status {
    let work = |m: &mut Machine| {
        let read = read.ok_or_else(|| null("read"))?;
        m.set_guest_memory(Box::new(CGuest { read, context }));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}
