//! QEMU's interface for TCG plugins, of which distributions ship no header: the functions of `docs/devel/tcg-plugins.rst` of QEMU 7.2
//! (version 1) and of `include/qemu/qemu-plugin.h` of later ones, found by name in the program that loaded us.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem;

/// Names a loaded plugin.
pub type PluginId = u64;
/// What an access is, for QEMU to read.
pub(crate) type MemInfo = u32;

/// A block of translated instructions.
#[repr(C)]
pub(crate) struct Block([u8; 0]);

/// An instruction of it.
#[repr(C)]
pub(crate) struct Instruction([u8; 0]);

/// Where an access went; good until the callback ends.
#[repr(C)]
pub(crate) struct HwAddr([u8; 0]);

/// What QEMU says of itself, up to what we read.
#[repr(C)]
pub struct Info {
    /// The architecture of the guest, such as `x86_64`.
    pub(crate) target: *const c_char,
    /// Lowest version of the interface that is served.
    pub(crate) min: c_int,
    /// The version.
    pub(crate) cur: c_int,
    /// A whole machine, not a single program.
    pub(crate) is_system: bool,
    /// vCPUs at the begin.
    pub(crate) vcpus: c_int,
    /// vCPUs at most.
    pub(crate) max_vcpus: c_int,
}

pub(crate) type TranslateCall = extern "C" fn(PluginId, *mut Block);
pub(crate) type ExecuteCall = extern "C" fn(c_uint, *mut c_void);
pub(crate) type MemCall = extern "C" fn(c_uint, MemInfo, u64, *mut c_void);
pub(crate) type VcpuCall = extern "C" fn(PluginId, c_uint);
pub(crate) type EndCall = extern "C" fn(PluginId, *mut c_void);

/// Callbacks read no registers, or read some. Before version 2 that made no difference.
pub(crate) const NO_REGISTERS: c_int = 0;
pub(crate) const READ_REGISTERS: c_int = 1;
/// Loads and stores.
pub(crate) const LOADS_AND_STORES: c_int = 3;

/// Declares the functions and finds them all.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of QEMU. Each may be called from callbacks only, as its documentation says.
        #[derive(Clone, Copy)]
        pub(crate) struct Api {
            data: Data,
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            /// Finds the functions of a QEMU that serves this version.
            ///
            /// # Errors
            ///
            /// The name of one that QEMU does not have.
            pub(crate) fn find(version: c_int) -> Result<Self, String> {
                Ok(Self {
                    data: Data::find(version)?,
                    $($name: {
                        let found = symbol(concat!("qemu_plugin_", stringify!($name), "\0"))?;
                        // SAFETY: a function of QEMU by that name has had this signature since version 1 of the interface.
                        unsafe { mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(found) }
                    },)*
                })
            }
        }
    };
}

functions! {
    register_vcpu_tb_trans_cb: fn(PluginId, TranslateCall);
    register_vcpu_tb_exec_cb: fn(*mut Block, ExecuteCall, c_int, *mut c_void);
    register_vcpu_insn_exec_cb: fn(*mut Instruction, ExecuteCall, c_int, *mut c_void);
    register_vcpu_mem_cb: fn(*mut Instruction, MemCall, c_int, c_int, *mut c_void);
    register_vcpu_init_cb: fn(PluginId, VcpuCall);
    register_vcpu_idle_cb: fn(PluginId, VcpuCall);
    register_atexit_cb: fn(PluginId, EndCall, *mut c_void);
    tb_n_insns: fn(*const Block) -> usize;
    tb_get_insn: fn(*const Block, usize) -> *mut Instruction;
    insn_vaddr: fn(*const Instruction) -> u64;
    insn_size: fn(*const Instruction) -> usize;
    mem_size_shift: fn(MemInfo) -> c_uint;
    mem_is_store: fn(MemInfo) -> bool;
    get_hwaddr: fn(MemInfo, u64) -> *mut HwAddr;
    hwaddr_is_io: fn(*const HwAddr) -> bool;
    hwaddr_phys_addr: fn(*const HwAddr) -> u64;
}

type PointerCall = unsafe extern "C" fn(*const Instruction) -> *const u8;
type CopyCall = unsafe extern "C" fn(*const Instruction, *mut c_void, usize) -> usize;

/// How the bytes of an instruction are asked for.
#[derive(Clone, Copy)]
enum Data {
    /// Where they are.
    Pointer(PointerCall),
    /// A copy of them, since version 3.
    Copy(CopyCall),
}

impl Data {
    fn find(version: c_int) -> Result<Self, String> {
        let found = symbol("qemu_plugin_insn_data\0")?;
        // SAFETY: the function has had one of these signatures, and the version says which.
        Ok(unsafe {
            if version < 3 {
                Self::Pointer(mem::transmute::<*mut c_void, PointerCall>(found))
            } else {
                Self::Copy(mem::transmute::<*mut c_void, CopyCall>(found))
            }
        })
    }
}

/// Most bytes of an instruction (Intel SDM 2A, 2.3.11).
pub(crate) const MOST_BYTES: usize = 15;

impl Api {
    /// The bytes of an instruction, copied into `room`.
    ///
    /// # Safety
    ///
    /// The instruction is good, as it is while it is translated.
    pub(crate) unsafe fn bytes<'a>(
        &self,
        instruction: *const Instruction,
        room: &'a mut [u8; MOST_BYTES],
    ) -> &'a [u8] {
        // SAFETY: the instruction is good, as the caller says; the pointer is to as many bytes as it has, and the room for a copy is as long as is said.
        let length = unsafe {
            let length = (self.insn_size)(instruction).min(MOST_BYTES);
            match self.data {
                Data::Pointer(data) => room.as_mut_ptr().copy_from_nonoverlapping(data(instruction), length),
                Data::Copy(copy) => _ = copy(instruction, room.as_mut_ptr().cast(), length),
            }
            length
        };
        room.get(..length).unwrap_or_default()
    }
}

/// Functions that came with a version of the interface, from the newest on. Later versions than the first of them took none away that we need.
const CAME_WITH: [(c_int, &str); 3] = [
    (5, "qemu_plugin_write_register\0"),
    (4, "qemu_plugin_read_memory_vaddr\0"),
    (2, "qemu_plugin_num_vcpus\0"),
];

/// The newest version that the program that loaded us is known to serve.
pub(crate) fn version() -> c_int {
    let served = CAME_WITH.iter().find(|(_, name)| symbol(name).is_ok());
    served.map_or(1, |(version, _)| *version)
}

/// A function of the program by its name, which ends with a zero byte.
pub(crate) fn symbol(name: &str) -> Result<*mut c_void, String> {
    let text = CStr::from_bytes_with_nul(name.as_bytes()).map_err(|_| format!("{name:?} is no name"))?;
    // SAFETY: the name is a string with its end; nothing is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, text.as_ptr()) };
    if found.is_null() {
        return Err(format!("this QEMU has no {}", name.trim_end_matches('\0')));
    }
    Ok(found)
}

/// Bits of [`MemInfo`] that QEMU's own functions take apart, and which have been the same since its first version.
const SIZE_AT: u32 = 4;
const READ: MemInfo = 1 << 16;
const WRITE: MemInfo = 1 << 17;

/// What an access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// It loads.
    pub(crate) loads: bool,
    /// It stores; one that loads as well is an atomic operation.
    pub(crate) stores: bool,
    /// Bytes.
    pub(crate) size: u8,
}

/// Takes [`MemInfo`] apart here, without calls, after QEMU's functions were seen to agree.
#[derive(Clone, Copy)]
pub(crate) struct Decoder {
    own: bool,
    size_shift: unsafe extern "C" fn(MemInfo) -> c_uint,
    is_store: unsafe extern "C" fn(MemInfo) -> bool,
}

impl Decoder {
    pub(crate) fn new(api: &Api) -> Self {
        let (size_shift, is_store) = (api.mem_size_shift, api.mem_is_store);
        let agrees = |shift: u32, how: MemInfo| {
            let info = shift << SIZE_AT | how;
            // SAFETY: both functions compute from their argument alone.
            unsafe { size_shift(info) == shift && is_store(info) == (how & WRITE != 0) }
        };
        let own = (0..5).all(|shift| [READ, WRITE, READ | WRITE].iter().all(|how| agrees(shift, *how)));
        Self { own, size_shift, is_store }
    }

    #[inline]
    pub(crate) fn kind(self, info: MemInfo) -> Kind {
        if self.own {
            return Kind {
                loads: info & READ != 0,
                stores: info & WRITE != 0,
                size: 1 << (info >> SIZE_AT & 7),
            };
        }
        // SAFETY: the value came from QEMU, in the callback that this is called in.
        let (shift, stores) = unsafe { ((self.size_shift)(info), (self.is_store)(info)) };
        Kind { loads: !stores, stores, size: 1 << (shift & 7) }
    }
}
