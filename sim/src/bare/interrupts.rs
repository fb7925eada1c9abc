//! Interrupts that one CPU of the host sends to others.

use daxsim_types::{CpuId, Time};

use super::Bare;
use super::maintain::NoSuchCpu;
use crate::measure::Part;

/// An interrupt on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    from: u16,
    sent: Time,
    at: Time,
}

/// An interrupt that a CPU has taken: it is at the first instruction of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Who sent it.
    pub from: u16,
    /// When the sender had written its ICR.
    pub sent: Time,
    /// When the target's local APIC accepted it.
    pub arrived: Time,
    /// When the handler began.
    pub handled: Time,
}

impl Bare {
    /// Sends an interrupt to one CPU: a write of the ICR in physical mode. Returns what the sender spent. The target has it
    /// later, at a time that depends on how far apart the two are, and takes it when the host says so.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`], of either.
    pub fn send_ipi(&mut self, from: u16, to: u16) -> Result<Time, NoSuchCpu> {
        let target = usize::from(to);
        if target >= self.cpus() {
            return Err(NoSuchCpu { cpu: to, count: self.cpus() });
        }
        let index = self.arrive(from)?;
        self.maintained[index].sent += 1;
        Ok(self.spending(index, Part::Flush, |bare| {
            let (sent, at) = bare.machine.write_icr(CpuId(from), CpuId(to));
            let waiting = &mut bare.arrivals[target];
            let place = waiting.partition_point(|other| other.at <= at);
            waiting.insert(place, Arrival { from, sent, at });
        }))
    }

    /// Interrupts that a CPU has not taken yet.
    #[must_use]
    pub fn pending(&self, cpu: u16) -> usize {
        self.arrivals.get(usize::from(cpu)).map_or(0, std::collections::VecDeque::len)
    }

    /// Lets a CPU take the interrupt that reaches it first, when that is there: its clock goes on to the first instruction of the
    /// handler. `None` if none was sent.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn take_interrupt(&mut self, cpu: u16) -> Result<Option<Taken>, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        let Some(Arrival { from, sent, at }) = self.arrivals[index].pop_front() else { return Ok(None) };
        self.maintained[index].taken += 1;
        let entry = self.machine.spec.ipi.handler_entry;
        self.spending(index, Part::IpiHandler, |bare| {
            let core = &mut bare.machine.cpus[index];
            core.wait_until(at, Part::Idle);
            core.spend(entry);
        });
        Ok(Some(Taken { from, sent, arrived: at, handled: self.now(cpu) }))
    }

    /// Lets a CPU leave the handler: EOI and IRET. Returns their cost.
    ///
    /// # Errors
    ///
    /// [`NoSuchCpu`]
    pub fn end_interrupt(&mut self, cpu: u16) -> Result<Time, NoSuchCpu> {
        let index = self.arrive(cpu)?;
        let exit = self.machine.spec.ipi.handler_exit;
        Ok(self.spending(index, Part::IpiHandler, |bare| bare.machine.cpus[index].spend(exit)))
    }
}
