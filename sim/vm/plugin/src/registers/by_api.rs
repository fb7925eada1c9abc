//! What the plugin interface tells, since version 2 of it.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem;
use std::sync::OnceLock;

use super::{NAMES, State};
use crate::api::symbol;

/// `GArray` and `GByteArray` of GLib, up to what we read.
#[repr(C)]
struct Array {
    data: *mut u8,
    len: c_uint,
}

/// `qemu_plugin_reg_descriptor`, up to what we read.
#[repr(C)]
struct Descriptor {
    handle: *mut c_void,
    name: *const c_char,
}

/// The functions: QEMU's, and those of GLib for its arrays.
#[derive(Clone, Copy)]
struct Functions {
    get_registers: unsafe extern "C" fn() -> *mut Array,
    element_size: unsafe extern "C" fn(*mut Array) -> c_uint,
    free_array: unsafe extern "C" fn(*mut Array, c_int) -> *mut c_char,
    // Its result was a number up to version 5, and is a truth since: it is not looked at.
    read_register: unsafe extern "C" fn(*mut c_void, *mut Array),
    new_bytes: unsafe extern "C" fn() -> *mut Array,
    free_bytes: unsafe extern "C" fn(*mut Array, c_int) -> *mut u8,
}

/// Handles of the registers that we ask for.
struct Handles([Option<*mut c_void>; NAMES.len()]);

// SAFETY: a handle is a number that QEMU alone understands, the same for all vCPUs of a kind.
unsafe impl Send for Handles {}
// SAFETY: as above.
unsafe impl Sync for Handles {}

/// Registers by handles.
pub(crate) struct ByApi {
    functions: Functions,
    handles: OnceLock<Box<Handles>>,
}

impl ByApi {
    pub(super) fn find() -> Result<Self, String> {
        /// A function as what it is.
        macro_rules! function {
            ($name:literal: $signature:ty) => {{
                let found = symbol(concat!($name, "\0"))?;
                // SAFETY: functions by these names have had these signatures since version 2 of the interface, and GLib 2.22.
                unsafe { mem::transmute::<*mut c_void, $signature>(found) }
            }};
        }
        let functions = Functions {
            get_registers: function!("qemu_plugin_get_registers": unsafe extern "C" fn() -> *mut Array),
            element_size: function!("g_array_get_element_size": unsafe extern "C" fn(*mut Array) -> c_uint),
            free_array: function!("g_array_free": unsafe extern "C" fn(*mut Array, c_int) -> *mut c_char),
            read_register: function!("qemu_plugin_read_register": unsafe extern "C" fn(*mut c_void, *mut Array)),
            new_bytes: function!("g_byte_array_new": unsafe extern "C" fn() -> *mut Array),
            free_bytes: function!("g_byte_array_free": unsafe extern "C" fn(*mut Array, c_int) -> *mut u8),
        };
        Ok(Self { functions, handles: OnceLock::new() })
    }

    /// Learns the handles, from the first vCPU.
    ///
    /// # Errors
    ///
    /// If there is a register less than there should be.
    ///
    /// # Safety
    ///
    /// Called in the callback in which a vCPU begins.
    pub(super) unsafe fn learn(&self) -> Result<(), String> {
        if self.handles.get().is_some() {
            return Ok(());
        }
        // SAFETY: the array is ours to free, has so many elements of that size, and each begins with the fields of `Descriptor`; its name is a
        // string that QEMU keeps.
        let handles = unsafe {
            let array = (self.functions.get_registers)();
            if array.is_null() {
                return Err("QEMU tells of no registers".into());
            }
            let size = (self.functions.element_size)(array) as usize;
            let of = |name: &str| {
                let each =
                    (0..(*array).len as usize).map(|at| (*array).data.add(at * size).cast::<Descriptor>());
                each.map(|one| one.read_unaligned())
                    .find(|one| CStr::from_ptr(one.name).to_bytes() == name.as_bytes())
                    .map(|one| one.handle)
            };
            let handles = NAMES.map(of);
            (self.functions.free_array)(array, 1);
            handles
        };
        let missing = NAMES.iter().zip(&handles).find(|(_, handle)| handle.is_none());
        match missing {
            Some((name, _)) => Err(format!("QEMU tells of no register {name}")),
            None => {
                // Two vCPUs that begin at once learn the same.
                let _ = self.handles.set(Box::new(Handles(handles)));
                Ok(())
            }
        }
    }

    /// Those of the vCPU that runs.
    ///
    /// # Safety
    ///
    /// Called in a callback that was asked for as one that reads registers.
    pub(super) unsafe fn read(&self) -> Option<State> {
        let handles = self.handles.get()?;
        Some(State(handles.0.map(|handle| {
            let handle = handle?;
            // SAFETY: the handle is QEMU's own; the array of bytes is ours from its making to its end.
            unsafe {
                let bytes = (self.functions.new_bytes)();
                (self.functions.read_register)(handle, bytes);
                // Of 32 bits outside of 64-bit mode.
                let (mut word, length) = ([0_u8; 8], ((*bytes).len as usize).min(8));
                if length > 0 {
                    word.as_mut_ptr().copy_from_nonoverlapping((*bytes).data, length);
                }
                (self.functions.free_bytes)(bytes, 1);
                (length > 0).then_some(u64::from_le_bytes(word))
            }
        })))
    }
}
