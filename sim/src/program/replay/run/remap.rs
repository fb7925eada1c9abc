//! Recorded mremap: the mapping that the simulation knows moves, and so does what is known of one whose file no fault has shown.

use daxsim_types::CpuId;

use super::{IMPOSSIBLE, RecordedCall, Replayer, range_end};
use crate::kernel::RemapRequest;
use crate::program::Action;
use crate::simulation::{SimError, Simulation};

impl Replayer {
    /// `from` and `to`: first address and bytes.
    pub(super) fn remapped(
        &mut self,
        sim: &mut Simulation,
        call: &RecordedCall,
        cpu: CpuId,
        from: (u64, u64),
        to: (u64, u64),
        dont_unmap: bool,
    ) -> Result<(), SimError> {
        let (Some(end), Some(new_end)) = (range_end(sim, from.0, from.1), range_end(sim, to.0, to.1)) else {
            self.ignore(IMPOSSIBLE);
            return Ok(());
        };
        let (start, len, new_len) = (from.0, end - from.0, new_end - to.0);
        let moved = to.0 != start;
        let comm = self.comm(call.pid);
        self.state.remapped(sim, call.pid, &comm, (start, end), (to.0, new_end), dont_unmap);
        let Some(mm) = self.state.known_process(call.pid) else { return Ok(()) };
        let whole = sim.with(|m| {
            let vma = m.mm(mm).find_vma(daxsim_types::VirtAddr(start));
            vma.is_some_and(|vma| vma.end >= start + len.min(new_len))
        });
        if whole {
            let request = RemapRequest { start, len, new_len, to: moved.then_some(to.0), dont_unmap };
            return self.step(sim, call.line, call.pid, cpu, Some(mm), Action::Remap(request));
        }
        // Faults have shown parts of the mapping, if any: those at the old place are gone, others show the new one.
        if !dont_unmap && moved {
            self.replace_mappings(sim, call, cpu, start, len)?;
        }
        if moved {
            return self.replace_mappings(sim, call, cpu, to.0, new_len);
        }
        self.replace_mappings(sim, call, cpu, start + new_len, len.saturating_sub(new_len))
    }
}
