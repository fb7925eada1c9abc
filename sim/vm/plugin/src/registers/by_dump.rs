//! What `cpu_dump_state` prints.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;

use super::{NAMES, State};
use crate::api::symbol;

type GetCpu = unsafe extern "C" fn(c_int) -> *mut c_void;
type Dump = unsafe extern "C" fn(*mut c_void, *mut libc::FILE, c_int);

/// Its functions.
#[derive(Clone, Copy)]
pub(crate) struct ByDump {
    get_cpu: GetCpu,
    dump: Dump,
}

impl ByDump {
    pub(super) fn find() -> Result<Self, String> {
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
    pub(super) unsafe fn read(self, vcpu: u32) -> Option<State> {
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
            let state = state(&CStr::from_ptr(text).to_string_lossy());
            libc::free(text.cast());
            Some(state)
        }
    }
}

/// Registers as they are printed: `R8 =` and `RAX=` with a number in hexadecimal.
fn state(text: &str) -> State {
    State(NAMES.map(|name| {
        let at = text.find(&format!("{:<3}=", name.to_uppercase()))? + 4;
        let digits = text.get(at..)?.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    }))
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
        let state = state(DUMP);
        assert_eq!((state.root(), state.global_pages()), (Some(0x3c4_a000), Some(true)));
        assert_eq!([0, 3, 8, 9].map(|n| state.general(n)), [7, 0xffff_8880_03c4_d000, 1, 2].map(Some));
        assert_eq!(state.general(12), None);
    }
}
