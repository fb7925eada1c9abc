//! A TCG plugin of QEMU that writes the memory accesses of all vCPUs into the rings of `daxsim-ring`.
//!
//! `qemu-system-x86_64 -plugin libdaxsim_qemu_plugin.so,ring=PATH,..`; `docs/co-simulation.md` has the options. QEMU reads which version of its
//! interface a plugin wants, and refuses those that it serves no more: this one wants the newest that it finds. Nothing here panics by intent; if it did, Rust ends the process where a panic would leave an `extern "C"` function.

mod api;
mod control;
mod filter;
mod options;
mod physical;
mod registers;
mod stream;
mod vcpu;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use api::{Api, Block, Info, LOADS_AND_STORES, MOST_BYTES, MemInfo, NO_REGISTERS, PluginId, READ_REGISTERS};
use control::Control;
use options::{Counting, From, Options};
use stream::Stream;
use vcpu::Site;

/// The version of the interface that we ask for; QEMU reads it when we are loaded.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: AtomicI32 = AtomicI32::new(1);

/// Called by the loader, before QEMU looks at anything here.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    qemu_plugin_version.store(api::version(), Ordering::Relaxed);
}

static STREAM: OnceLock<Stream> = OnceLock::new();

/// Says something to whoever started QEMU: a plugin has no other way.
pub(crate) fn say(text: &str) {
    // Nothing can be done if that fails.
    let _ = writeln!(std::io::stderr(), "daxsim-qemu-plugin: {text}");
}

/// Called by QEMU when it loads us. Returns 0 if all is well.
///
/// # Safety
///
/// `info` is QEMU's description of itself, `argv` has `argc` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: PluginId,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: QEMU gives as many strings, each with its end, which live during this call.
    let words = (0..count).map(|at| unsafe { CStr::from_ptr(*argv.add(at)) }.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    // SAFETY: QEMU gives its description, which lives during this call.
    match install(id, unsafe { &*info }, &words) {
        Ok(()) => 0,
        Err(error) => {
            say(&error);
            -1
        }
    }
}

fn install(id: PluginId, info: &Info, words: &[String]) -> Result<(), String> {
    if !info.is_system {
        return Err("found a single program: expected the emulation of a whole machine".into());
    }
    let vcpus = u32::try_from(info.max_vcpus).map_err(|_| format!("found {} vCPUs", info.max_vcpus))?;
    let options = Options::parse(words.iter().map(String::as_str)).map_err(|error| error.to_string())?;
    let api = Api::find(info.cur)?;
    let stream = Stream::new(api, options, vcpus)?;
    STREAM.set(stream).map_err(|_| "found this plugin twice: expected it once".to_owned())?;
    // SAFETY: QEMU allows these while a plugin is installed; the callbacks are `extern "C"` and live as long as the library.
    unsafe {
        (api.register_vcpu_init_cb)(id, on_init);
        (api.register_vcpu_tb_trans_cb)(id, on_translate);
        (api.register_vcpu_idle_cb)(id, on_idle);
        (api.register_atexit_cb)(id, on_end, std::ptr::null_mut());
    }
    Ok(())
}

/// A vCPU begins: now QEMU tells which registers it has.
extern "C" fn on_init(_: PluginId, _: c_uint) {
    if let Some(registers) = STREAM.get().and_then(|stream| stream.registers.as_ref()) {
        // SAFETY: this is the callback in which QEMU tells them.
        unsafe { registers.learn() };
    }
}

/// A block is translated: asks for calls at its begin or its instructions, and at its accesses.
extern "C" fn on_translate(_: PluginId, block: *mut Block) {
    let Some(stream) = STREAM.get() else { return };
    stream.read_map();
    let api = &stream.api;
    // SAFETY: the block is good during this callback.
    let count = unsafe { (api.tb_n_insns)(block) };
    let each = stream.options.counting == Counting::Each;
    let reads = stream.registers.is_some();
    if !each || reads {
        let begun = if each { 0 } else { count };
        let flags = if reads { READ_REGISTERS } else { NO_REGISTERS };
        // SAFETY: as above; the last argument is a number that is only handed back.
        unsafe { (api.register_vcpu_tb_exec_cb)(block, on_block, flags, begun as *mut c_void) };
    }
    for at in 0..count {
        // SAFETY: the block is good, and has an instruction of this number.
        let instruction = unsafe { (api.tb_get_insn)(block, at) };
        // SAFETY: the instruction is good during this callback.
        let user = unsafe { (api.insn_vaddr)(instruction) } >> 63 == 0;
        if each {
            // SAFETY: as above.
            unsafe {
                (api.register_vcpu_insn_exec_cb)(
                    instruction,
                    on_instruction,
                    NO_REGISTERS,
                    std::ptr::null_mut(),
                )
            };
        }
        let mut room = [0; MOST_BYTES];
        // SAFETY: as above.
        let bytes = unsafe { api.bytes(instruction, &mut room) };
        if stream.registers.is_some()
            && let Some(control) = Control::of(bytes)
        {
            let word = control.word() as *mut c_void;
            // SAFETY: as above; the last argument is a number that is only handed back.
            unsafe { (api.register_vcpu_insn_exec_cb)(instruction, on_control, NO_REGISTERS, word) };
        }
        let wanted = match stream.options.from {
            From::All => true,
            From::User => user,
            From::Kernel => !user,
        };
        if wanted {
            let site = Site::new(if each { 0 } else { at as u32 + 1 }, user, control::is_locked(bytes));
            let word = site.word() as *mut c_void;
            // SAFETY: as above; the last argument is a number that is only handed back.
            unsafe {
                (api.register_vcpu_mem_cb)(instruction, on_access, NO_REGISTERS, LOADS_AND_STORES, word)
            };
        }
    }
}

/// A block begins, with so many instructions; none, if they are counted by themselves.
extern "C" fn on_block(vcpu: c_uint, count: *mut c_void) {
    let Some(stream) = STREAM.get() else { return };
    stream.with(vcpu, |v| {
        if v.control.is_some() {
            stream.send_control(vcpu, v);
        }
        if !count.is_null() {
            v.block(count as u64);
        }
    });
}

/// An instruction begins that changes translations. What it did is known when the next one begins, which is in a new block.
extern "C" fn on_control(vcpu: c_uint, word: *mut c_void) {
    if let Some(stream) = STREAM.get() {
        stream.with(vcpu, |v| v.control = Some(Control::of_word(word as usize)));
    }
}

extern "C" fn on_instruction(vcpu: c_uint, _: *mut c_void) {
    let Some(stream) = STREAM.get() else { return };
    stream.with(vcpu, vcpu::Vcpu::instruction);
}

extern "C" fn on_access(vcpu: c_uint, info: MemInfo, va: u64, word: *mut c_void) {
    let Some(stream) = STREAM.get() else { return };
    stream.with(vcpu, |v| {
        let kind = v.decoder.kind(info);
        v.count(kind);
        if !stream.is_open(kind, va) {
            return;
        }
        stream.take_turn(vcpu);
        // SAFETY: this is the callback of the access.
        let done = unsafe { v.access(info, kind, va, Site::of_word(word as usize)) };
        if let Err(gone) = done {
            stream.reader_is_gone(gone);
        }
    });
}

/// A vCPU has nothing to do: the reader gets what it held back.
extern "C" fn on_idle(_: PluginId, vcpu: c_uint) {
    let Some(stream) = STREAM.get() else { return };
    stream.with(vcpu, |v| {
        if let Err(gone) = v.flush() {
            stream.reader_is_gone(gone);
        }
    });
}

extern "C" fn on_end(_: PluginId, _: *mut c_void) {
    if let Some(stream) = STREAM.get() {
        stream.end();
    }
}
