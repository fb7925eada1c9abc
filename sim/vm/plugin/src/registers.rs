//! Registers of a vCPU. Since version 2 the plugin interface tells them. Before, QEMU's own `cpu_dump_state` prints them: a QEMU that has
//! loadable modules, as those of distributions have, shows its functions to all that it loads.

mod by_api;
mod by_dump;

use by_api::ByApi;
use by_dump::ByDump;

use crate::say;

/// The page-global bit of CR4.
const PGE: u64 = 1 << 7;
/// Its bit for five levels of page tables.
const LA57: u64 = 1 << 12;
/// How the general registers are called, by number, and those of control.
const NAMES: [&str; 18] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "cr3", "cr4",
];
const GENERAL: u8 = 16;
const CR3: usize = 16;
const CR4: usize = 17;

/// QEMU's functions for them.
pub(crate) enum Registers {
    Api(ByApi),
    Dump(ByDump),
}

impl Registers {
    /// Finds the functions.
    ///
    /// # Errors
    ///
    /// The name of one that this QEMU does not show.
    pub(crate) fn find() -> Result<Self, String> {
        ByApi::find().map(Self::Api).or_else(|_| ByDump::find().map(Self::Dump))
    }

    /// Learns which registers there are.
    ///
    /// # Safety
    ///
    /// Called in the callback in which a vCPU begins.
    pub(crate) unsafe fn learn(&self) {
        if let Self::Api(api) = self
            // SAFETY: as the caller says.
            && let Err(why) = unsafe { api.learn() }
        {
            say(&format!("{why}: what changes translations is not streamed"));
        }
    }

    /// Those of a vCPU.
    ///
    /// # Safety
    ///
    /// Called in a callback of this vCPU at the begin of a block that was asked for as one that reads registers.
    pub(crate) unsafe fn read(&self, vcpu: u32) -> Option<State> {
        match self {
            // SAFETY: as the caller says.
            Self::Api(api) => unsafe { api.read() },
            // SAFETY: as the caller says.
            Self::Dump(dump) => unsafe { dump.read(vcpu) },
        }
    }
}

/// Registers in the order of [`NAMES`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State([Option<u64>; NAMES.len()]);

impl State {
    /// The physical address of the root, if page tables have four levels.
    pub(crate) fn root(&self) -> Option<u64> {
        let four = self.0[CR4]? & LA57 == 0;
        four.then_some(self.0[CR3]).flatten()
    }

    /// Whether global pages are on.
    pub(crate) fn global_pages(&self) -> Option<bool> {
        Some(self.0[CR4]? & PGE != 0)
    }

    /// A general register.
    pub(crate) fn general(&self, number: u8) -> Option<u64> {
        if number < GENERAL { self.0[usize::from(number)] } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_of_five_levels_is_not_told() {
        let with = |cr4| {
            let mut all = [Some(7); NAMES.len()];
            (all[CR3], all[CR4]) = (Some(0x3c4_a000), Some(cr4));
            State(all)
        };
        assert_eq!((with(0x35_06f0).root(), with(0x35_06f0).global_pages()), (Some(0x3c4_a000), Some(true)));
        assert_eq!((with(0x35_16f0).root(), with(0x35_0670).global_pages()), (None, Some(false)));
        assert_eq!((with(0).general(15), with(0).general(16)), (Some(7), None));
    }
}
