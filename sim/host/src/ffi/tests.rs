//! What C sees when things go wrong.

use std::ffi::CStr;
use std::ptr;

use super::*;

fn last_error() -> String {
    // SAFETY: never null, and ends with a NUL.
    unsafe { CStr::from_ptr(daxsim_last_error()) }.to_str().unwrap().to_owned()
}

fn new(name: &CStr, settings: &[&CStr]) -> (Status, *mut DaxsimMachine) {
    let settings: Vec<*const c_char> = settings.iter().map(|text| text.as_ptr()).collect();
    let mut out = ptr::null_mut();
    // SAFETY: texts end with a NUL, and live as long as the call.
    let status = unsafe {
        daxsim_machine_new(
            name.as_ptr(),
            ptr::null(),
            settings.as_ptr(),
            settings.len(),
            ptr::null(),
            &raw mut out,
        )
    };
    (status, out)
}

#[test]
fn a_machine_is_made_and_freed() {
    let (status, machine) = new(c"skylake-sp-optane", &[c"cpu.count=3"]);
    assert_eq!((status, machine.is_null()), (Status::Ok, false));
    let mut count = 0;
    // SAFETY: a machine that is not freed yet.
    unsafe {
        assert_eq!(daxsim_cpu_count(machine, &raw mut count), Status::Ok);
        daxsim_machine_free(machine);
        daxsim_machine_free(ptr::null_mut());
    }
    assert_eq!(count, 3);
}

#[test]
fn failures_have_a_status_and_a_text() {
    let (status, machine) = new(c"no-such-machine", &[]);
    assert_eq!((status, machine.is_null()), (Status::Config, true));
    assert!(last_error().contains("no-such-machine"));
    assert_eq!(new(c"skylake-sp-optane", &[c"cpu.cuont=2"]).0, Status::Config);
    assert_eq!(new(c"skylake-sp-optane", &[c"\xff"]).0, Status::Text);
    // SAFETY: null pointers are looked at.
    unsafe {
        let (name, none) = (c"skylake-sp-optane".as_ptr(), ptr::null());
        let mut out = ptr::null_mut();
        assert_eq!(
            daxsim_machine_new(name, none, ptr::null(), 0, ptr::null(), ptr::null_mut()),
            Status::Null
        );
        assert_eq!(daxsim_machine_new(none, none, ptr::null(), 0, ptr::null(), &raw mut out), Status::Null);
        assert_eq!(daxsim_machine_new(name, none, ptr::null(), 1, ptr::null(), &raw mut out), Status::Null);
        let odd = DaxsimOptions { charge: 7, reserved: 0, max_skew_ps: 0 };
        assert_eq!(
            daxsim_machine_new(name, none, ptr::null(), 0, &raw const odd, &raw mut out),
            Status::Value
        );
        assert_eq!(daxsim_invlpg(ptr::null_mut(), 0, 0, ptr::null_mut()), Status::Null);
    }
    assert!(last_error().contains("machine is NULL"), "{}", last_error());
}

#[test]
fn calls_check_their_arguments() {
    let (_, machine) = new(c"skylake-sp-optane", &[c"cpu.count=1"]);
    // SAFETY: a machine; null pointers are looked at.
    unsafe {
        assert_eq!(daxsim_invlpg(machine, 1, 0, ptr::null_mut()), Status::Cpu);
        assert!(last_error().contains("CPU 1 of 1"), "{}", last_error());
        assert_eq!(daxsim_invpcid(machine, 0, 4, 0, 0, ptr::null_mut()), Status::Value);
        assert_eq!(daxsim_add_range(machine, 0, 1, 0), Status::Value);
        assert_eq!(daxsim_set_guest_memory(machine, None, ptr::null_mut()), Status::Null);
        assert_eq!(daxsim_run(machine, ptr::null(), 1, ptr::null_mut(), ptr::null_mut()), Status::Null);
        assert_eq!(daxsim_run(machine, ptr::null(), 0, ptr::null_mut(), ptr::null_mut()), Status::Ok);
        assert_eq!(daxsim_counts(machine, 0, 0, ptr::null_mut()), Status::Null);
        daxsim_machine_free(machine);
    }
}

#[test]
fn a_panic_stays_inside_and_breaks_the_machine() {
    let (_, machine) = new(c"skylake-sp-optane", &[]);
    // SAFETY: a machine that is not freed yet.
    unsafe {
        assert_eq!(with_machine(machine, |_| panic!("for the test")), Status::Panic);
        assert_eq!(daxsim_flush_all(machine, 0, ptr::null_mut()), Status::Panic);
        assert!(last_error().contains("broken"), "{}", last_error());
        daxsim_machine_free(machine);
    }
}

/// A guest's tables in an array: word `pa / 8`.
unsafe extern "C" fn read(context: *mut std::ffi::c_void, pa: u64, word: *mut u64) -> u8 {
    // SAFETY: the test below gives a vector, and room for a word.
    unsafe {
        let memory = &*context.cast::<Vec<u64>>();
        let found = memory.get(pa as usize / 8);
        word.write(found.copied().unwrap_or_default());
        u8::from(found.is_some())
    }
}

#[test]
fn walks_read_the_tables_of_a_guest_in_c() {
    let (_, machine) = new(c"skylake-sp-optane", &[]);
    let mut memory = vec![0_u64; 4 * 512];
    // Address 0x5000 by four tables, one after another.
    for (table, next) in [(0, 0x1000), (1, 0x2000), (2, 0x3000)] {
        memory[table * 512] = next | 0x67;
    }
    memory[3 * 512 + 5] = 0x7000 | 0x67;
    let access = DaxsimAccess {
        va: 0x5008,
        pa: 0x7008,
        instructions: 1,
        cpu: 0,
        size: 8,
        kind: DAXSIM_LOAD,
        flags: 0,
        page: DAXSIM_PAGE_LOOK_UP,
        reserved: 0,
    };
    let mut mapping = DaxsimMapping::from(crate::MappingCounts::default());
    // SAFETY: the memory outlives the machine.
    unsafe {
        assert_eq!(daxsim_set_guest_memory(machine, Some(read), (&raw mut memory).cast()), Status::Ok);
        assert_eq!(daxsim_mov_cr3(machine, 0, 0, 0, 0, ptr::null_mut()), Status::Ok);
        assert_eq!(daxsim_run(machine, &raw const access, 1, ptr::null_mut(), ptr::null_mut()), Status::Ok);
        assert_eq!(daxsim_mapping(machine, &raw mut mapping), Status::Ok);
        daxsim_machine_free(machine);
    }
    assert_eq!((mapping.guest_reads, mapping.guest_absent, mapping.pages), (4, 0, [0; 3]));
}
