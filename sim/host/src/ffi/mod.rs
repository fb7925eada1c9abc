//! The interface for C, which `include/daxsim.h` declares.
//!
//! Every function that can fail returns a [`Status`]; [`daxsim_last_error`] has the text of the last failure of the calling thread.
//! A machine may be used by one thread at a time. No panic leaves a function: it becomes [`Status::Panic`], and the machine can
//! then only be freed. Pointers must be null, where that is allowed, or valid for what the function says.

mod drive;
mod types;
mod view;

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Config, Machine, Options, Time, machine};

pub use drive::*;
pub use types::*;
pub use view::*;

/// Changes when a program that was compiled with an older header would not work any more.
pub const DAXSIM_ABI_VERSION: u32 = 1;

/// A simulated machine.
pub struct DaxsimMachine {
    machine: Machine,
    /// A panic has left it in some state or other.
    broken: bool,
}

/// Why a function did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure(Status, String);

impl Failure {
    fn new(status: Status, error: impl ToString) -> Self {
        Self(status, error.to_string())
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// Notes how a function ended.
fn finish(result: Result<(), Failure>) -> Status {
    let Err(Failure(status, text)) = result else { return Status::Ok };
    let without_nul: Vec<u8> = text.into_bytes().into_iter().filter(|byte| *byte != 0).collect();
    let text = CString::new(without_nul).unwrap_or_default();
    LAST_ERROR.with(|last| last.replace(text));
    status
}

/// Runs the work of a function without letting a panic out.
fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(work));
    finish(result.unwrap_or_else(|_| Err(Failure::new(Status::Panic, "a panic inside daxsim"))))
}

/// Works with a machine.
///
/// # Safety
///
/// `machine` is null, or was made by [`daxsim_machine_new`] and is neither freed nor in use.
unsafe fn with_machine(
    machine: *mut DaxsimMachine,
    work: impl FnOnce(&mut Machine) -> Result<(), Failure>,
) -> Status {
    // SAFETY: the caller's promise.
    let Some(it) = (unsafe { machine.as_mut() }) else { return finish(Err(null("machine"))) };
    if it.broken {
        let text = "a panic has broken the machine: expected one that works; free it";
        return finish(Err(Failure::new(Status::Panic, text)));
    }
    it.broken = true;
    let status = guarded(|| work(&mut it.machine));
    it.broken = status == Status::Panic;
    status
}

fn null(what: &str) -> Failure {
    Failure(Status::Null, format!("{what} is NULL: expected a pointer"))
}

/// Stores a result, if the caller wants it.
///
/// # Safety
///
/// `to` is null or may be written.
unsafe fn store<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
}

/// The text at a pointer.
///
/// # Safety
///
/// `text` is null, or ends with a NUL.
unsafe fn text_at(text: *const c_char, what: &str) -> Result<String, Failure> {
    if text.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null; the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_str();
    text.map(str::to_owned).map_err(|error| Failure(Status::Text, format!("{what}: {error}: expected UTF-8")))
}

/// The version of the interface: compare it with `DAXSIM_ABI_VERSION`.
#[unsafe(no_mangle)]
pub extern "C" fn daxsim_abi_version() -> u32 {
    DAXSIM_ABI_VERSION
}

/// The text of the last failure in the calling thread, until the next one; empty if there was none. Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn daxsim_last_error() -> *const c_char {
    LAST_ERROR.with(|last| last.borrow().as_ptr())
}

/// Makes a machine at rest.
///
/// `name`: that of a machine that comes with daxsim, or the path of a TOML file. If `toml` is not NULL it is the description, and
/// errors call it `name`. `settings`: `setting_count` texts `KEY=VALUE`. `options`: NULL for the usual ones. The machine is stored
/// to `out`, NULL after a failure; free it with `daxsim_machine_free`.
///
/// # Safety
///
/// Texts end with a NUL; `settings` has `setting_count` of them; `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_machine_new(
    name: *const c_char,
    toml: *const c_char,
    settings: *const *const c_char,
    setting_count: usize,
    options: *const DaxsimOptions,
    out: *mut *mut DaxsimMachine,
) -> Status {
    if out.is_null() {
        return finish(Err(null("out")));
    }
    guarded(|| {
        // SAFETY: not null, and the caller says that it may be written.
        unsafe { out.write(std::ptr::null_mut()) };
        // SAFETY: the caller's promises.
        let mut config = unsafe { config_of(name, toml, options) }?;
        if settings.is_null() && setting_count > 0 {
            return Err(null("settings"));
        }
        for at in 0..setting_count {
            // SAFETY: there are that many, each a text.
            config = config.set(unsafe { text_at(*settings.add(at), "a setting") }?);
        }
        let machine = machine(&config).map_err(|error| Failure::new(Status::Config, error))?;
        // SAFETY: as above.
        unsafe { out.write(Box::into_raw(Box::new(DaxsimMachine { machine, broken: false }))) };
        Ok(())
    })
}

/// # Safety
///
/// As [`daxsim_machine_new`] says.
unsafe fn config_of(
    name: *const c_char,
    toml: *const c_char,
    options: *const DaxsimOptions,
) -> Result<Config, Failure> {
    // SAFETY: the caller's promise.
    let name = unsafe { text_at(name, "name") }?;
    let config = if toml.is_null() {
        Config::named(name)
    } else {
        // SAFETY: the caller's promise.
        Config::text(name, unsafe { text_at(toml, "toml") }?)
    };
    // SAFETY: null or valid.
    let Some(options) = (unsafe { options.as_ref() }) else { return Ok(config) };
    let charge = charge_of(options.charge)?;
    Ok(config.options(Options { charge, max_skew: Time(options.max_skew_ps) }))
}

/// Frees a machine; NULL is allowed.
///
/// # Safety
///
/// `machine` was made by [`daxsim_machine_new`], and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn daxsim_machine_free(machine: *mut DaxsimMachine) {
    guarded(|| {
        if !machine.is_null() {
            // SAFETY: it came from a box, and nobody uses it again.
            drop(unsafe { Box::from_raw(machine) });
        }
        Ok(())
    });
}

#[cfg(test)]
mod tests;
