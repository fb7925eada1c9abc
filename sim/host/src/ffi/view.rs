//! Functions that tell of the machine.

use super::{
    DaxsimCounts, DaxsimMachine, DaxsimMapping, DaxsimMemory, DaxsimStructure, Failure, Status, null, store,
    with_machine,
};
use crate::{Machine, Mode, NoSuchCpu};

/// Looks at a machine, and stores what is found.
///
/// # Safety
///
/// `machine` is one; `out` may be written, or is null.
unsafe fn view<T>(
    machine: *mut DaxsimMachine,
    out: *mut T,
    look: impl FnOnce(&Machine) -> Result<T, Failure>,
) -> Status {
    let work = |machine: &mut Machine| {
        if out.is_null() {
            return Err(null("out"));
        }
        let found = look(machine)?;
        // SAFETY: the caller's promise.
        unsafe { store(out, found) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { with_machine(machine, work) }
}

fn check_cpu(machine: &Machine, cpu: u16) -> Result<(), Failure> {
    let count = machine.cpus();
    if usize::from(cpu) < count { Ok(()) } else { Err(NoSuchCpu { cpu, count }.into()) }
}

/// CPUs of the machine.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_cpu_count(machine: *mut DaxsimMachine, out: *mut u16) -> Status {
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| Ok(m.cpus() as u16)) }
}

/// Length of a cycle of the cores, in picoseconds.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_cycle_ps(machine: *mut DaxsimMachine, out: *mut u64) -> Status {
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| Ok(m.spec().cpu.clock.period_ps())) }
}

/// The clock of a CPU, in picoseconds.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_now(machine: *mut DaxsimMachine, cpu: u16, out: *mut u64) -> Status {
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| check_cpu(m, cpu).map(|()| m.now(cpu).0)) }
}

/// What a CPU did; in the kernel if `kernel` is not 0.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_counts(
    machine: *mut DaxsimMachine,
    cpu: u16,
    kernel: u8,
    out: *mut DaxsimCounts,
) -> Status {
    let mode = if kernel == 0 { Mode::User } else { Mode::Kernel };
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| check_cpu(m, cpu).map(|()| m.counts(cpu, mode).into())) }
}

/// Counts of a CPU's TLBs and paging-structure caches: up to `room` of them are stored to `out`, and how many there are to `count`.
///
/// # Safety
///
/// `machine` is one; `out` has room for `room`; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_structures(
    machine: *mut DaxsimMachine,
    cpu: u16,
    out: *mut DaxsimStructure,
    room: usize,
    count: *mut usize,
) -> Status {
    let look = |m: &Machine| {
        check_cpu(m, cpu)?;
        if out.is_null() && room > 0 {
            return Err(null("out"));
        }
        let all = m.translation(cpu);
        for (at, (name, stats)) in all.iter().enumerate().take(room) {
            // SAFETY: there is room for `room`, and `at` is below.
            unsafe { out.add(at).write(DaxsimStructure::new(name, stats)) };
        }
        Ok(all.len())
    };
    // SAFETY: the caller's promise.
    unsafe { view(machine, count, look) }
}

/// Counts of the caches and controllers.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_memory(machine: *mut DaxsimMachine, out: *mut DaxsimMemory) -> Status {
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| Ok((&m.memory()).into())) }
}

/// How the page tables came about.
///
/// # Safety
///
/// `machine` is one; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_mapping(machine: *mut DaxsimMachine, out: *mut DaxsimMapping) -> Status {
    // SAFETY: the caller's promise.
    unsafe { view(machine, out, |m| Ok(m.mapping().into())) }
}
