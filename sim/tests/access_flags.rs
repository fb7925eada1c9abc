//! Accessed and dirty flags as policies: who sets them, and what each choice adds or removes.

mod common;

use common::{BASE, Bench, HUGE, KERNELS, NEW, OLD, PAGE, V1, access, everywhere, per_kernel};
use daxsim_sim::SimError;
use daxsim_sim::kernel::MapRequest;
use daxsim_sim::measure::FaultKind;
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::program::Action;
use daxsim_types::{AccessKind, FileSystem, VirtAddr};

/// vm_page_prot without the accessed flag.
const NO_PROT_A: &str = "arch.prot_accessed=false";
const NOT_X86: [&str; 2] = ["arm64", "generic"];

fn bench(kernel: &str, fs: FileSystem, of_machine: &[&str], of_kernel: &[&str]) -> Bench {
    Bench::with("skylake-sp-optane", kernel, fs, &[&["cpu.count=4"], of_machine].concat(), of_kernel)
}

/// Software sets A: the machine leaves it, the kernel does as `rule`.
fn software_a(kernel: &str, fs: FileSystem, rule: &str, of_kernel: &[&str]) -> Bench {
    let rule = format!("arch.set_access_flags={rule}");
    bench(kernel, fs, &["mmu.accessed=software"], &[&[rule.as_str()], of_kernel].concat())
}

fn kinds(bench: &Bench) -> Vec<(u32, FaultKind)> {
    bench.faults().iter().map(|f| (f.error_code.0, f.kind)).collect()
}

fn a_assists(bench: &Bench) -> u64 {
    bench.measured(|m| m.accessed_assists)
}

fn d_assists(bench: &Bench) -> u64 {
    bench.measured(|m| m.dirty_assists)
}

#[test]
fn an_accessed_flag_in_the_page_protection_leaves_hardware_nothing_to_do() {
    everywhere(|kernel, fs| {
        let mut bench = Bench::new(kernel, fs);
        bench.mapped(4);
        bench.load(BASE);
        bench.store(BASE + PAGE);
        assert_eq!(a_assists(&bench), 0, "{kernel} {fs}");
    });
}

#[test]
fn without_it_every_read_insert_costs_an_assist_of_the_first_access() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, &[], &[NO_PROT_A]);
        bench.mapped(1024 + 4);
        let end = BASE + 2 * HUGE;
        bench.load(end);
        let new = bench.faults().pop().and_then(|f| f.new).unwrap();
        assert!(!new.accessed(), "{kernel} {fs}: what the kernel stored");
        assert!(bench.pte(end).accessed(), "what the walker made of it");
        assert_eq!(a_assists(&bench), 1);
        bench.load(end + 8);
        assert_eq!(a_assists(&bench), 1, "once a page");
        // The same for a PMD.
        bench.load(BASE);
        assert_eq!(a_assists(&bench), 2, "{kernel} {fs}");
        assert!(bench.pmd(BASE).accessed());
    });
}

#[test]
fn without_it_the_forgotten_mkyoung_of_the_first_posting_costs_an_assist() {
    everywhere(|kernel, fs| {
        // The posting with the writable entry really stored, or its second fault would make the entry young.
        let stored = "dax.fresh_write_stores_rw=true";
        let mut bench = bench(kernel, fs, &[], &[NO_PROT_A, stored]);
        bench.mapped(4);
        bench.store(BASE);
        let faults = bench.faults();
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].new.unwrap().accessed(), kernel != V1, "{kernel} {fs}");
        // A and D are set by one update.
        assert_eq!((a_assists(&bench), d_assists(&bench)), per_kernel(kernel, (0, 0), (0, 1), (0, 0)));
        assert!(bench.pte(BASE).accessed());
    });
}

#[test]
fn pte_mkyoung_alone_is_a_knob() {
    for (mkyoung, assists) in [("true", 0), ("false", 1)] {
        let sets_a = format!("dax.fresh_write_sets_a={mkyoung}");
        let mut bench = bench(NEW, FileSystem::Xfs, &[], &[NO_PROT_A, &sets_a]);
        bench.mapped(4);
        bench.store(BASE);
        assert_eq!(bench.codes(), [0x6]);
        assert_eq!((a_assists(&bench), d_assists(&bench)), (assists, 0), "mkyoung {mkyoung}");
    }
}

#[test]
fn an_upgrade_makes_the_entry_young_in_every_variant() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, &[], &[NO_PROT_A]);
        bench.mapped(4);
        bench.load(BASE);
        // As if the page had been found old since.
        let old = bench.pte(BASE).mkold();
        assert!(bench.sim.with(|m| m.inject_entry(bench.mm, VirtAddr(BASE), 0, old)));
        bench.faults();
        bench.store(BASE);
        let faults = bench.faults();
        assert!(faults[0].new.unwrap().accessed(), "{kernel} {fs}");
        assert_eq!(a_assists(&bench), 1, "that of the load");
    });
}

#[test]
fn a_clear_a_bit_is_an_assist_of_hardware_and_a_fault_for_software() {
    for kernel in KERNELS {
        for rule in NOT_X86 {
            let mut bench = software_a(kernel, FileSystem::Ext4, rule, &[NO_PROT_A]);
            bench.mapped(4);
            bench.load(BASE);
            assert_eq!(
                kinds(&bench),
                [(0x4, FaultKind::Read), (0x5, FaultKind::AccessFlags)],
                "{kernel} {rule}"
            );
            assert!(bench.pte(BASE).accessed());
            assert_eq!((a_assists(&bench), bench.measured(|m| m.access_flag_faults)), (0, 1));
            bench.load(BASE + 8);
            assert!(bench.faults().is_empty(), "once a page");
            // Nothing was added but A.
            assert_eq!(bench.pte(BASE).0 & (Entry::RW | Entry::D | Entry::SOFT_DIRTY), 0);
        }
    }
}

#[test]
fn with_software_a_the_forgotten_mkyoung_costs_a_whole_fault() {
    let stored = "dax.fresh_write_stores_rw=true";
    for kernel in KERNELS {
        let mut bench = software_a(kernel, FileSystem::Xfs, "arm64", &[NO_PROT_A, stored]);
        bench.mapped(4);
        bench.store(BASE);
        let first = (0x6, FaultKind::Write);
        let again = (0x7, FaultKind::AccessFlags);
        let want = per_kernel(kernel, vec![first], vec![first, again], vec![first]);
        assert_eq!(kinds(&bench), want, "{kernel}");
        // The kernel, when asked for A by a store, sets D too.
        assert_eq!(d_assists(&bench), 0);
    }
}

#[test]
fn with_a_in_the_page_protection_software_a_costs_nothing() {
    everywhere(|kernel, fs| {
        let run = |mut bench: Bench| {
            bench.mapped(4);
            bench.load(BASE);
            bench.store(BASE);
            bench.store(BASE + PAGE);
            (bench.codes(), bench.finish().end)
        };
        let hardware = run(bench(kernel, fs, &[], &[]));
        let software = run(software_a(kernel, fs, "generic", &[]));
        assert_eq!(hardware, software, "{kernel} {fs}");
    });
}

#[test]
fn a_huge_entry_without_a_is_made_young_by_software_too() {
    for kernel in KERNELS {
        let mut bench = software_a(kernel, FileSystem::Xfs, "generic", &[NO_PROT_A]);
        bench.mapped(512);
        bench.load(BASE);
        assert_eq!(kinds(&bench), [(0x4, FaultKind::PmdRead), (0x5, FaultKind::AccessFlags)], "{kernel}");
        assert!(bench.pmd(BASE).accessed());
        assert_eq!(bench.measured(|m| m.access_flag_faults), 1);
    }
}

#[test]
fn the_x86_rule_cannot_set_a_for_a_load_and_is_refused_on_such_a_machine() {
    let mut bench = software_a(NEW, FileSystem::Ext4, "x86", &[NO_PROT_A]);
    let file = bench.file(4, daxsim_sim::kernel::NewFile::Filled);
    let ended = bench.try_run(0, bench.mm, Action::Map(common::shared_map(file, BASE, 0, 4)));
    assert_eq!(ended, Err(SimError::FlagsNeverSet));
    let message = SimError::FlagsNeverSet.to_string();
    assert!(message.contains("mmu.accessed") && message.contains("arch.set_access_flags"), "{message}");
}

#[test]
fn the_kernel_takes_the_same_faults_for_user_memory() {
    let mut bench = software_a(NEW, FileSystem::Ext4, "arm64", &[NO_PROT_A]);
    bench.mapped(4);
    let Action::Access(one) = access(BASE, AccessKind::Read) else { unreachable!() };
    bench.run(0, bench.mm, Action::KernelAccess(one));
    // As 0x4 and 0x5, from kernel mode.
    assert_eq!(kinds(&bench), [(0x0, FaultKind::Read), (0x1, FaultKind::AccessFlags)]);
}

#[test]
fn an_access_that_the_mapping_forbids_is_sigsegv_also_with_software_a() {
    let mut bench = software_a(NEW, FileSystem::Ext4, "arm64", &[]);
    bench.mapped(4);
    bench.load(BASE);
    bench.run(0, bench.mm, Action::Protect { start: BASE, len: PAGE, read: false, write: false });
    assert_eq!(bench.load(BASE).signals, 1, "no access at all");
    bench.run(0, bench.mm, Action::Protect { start: BASE, len: PAGE, read: true, write: false });
    assert_eq!(bench.load(BASE).signals, 0);
    assert_eq!(bench.store(BASE).signals, 1, "read-only");
}

#[test]
fn software_d_costs_a_fault_where_hardware_needs_an_assist() {
    everywhere(|kernel, fs| {
        let upgrade = |mut bench: Bench| {
            bench.mapped(4);
            bench.load(BASE);
            bench.faults();
            bench.store(BASE);
            (kinds(&bench), d_assists(&bench), bench.pte(BASE))
        };
        let mkwrite = (0x7, FaultKind::Mkwrite);
        let (faults, assists, entry) = upgrade(bench(kernel, fs, &[], &[]));
        assert_eq!((faults, assists), (vec![mkwrite], per_kernel(kernel, 0, 1, 1)), "{kernel} {fs}");
        assert!(entry.hw_dirty());
        let (faults, assists, entry) = upgrade(bench(kernel, fs, &["mmu.dirty=software"], &[]));
        let flags = (0x7, FaultKind::AccessFlags);
        let want = per_kernel(kernel, vec![mkwrite], vec![mkwrite, flags], vec![mkwrite, flags]);
        assert_eq!((faults, assists), (want, 0), "{kernel} {fs}");
        // The kernel's D comes with soft-dirty, hardware's does not.
        assert!(entry.hw_dirty() && entry.0 & Entry::SOFT_DIRTY != 0);
    });
}

#[test]
fn software_d_makes_no_difference_to_a_fresh_write_but_in_the_first_posting() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, &["mmu.dirty=software"], &[]);
        bench.mapped(4);
        bench.store(BASE);
        assert_eq!(
            bench.codes(),
            per_kernel(kernel, vec![0x6], vec![0x6, 0x7, 0x7], vec![0x6]),
            "{kernel} {fs}"
        );
        bench.store(BASE + 8);
        assert!(bench.faults().is_empty());
    });
}

#[test]
fn a_dirty_bit_modifier_is_one_locked_update_without_the_assist() {
    everywhere(|kernel, fs| {
        let run = |dirty: &str| {
            let mut bench = bench(kernel, fs, &[dirty], &[]);
            bench.mapped(4);
            bench.load(BASE);
            bench.store(BASE);
            assert_eq!(bench.codes(), [0x4, 0x7]);
            assert!(bench.pte(BASE).hw_dirty());
            let updates = bench.measured(|m| (m.dirty_assists, m.dirty_updates));
            (updates, bench.finish().end)
        };
        let (assists, hardware) = run("mmu.dirty=hardware");
        let (updates, dbm) = run("mmu.dirty=dbm");
        let needed = per_kernel(kernel, 0, 1, 1);
        assert_eq!((assists, updates), ((needed, 0), (0, needed)), "{kernel} {fs}");
        let assist = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().mmu.dirty_assist;
        assert_eq!((hardware - dbm).0, needed * assist.0, "the assist and nothing else");
    });
}

/// Two CPUs hold the page read-only; the first one upgrades it. Flush requests, interrupts, local invalidations.
fn upgrade_seen_by_two(of_kernel: &[&str]) -> (u64, u64, u64, Vec<u32>) {
    let mut bench = bench(OLD, FileSystem::Ext4, &[], of_kernel);
    bench.mapped(4);
    bench.load(BASE);
    bench.load_on(1, BASE);
    bench.store(BASE);
    bench.faults();
    bench.store_on(1, BASE);
    let counts = bench.measured(|m| (m.shootdowns.requests, m.shootdowns.ipis_sent, m.local_invalidations));
    (counts.0, counts.1, counts.2, bench.codes())
}

#[test]
fn a_broadcast_flush_after_the_upgrade_spares_other_cpus_their_spurious_fault() {
    assert_eq!(upgrade_seen_by_two(&[]), (0, 0, 0, vec![0x7]), "x86: no flush, a spurious fault");
    let arm64 = "arch.set_access_flags=arm64";
    assert_eq!(upgrade_seen_by_two(&[arm64, "arch.access_flags_flush=broadcast"]), (1, 1, 0, vec![]));
    let local = upgrade_seen_by_two(&[arm64, "arch.access_flags_flush=local"]);
    assert_eq!(local, (0, 0, 1, vec![0x7]), "the page here, the spurious fault there");
}

#[test]
fn a_read_fault_flushes_by_the_generic_rule_only() {
    for (rule, requests) in [("arm64", 0), ("generic", 1)] {
        let mut bench =
            software_a(NEW, FileSystem::Ext4, rule, &[NO_PROT_A, "arch.access_flags_flush=broadcast"]);
        bench.mapped(4);
        bench.load(BASE);
        assert_eq!(bench.codes(), [0x4, 0x5]);
        assert_eq!(bench.flush_requests(), requests, "{rule}");
    }
}

#[test]
fn an_exchange_costs_more_than_a_store() {
    let cost = |rule: &str| {
        let mut bench = bench(OLD, FileSystem::Ext4, &[], &[&format!("arch.set_access_flags={rule}")]);
        bench.mapped(4);
        bench.load(BASE);
        bench.store(BASE);
        assert_eq!(bench.pte(BASE).without_frame(), 0x8200_0000_0000_0a67, "{rule}: the same entry");
        bench.finish().end
    };
    let rmw = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().cost.locked_rmw;
    assert_eq!(cost("generic"), cost("x86"));
    assert_eq!(cost("arm64") - cost("x86"), rmw);
}

#[test]
fn the_old_copy_of_a_forked_private_page_is_an_assist_or_a_fault() {
    let run = |mut bench: Bench| {
        let file = bench.file(4, daxsim_sim::kernel::NewFile::Filled);
        let private = MapRequest { shared: false, ..common::shared_map(file, BASE, 0, 4) };
        bench.run(0, bench.mm, Action::Map(private));
        bench.store(BASE);
        let child = bench.sim.with(|m| m.new_mm());
        bench.run(0, bench.mm, Action::Fork(child));
        bench.faults();
        bench.run(0, child, access(BASE, AccessKind::Read));
        (bench.codes(), a_assists(&bench))
    };
    assert_eq!(run(bench(NEW, FileSystem::Ext4, &[], &[])), (vec![], 1));
    assert_eq!(run(software_a(NEW, FileSystem::Ext4, "arm64", &[])), (vec![0x5], 0));
}
