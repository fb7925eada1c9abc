//! The births, new programs and deaths of tasks, which the recorded events show only in passing.

use std::collections::BTreeSet;

use daxsim_traces::ftrace::{Event, FaultFlags, Probe, Record, SysEnter};

use super::group::Action;

/// The page in which exec puts the arguments of a new program before it is loaded, seen through `get_user_pages`: the last
/// below `STACK_TOP_MAX` (fs/exec.c:__bprm_mm_init, arch/x86/include/asm/page_64_types.h), of four levels of paging or of five.
const ARGUMENTS: [std::ops::Range<u64>; 2] =
    [0x7fff_ffff_e000..0x7fff_ffff_f000, 0xff_ffff_ffff_e000..0xff_ffff_ffff_f000];

/// Whether a call that makes a task lets it share the address space; `None` for other calls.
pub(super) fn shares_mm(call: &SysEnter) -> Option<bool> {
    /// `CLONE_VM` (include/uapi/linux/sched.h).
    const CLONE_VM: u64 = 0x100;
    match call {
        SysEnter::Clone { flags } => Some(flags & CLONE_VM != 0),
        // The flags of clone3 are in memory that the trace does not show; threads are what it is used for.
        SysEnter::Clone3 => Some(true),
        // The child of vfork leaves the address space by exec, which is seen, or by its end.
        SysEnter::Vfork => Some(true),
        SysEnter::Fork => Some(false),
        _ => None,
    }
}

/// What is known of the lives of the tasks.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Highest task number so far: new tasks have higher ones.
    highest: u32,
    /// Tasks that have begun an exec.
    executing: BTreeSet<u32>,
    /// Children that ran before their parent's call returned.
    announced: BTreeSet<u32>,
}

impl Lives {
    /// What a record says of a task's life, beside what it is itself. `calls` are the calls that tasks are inside.
    pub fn watch<'a>(
        &mut self,
        record: &Record,
        in_fault: bool,
        calls: impl Iterator<Item = (&'a u32, &'a SysEnter)>,
    ) -> Option<(u32, Action)> {
        let pid = record.pid;
        if pid > self.highest {
            let first = self.highest == 0;
            self.highest = pid;
            let mut parents = calls.filter_map(|(parent, call)| Some((*parent, shares_mm(call)?)));
            if let (false, Some((parent, shares_mm)), None) = (first, parents.next(), parents.next()) {
                self.announced.insert(pid);
                return Some((parent, Action::Forked { child: pid, shares_mm }));
            }
        }
        match &record.event {
            Event::SchedSwitch { prev_pid, prev_state: b'Z' | b'X', .. } if *prev_pid != 0 => {
                self.executing.remove(prev_pid);
                Some((*prev_pid, Action::Exited))
            }
            Event::Probe(Probe::HandleMmFaultRet { addr, flags, .. })
                if !in_fault
                    && ARGUMENTS.iter().any(|page| page.contains(&addr.0))
                    && flags.contains(FaultFlags::WRITE) =>
            {
                self.executing.insert(pid);
                None
            }
            // The old address space goes, or the stack of the new one is made ready.
            Event::KprobeOther { name }
                if matches!(name.as_str(), Some("unmap_vmas" | "change_protection_ret")) =>
            {
                self.executing.remove(&pid).then_some((pid, Action::Executed))
            }
            _ => None,
        }
    }

    /// Whether a call made a child that is known already.
    pub fn is_announced(&mut self, action: &Action) -> bool {
        matches!(action, Action::Forked { child, .. } if self.announced.remove(child))
    }
}
