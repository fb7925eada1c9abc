//! Accesses of exactly one instruction, which a signal of the kernel skips.
//!
//! The instructions stand in functions of their own, one behind the other. A SIGBUS or SIGSEGV of an instruction there lets the
//! function return a mark instead; of any other it ends the process, as it would without the handler.

use std::io;

/// What a function returns whose access got a signal: no byte has this value.
const SIGNALLED: u64 = 0x100;

core::arch::global_asm!(
    ".pushsection .text.daxplay_access, \"ax\", @progbits",
    ".globl daxplay_access_begin",
    "daxplay_access_begin:",
    ".globl daxplay_load",
    "daxplay_load:",
    "mov al, byte ptr [rdi]",
    "movzx eax, al",
    "ret",
    ".globl daxplay_store",
    "daxplay_store:",
    "mov byte ptr [rdi], sil",
    "xor eax, eax",
    "ret",
    ".globl daxplay_store_past_caches",
    "daxplay_store_past_caches:",
    "movnti qword ptr [rdi], rsi",
    "xor eax, eax",
    "ret",
    ".globl daxplay_clwb",
    "daxplay_clwb:",
    "clwb byte ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl daxplay_clflushopt",
    "daxplay_clflushopt:",
    "clflushopt byte ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl daxplay_clflush",
    "daxplay_clflush:",
    "clflush byte ptr [rdi]",
    "xor eax, eax",
    "ret",
    ".globl daxplay_access_end",
    "daxplay_access_end:",
    ".globl daxplay_skipped",
    "daxplay_skipped:",
    "mov eax, 0x100",
    "ret",
    ".popsection",
);

unsafe extern "sysv64" {
    fn daxplay_access_begin();
    fn daxplay_access_end();
    fn daxplay_skipped();
    fn daxplay_load(at: u64) -> u64;
    fn daxplay_store(at: u64, value: u64) -> u64;
    fn daxplay_store_past_caches(at: u64, value: u64) -> u64;
    fn daxplay_clwb(at: u64) -> u64;
    fn daxplay_clflushopt(at: u64) -> u64;
    fn daxplay_clflush(at: u64) -> u64;
}

/// What one instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Loads a byte.
    Load,
    /// Stores a byte.
    Store(u8),
    /// Stores eight bytes past the caches.
    NonTemporal(u64),
    /// CLWB.
    Clwb,
    /// CLFLUSHOPT.
    ClflushOpt,
    /// CLFLUSH.
    Clflush,
}

impl Access {
    /// Does it at an address: the byte that was loaded (else 0), or `None` if it got a signal.
    pub fn at(self, address: u64) -> Option<u8> {
        // SAFETY: each function is one access of memory at the address, and a return. That memory belongs to the script's maps: no
        // value of this program lives there, and where there is none the handler below makes the function return its mark.
        let result = unsafe {
            match self {
                Self::Load => daxplay_load(address),
                Self::Store(value) => daxplay_store(address, value.into()),
                Self::NonTemporal(value) => daxplay_store_past_caches(address, value),
                Self::Clwb => daxplay_clwb(address),
                Self::ClflushOpt => daxplay_clflushopt(address),
                Self::Clflush => daxplay_clflush(address),
            }
        };
        (result != SIGNALLED).then_some(result as u8)
    }
}

/// SFENCE.
pub fn store_fence() {
    // SAFETY: a fence touches no memory; SSE is part of x86-64.
    unsafe { core::arch::x86_64::_mm_sfence() }
}

/// MFENCE.
pub fn full_fence() {
    // SAFETY: a fence touches no memory; SSE2 is part of x86-64.
    unsafe { core::arch::x86_64::_mm_mfence() }
}

/// From now on signals of accesses are skipped.
pub fn skip_signals() -> io::Result<()> {
    for signal in [libc::SIGBUS, libc::SIGSEGV] {
        // SAFETY: an all-zero `sigaction` is a valid one; the handler has the form that SA_SIGINFO asks for.
        let set = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Goes on behind an access; ends the process for any other instruction.
extern "C" fn on_signal(signal: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let range = daxplay_access_begin as *const () as u64..daxplay_access_end as *const () as u64;
    // SAFETY: with SA_SIGINFO the kernel hands over the context of the interrupted thread, which nobody else has.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let Some(at) = registers.get_mut(libc::REG_RIP as usize) else { return };
    if range.contains(&(*at as u64)) {
        *at = daxplay_skipped as *const () as i64;
    } else {
        // SAFETY: signal(2) may be called in a handler. The instruction runs again, and the default ends the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_reach_memory_and_signals_are_skipped() {
        skip_signals().unwrap();
        let mut line = Box::new([0_u64; 8]);
        let at = line.as_mut_ptr() as u64;
        assert_eq!(Access::Store(0x5a).at(at), Some(0));
        assert_eq!(Access::Load.at(at), Some(0x5a));
        assert_eq!(Access::NonTemporal(0x0102).at(at + 8), Some(0));
        store_fence();
        full_fence();
        assert_eq!(Access::Load.at(at + 8), Some(2));
        assert_eq!(Access::Clflush.at(at), Some(0));
        // SAFETY: the box is alive; its memory was written behind the compiler's back.
        assert_eq!(unsafe { line.as_ptr().read_volatile() }, 0x5a);
        for access in [Access::Load, Access::Store(1), Access::NonTemporal(1), Access::Clflush] {
            assert_eq!(access.at(0x10), None, "{access:?}");
        }
    }
}
