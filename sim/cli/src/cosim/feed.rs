//! From the records of a ring to accesses of the machine.

use anyhow::{Context, Result};
use daxsim_ring::{Access as Streamed, Batch, Op};
use daxsim_sim::bare::{Access, Bare, flag};

use super::faults::Faults;

/// What of the stream is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Registers of devices.
    pub devices: u64,
    /// Memory of which the emulator does not know where it is.
    pub unknown: u64,
}

/// The machine, with the stream that goes in.
pub struct Feed {
    pub machine: Bare,
    pub left_out: LeftOut,
    pub faults: Faults,
    /// Records of the batch that is under way.
    accesses: Vec<Access>,
    /// Instructions of each vCPU before accesses that were left out.
    carried: Vec<u64>,
}

impl Feed {
    pub fn new(machine: Bare) -> Self {
        let pmem = &machine.spec().pmem;
        let faults = Faults::new(machine.cpus(), pmem.base..pmem.base + pmem.capacity);
        let carried = vec![0; machine.cpus()];
        Self { machine, left_out: LeftOut::default(), faults, accesses: Vec::new(), carried }
    }

    /// Makes the accesses of a batch.
    ///
    /// # Errors
    ///
    /// A vCPU or an access that the machine does not have.
    pub fn batch(&mut self, batch: &Batch) -> Result<()> {
        let count = self.machine.cpus();
        let cpu = u16::try_from(batch.vcpu).ok().filter(|cpu| usize::from(*cpu) < count);
        let cpu = cpu.with_context(|| {
            format!("vCPU {} of the guest, but the machine has {count}: raise cpu.count", batch.vcpu)
        })?;
        self.convert(cpu, batch);
        let accesses = std::mem::take(&mut self.accesses);
        let by_kernel = |access: &Access| access.flags & flag::KERNEL != 0;
        for chunk in accesses.chunk_by(|one, next| by_kernel(one) == by_kernel(next)) {
            let begun = self.machine.now(cpu);
            if chunk.first().is_some_and(by_kernel) {
                self.make(chunk)?;
                self.faults.kernel(cpu, begun, chunk);
            } else {
                // The access that a fault gave way to ends it.
                let Some((first, rest)) = chunk.split_first() else { continue };
                self.make(std::slice::from_ref(first))?;
                self.faults.user(cpu, first, self.machine.now(cpu));
                self.make(rest)?;
                self.faults.user_on(cpu, rest);
            }
        }
        self.accesses = accesses;
        Ok(())
    }

    fn make(&mut self, accesses: &[Access]) -> Result<()> {
        self.machine.run(accesses, |_, _| {}).map_err(|(_, error)| error).context("an access of the guest")
    }

    /// Replaces the accesses by those of a batch.
    fn convert(&mut self, cpu: u16, batch: &Batch) {
        self.accesses.clear();
        let carried = &mut self.carried[usize::from(cpu)];
        for streamed in batch.accesses() {
            *carried += u64::from(streamed.gap);
            if streamed.device {
                self.left_out.devices += 1;
            } else if let Some(access) = access_of(cpu, &streamed) {
                let instructions = u32::try_from(*carried).unwrap_or(u32::MAX);
                *carried -= u64::from(instructions);
                self.accesses.push(access.after(instructions));
            } else {
                self.left_out.unknown += 1;
            }
        }
    }
}

/// The access of a record, if its place is known.
#[inline]
fn access_of(cpu: u16, streamed: &Streamed) -> Option<Access> {
    let (va, pa) = (streamed.va.0, streamed.pa?.0);
    let access = match streamed.op {
        Op::Load => Access::load(cpu, va, pa),
        Op::Store => Access::store(cpu, va, pa),
    };
    let access = access.sized(streamed.size.into());
    // Linux maps the upper half by global pages, but with page-table isolation.
    let access = if va >> 63 == 0 { access } else { access.global() };
    Some(if streamed.user { access } else { access.by_kernel() })
}
