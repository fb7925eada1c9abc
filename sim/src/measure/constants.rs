//! What each constant of the machine and of the kernel took of the CPUs' time.

use std::ops::AddAssign;

use daxsim_configs::kernel::PathLength;
use daxsim_types::Time;

/// A fixed cost that a CPU spends as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Constant {
    /// `cost.exception_entry`
    ExceptionEntry,
    /// `cost.iret`
    Iret,
    /// `cost.syscall_entry`
    SyscallEntry,
    /// `cost.syscall_exit`
    SyscallExit,
    /// `cost.invlpg`
    Invlpg,
    /// `cost.invpcid`
    Invpcid,
    /// `cost.invpcid_context`
    InvpcidContext,
    /// `cost.cr3_write`
    Cr3Write,
    /// `cost.cr4_write`
    Cr4Write,
    /// `cost.tlb_write`
    TlbWrite,
    /// `cost.invlpgb`
    Invlpgb,
    /// `cost.locked_rmw`
    LockedRmw,
    /// `cost.clwb_issue`, of the kernel
    ClwbIssue,
    /// `ipi.icr_write`
    IcrWrite,
    /// `ipi.handler_entry`
    HandlerEntry,
    /// `ipi.handler_exit`
    HandlerExit,
    /// `ipi.rar_action`
    RarAction,
}

impl Constant {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::ExceptionEntry,
        Self::Iret,
        Self::SyscallEntry,
        Self::SyscallExit,
        Self::Invlpg,
        Self::Invpcid,
        Self::InvpcidContext,
        Self::Cr3Write,
        Self::Cr4Write,
        Self::TlbWrite,
        Self::Invlpgb,
        Self::LockedRmw,
        Self::ClwbIssue,
        Self::IcrWrite,
        Self::HandlerEntry,
        Self::HandlerExit,
        Self::RarAction,
    ];

    /// The key of a machine file that sets it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::ExceptionEntry => "cost.exception_entry",
            Self::Iret => "cost.iret",
            Self::SyscallEntry => "cost.syscall_entry",
            Self::SyscallExit => "cost.syscall_exit",
            Self::Invlpg => "cost.invlpg",
            Self::Invpcid => "cost.invpcid",
            Self::InvpcidContext => "cost.invpcid_context",
            Self::Cr3Write => "cost.cr3_write",
            Self::Cr4Write => "cost.cr4_write",
            Self::TlbWrite => "cost.tlb_write",
            Self::Invlpgb => "cost.invlpgb",
            Self::LockedRmw => "cost.locked_rmw",
            Self::ClwbIssue => "cost.clwb_issue",
            Self::IcrWrite => "ipi.icr_write",
            Self::HandlerEntry => "ipi.handler_entry",
            Self::HandlerExit => "ipi.handler_exit",
            Self::RarAction => "ipi.rar_action",
        }
    }
}

/// Time that constants took, of one CPU or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    fixed: [Time; Constant::ALL.len()],
    /// By the number of the path length's key.
    blocks: Vec<Time>,
}

impl Spent {
    /// A fixed cost was spent.
    #[inline]
    pub(crate) fn constant(&mut self, of: Constant, time: Time) {
        self.fixed[of as usize] += time;
    }

    /// A building block was executed.
    #[inline]
    pub(crate) fn block(&mut self, block: PathLength, time: Time) {
        let at = usize::from(block.key);
        if at >= self.blocks.len() {
            self.blocks.resize(at + 1, Time::ZERO);
        }
        self.blocks[at] += time;
    }

    /// The fixed costs that took any time.
    pub fn constants(&self) -> impl Iterator<Item = (Constant, Time)> {
        let all = Constant::ALL.into_iter().map(|of| (of, self.fixed[of as usize]));
        all.filter(|(_, time)| *time > Time::ZERO)
    }

    /// The path lengths that took any, by the numbers that [`daxsim_configs::kernel_key`] takes.
    pub fn blocks(&self) -> impl Iterator<Item = (u16, Time)> {
        let all = (0..).zip(self.blocks.iter().copied());
        all.filter(|(_, time)| *time > Time::ZERO)
    }
}

impl AddAssign<&Self> for Spent {
    fn add_assign(&mut self, other: &Self) {
        for (sum, time) in self.fixed.iter_mut().zip(other.fixed) {
            *sum += time;
        }
        if other.blocks.len() > self.blocks.len() {
            self.blocks.resize(other.blocks.len(), Time::ZERO);
        }
        for (sum, time) in self.blocks.iter_mut().zip(&other.blocks) {
            *sum += *time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_constant_has_a_place_and_a_key_of_its_own() {
        for (n, of) in Constant::ALL.into_iter().enumerate() {
            assert_eq!(of as usize, n, "{of:?}");
            assert_eq!(Constant::ALL.iter().filter(|other| other.key() == of.key()).count(), 1, "{of:?}");
        }
    }

    #[test]
    fn times_of_cpus_are_summed_by_constant_and_by_block() {
        let block = |key| PathLength { key, ..PathLength::of_instructions(10) };
        let (mut one, mut two) = (Spent::default(), Spent::default());
        one.constant(Constant::Iret, Time(5));
        one.block(block(0), Time(1));
        two.constant(Constant::Iret, Time(7));
        two.block(block(3), Time(2));
        one += &two;
        assert_eq!(one.constants().collect::<Vec<_>>(), [(Constant::Iret, Time(12))]);
        assert_eq!(one.blocks().collect::<Vec<_>>(), [(0, Time(1)), (3, Time(2))]);
    }
}
