//! Registers of a vCPU. Version 1 of the plugin interface tells none; QEMU's own `cpu_dump_state` prints them. A QEMU that has
//! loadable modules, as those of distributions have, shows its functions to all that it loads.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;

use crate::api::symbol;

/// The page-global bit of CR4.
const PGE: u64 = 1 << 7;
/// Its bit for five levels of page tables.
const LA57: u64 = 1 << 12;
/// How the general registers are called, by number.
const GENERAL: [&str; 16] = [
    "RAX=", "RCX=", "RDX=", "RBX=", "RSP=", "RBP=", "RSI=", "RDI=", "R8 =", "R9 =", "R10=", "R11=", "R12=",
    "R13=", "R14=", "R15=",
];

type GetCpu = unsafe extern "C" fn(c_int) -> *mut c_void;
type Dump = unsafe extern "C" fn(*mut c_void, *mut libc::FILE, c_int);

/// QEMU's functions for them.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    get_cpu: GetCpu,
    dump: Dump,
}

impl Registers {
    /// Finds the functions.
    ///
    /// # Errors
    ///
    /// The name of one that this QEMU does not show.
    pub(crate) fn find() -> Result<Self, String> {
        let (get_cpu, dump) = (symbol("qemu_get_cpu\0")?, symbol("cpu_dump_state\0")?);
        // SAFETY: functions of QEMU by these names have had these signatures since version 4.2.
        let (get_cpu, dump) = unsafe {
            (mem::transmute::<*mut c_void, GetCpu>(get_cpu), mem::transmute::<*mut c_void, Dump>(dump))
        };
        Ok(Self { get_cpu, dump })
    }

    /// Those of a vCPU.
    ///
    /// # Safety
    ///
    /// Called in a callback of this vCPU at the begin of a block, when QEMU holds no register elsewhere.
    pub(crate) unsafe fn read(self, vcpu: u32) -> Option<State> {
        let number = c_int::try_from(vcpu).ok()?;
        let (mut text, mut length): (*mut c_char, usize) = (std::ptr::null_mut(), 0);
        // SAFETY: the vCPU is the caller's, which runs; both places outlive the stream, which is closed before they are looked at.
        unsafe {
            let cpu = (self.get_cpu)(number);
            let stream = libc::open_memstream(&raw mut text, &raw mut length);
            if cpu.is_null() || stream.is_null() {
                return None;
            }
            (self.dump)(cpu, stream, 0);
            libc::fclose(stream);
            let state = State(CStr::from_ptr(text).to_string_lossy().into_owned());
            libc::free(text.cast());
            Some(state)
        }
    }
}

/// All registers as QEMU prints them.
pub(crate) struct State(String);

impl State {
    /// The physical address of the root, if page tables have four levels.
    pub(crate) fn root(&self) -> Option<u64> {
        let four = self.field("CR4=")? & LA57 == 0;
        four.then(|| self.field("CR3=")).flatten()
    }

    /// Whether global pages are on.
    pub(crate) fn global_pages(&self) -> Option<bool> {
        Some(self.field("CR4=")? & PGE != 0)
    }

    /// A general register.
    pub(crate) fn general(&self, number: u8) -> Option<u64> {
        self.field(GENERAL.get(usize::from(number))?)
    }

    fn field(&self, name: &str) -> Option<u64> {
        let at = self.0.find(name)? + name.len();
        let digits = self.0.get(at..)?.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From QEMU 7.2.
    const DUMP: &str = "RAX=0000000000000007 RBX=ffff888003c4d000 RCX=0000000000000000 RDX=0000000000000000\n\
        RSI=0000000000000000 RDI=0000000000000000 RBP=0000000000000000 RSP=ffffc9000000be48\n\
        R8 =0000000000000001 R9 =0000000000000002 R10=0000000000000000 R11=0000000000000000\n\
        CR0=80050033 CR2=00007f0000001000 CR3=0000000003c4a000 CR4=003506f0\n";

    #[test]
    fn registers_are_read_as_qemu_prints_them() {
        let state = State(DUMP.into());
        assert_eq!((state.root(), state.global_pages()), (Some(0x3c4_a000), Some(true)));
        assert_eq!([0, 3, 8, 9].map(|n| state.general(n)), [7, 0xffff_8880_03c4_d000, 1, 2].map(Some));
        assert_eq!((state.general(12), state.general(16)), (None, None));
    }

    #[test]
    fn a_root_of_five_levels_is_not_told() {
        assert_eq!(State(DUMP.replace("CR4=003506f0", "CR4=003516f0")).root(), None);
    }
}
