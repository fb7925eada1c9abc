//! What a host sees of the machine.

mod maintenance;
mod mapping;
mod probes;

use daxsim_configs::{Override, load_kernel, load_machine};
use daxsim_types::{PageSize, Pfn, Time};

use super::*;
use crate::memory::Level;

const PAGE: u64 = 4096;
/// Where the tests' pages are: virtual, and in main memory.
const VA: u64 = 0x7f00_0000_0000;
const PA: u64 = 0x1234_0000;

fn bare_with(set: &[&str], options: Options) -> Bare {
    bare_of("skylake-sp-optane", set, options)
}

fn bare_of(machine: &str, set: &[&str], options: Options) -> Bare {
    let set: Vec<Override> = set.iter().map(|text| Override::parse(text).unwrap()).collect();
    let machine = load_machine(machine, &set).unwrap();
    Bare::new(machine, load_kernel("linux-7.2", &[]).unwrap(), options).unwrap()
}

fn bare(set: &[&str]) -> Bare {
    bare_with(set, Options::default())
}

/// A load of page `n` by CPU 0.
fn load(n: u64) -> Access {
    Access::load(0, VA + n * PAGE, PA + n * PAGE)
}

/// That counts and times add up.
fn check(bare: &Bare) {
    for cpu in 0..bare.cpus() as u16 {
        let all = bare.cpu_counts(cpu);
        let parts = bare.parts(cpu);
        assert_eq!(parts.total(), bare.now(cpu), "every moment has a part");
        for counts in [all.user, all.kernel] {
            assert_eq!(
                counts.total(),
                counts.first_level_hits + counts.second_level_hits + counts.walks,
                "{counts:?}"
            );
        }
        let both = |part: fn(&Counts) -> Time| part(&all.user) + part(&all.kernel);
        assert_eq!(parts[crate::measure::Part::User], both(|c| c.compute));
        assert_eq!(parts[crate::measure::Part::Walk], both(|c| c.walk));
        assert_eq!(parts[crate::measure::Part::Memory], both(|c| c.memory));
        bare.machine.cpus[usize::from(cpu)].tlbs.check_balance().unwrap();
        bare.machine.cpus[usize::from(cpu)].check_walk_caches().unwrap();
    }
}

#[test]
fn a_first_access_walks_four_entries_and_the_next_hits() {
    let mut bare = bare(&[]);
    let first = bare.access(&load(0)).unwrap();
    let again = bare.access(&load(0)).unwrap();
    let near = bare.access(&Access::load(0, VA + 64, PA + 64)).unwrap();
    assert!(first > near && near > again, "{first} {near} {again}");
    assert_eq!(again, Time::ZERO, "a hit is in the cycles of its instruction");
    let counts = bare.counts(0, Mode::User);
    assert_eq!((counts.walks, counts.walk_reads, counts.first_level_hits), (1, 4, 2));
    assert_eq!(counts.levels, [1, 0, 0, 0, 2, 0]);
    check(&bare);
}

#[test]
fn a_hit_takes_the_latency_of_the_l1d_if_so_asked() {
    let options = Options { charge: Charge::Latency, ..Options::default() };
    let mut bare = bare_with(&[], options);
    bare.access(&load(0)).unwrap();
    let hit = bare.access(&load(0)).unwrap();
    assert_eq!(hit, bare.spec().cache.l1d.latency);
    check(&bare);
}

#[test]
fn kernel_and_user_are_counted_apart_and_upper_addresses_are_addresses() {
    let mut bare = bare(&[]);
    let upper = Access::load(0, 0xffff_8880_1234_0000, PA).by_kernel().global().after(10);
    bare.access(&upper).unwrap();
    bare.access(&load(0).after(4)).unwrap();
    bare.access(&upper).unwrap();
    let (user, kernel) = (bare.counts(0, Mode::User), bare.counts(0, Mode::Kernel));
    assert_eq!((user.total(), user.walks, user.instructions), (1, 1, 4));
    assert_eq!((kernel.total(), kernel.walks, kernel.first_level_hits, kernel.instructions), (2, 1, 1, 20));
    assert_eq!(user.levels[Level::L1 as usize], 1, "the kernel had the line loaded by another address");
    check(&bare);
}

#[test]
fn persistent_memory_is_where_the_machine_has_it() {
    let mut bare = bare(&[]);
    let base = bare.spec().pmem.base;
    bare.access(&Access::store(0, VA, base)).unwrap();
    assert_eq!(bare.counts(0, Mode::User).levels[Level::Pmem as usize], 1);
    assert_eq!(bare.memory().pmem.reads, 1);
    check(&bare);
}

#[test]
fn an_access_of_two_lines_asks_for_both_and_one_beyond_the_page_is_cut() {
    let mut bare = bare(&[]);
    bare.access(&Access::load(0, VA + 60, PA + 60)).unwrap();
    let counts = bare.counts(0, Mode::User);
    assert_eq!((counts.further_lines, counts.cut, counts.levels[Level::Dram as usize]), (1, 0, 2));
    bare.access(&Access::load(0, VA + 4092, PA + 4092)).unwrap();
    let counts = bare.counts(0, Mode::User);
    assert_eq!((counts.further_lines, counts.cut, counts.levels[Level::Dram as usize]), (1, 1, 3));
    check(&bare);
}

#[test]
fn a_fetch_asks_the_tlbs_of_fetches_and_no_data_cache() {
    let mut bare = bare_of("ice-lake-sp", &[], Options::default());
    bare.access(&load(0).of_kind(kind::FETCH)).unwrap();
    let counts = bare.counts(0, Mode::User);
    assert_eq!((counts.walks, counts.levels), (1, [0; 6]));
    let itlb =
        bare.translation(0).into_iter().find(|(name, _)| *name == "itlb").map(|(_, stats)| stats.misses);
    assert_eq!(itlb, Some(1));
    check(&bare);
}

#[test]
fn what_is_no_access_is_refused_and_changes_nothing() {
    let mut bare = bare(&["cpu.count=2"]);
    let wrong = [
        Access { cpu: 2, ..load(0) },
        Access { kind: 4, ..load(0) },
        Access { size: 0, ..load(0) },
        Access { size: 4097, ..load(0) },
        Access { page: 4, ..load(0) },
        Access { flags: 4, ..load(0) },
        Access { reserved: 1, ..load(0) },
        Access { va: 1 << 50, pa: 0, ..load(0) },
        Access { va: VA + 1, ..load(0) },
        Access { pa: 1 << 60, ..load(0) },
    ];
    let before = bare.cpu_counts(0);
    for access in wrong {
        let error = bare.access(&access).unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
    }
    assert_eq!(bare.cpu_counts(0), before);
    let error = bare.run(&[load(0), load(1), wrong[0], load(2)], |_, _| {}).unwrap_err();
    assert_eq!(error, (2, AccessError::NoSuchCpu { cpu: 2, count: 2 }));
    assert_eq!(bare.counts(0, Mode::User).total(), 2, "those before it are made");
    let misplaced = load(1).in_page(PageSize::Size2M);
    let misplaced = Access { pa: misplaced.pa + PAGE, ..misplaced };
    assert!(matches!(bare.access(&misplaced), Err(AccessError::Offset { page: PageSize::Size2M, .. })));
}

#[test]
fn a_cpu_that_was_away_comes_back_near_the_latest_clock() {
    let mut bare = bare(&["cpu.count=2"]);
    bare.execute(0, Mode::User, 1_000_000).unwrap();
    bare.access(&Access { cpu: 1, ..load(0) }).unwrap();
    let skew = bare.options.max_skew;
    assert!(bare.now(1) >= bare.now(0).saturating_sub(skew));
    assert_eq!(bare.parts(1)[crate::measure::Part::Idle], bare.now(0).saturating_sub(skew));
    check(&bare);
}

#[test]
fn a_machine_that_needs_software_is_refused() {
    let kernel = || load_kernel("linux-7.2", &[]).unwrap();
    let set = [Override::parse("mmu.dirty=software").unwrap()];
    let software = load_machine("skylake-sp-optane", &set).unwrap();
    assert_eq!(Bare::new(software, kernel(), Options::default()).err(), Some(BareError::SoftwareBits));
    let names = daxsim_configs::builtin_machines().unwrap().into_iter().map(|info| info.name);
    let guests = names.filter(|name| load_machine(name, &[]).unwrap().nested.is_some());
    for name in guests {
        let guest = load_machine(name, &[]).unwrap();
        assert_eq!(Bare::new(guest, kernel(), Options::default()).err(), Some(BareError::Nested), "{name}");
    }
}

#[test]
fn cpus_take_lines_from_each_other() {
    let mut bare = bare(&["cpu.count=2"]);
    let by = |cpu| Access { cpu, ..Access::store(0, VA, PA) };
    for cpu in [0, 1, 0] {
        bare.access(&by(cpu)).unwrap();
    }
    assert_eq!(bare.counts(0, Mode::User).levels[Level::Transfer as usize], 1);
    assert_eq!(bare.counts(1, Mode::User).levels[Level::Transfer as usize], 1);
    assert_eq!(bare.mapped(1, VA), Some((Pfn(PA >> 12), PageSize::Size4K)), "one address space");
    check(&bare);
}
