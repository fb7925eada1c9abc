//! User addresses above 47 bits: with five levels of paging they are memory like any other, with four they are none.

mod common;

use common::{BASE, Bench, NEW, PAGE, everywhere, shared_map};
use daxsim_sim::kernel::{NewFile, SyscallError};
use daxsim_sim::program::Action;
use daxsim_types::AccessKind::{Read, Write};
use daxsim_types::FileSystem;

/// Above what four levels translate.
const FAR: u64 = 1 << 52;
const END: u64 = (1 << 56) - PAGE;

fn bench(kernel: &str, fs: FileSystem, levels: u32) -> Bench {
    Bench::with("skylake-sp-optane", kernel, fs, &["cpu.count=2", &format!("mmu.levels={levels}")], &[])
}

#[test]
fn with_five_levels_a_map_may_lie_up_to_57_bits() {
    everywhere(|kernel, fs| {
        let mut bench = bench(kernel, fs, 5);
        let file = bench.file(8, NewFile::Filled);
        for start in [FAR, END - 8 * PAGE] {
            bench.map(file, start, 0, 8);
            assert_eq!(bench.touch(0, start, 8, Write).signals, 0);
            assert_eq!(bench.touch(1, start, 8, Read).signals, 0);
            assert!(bench.faults().iter().all(|fault| fault.address.0 >= start));
            assert_eq!(bench.msync(start, 8).error, None);
            assert!(bench.cached(1, start).is_none(), "write-protected there, too");
            assert_eq!(bench.sim.with(|m| m.check_consistency()), Ok(()));
            assert_eq!(bench.unmap(start, 8).error, None);
            assert_eq!(bench.load(start).signals, 1);
            bench.faults();
        }
        assert_eq!(bench.measured(|m| m.general_protections), 0);
        bench.map(file, FAR, 0, 8);
        bench.run(0, bench.mm, Action::Exit);
        assert_eq!(bench.rss(), 0, "the end of the process reaches them");
    });
}

#[test]
fn with_four_levels_a_map_there_is_refused_and_an_access_is_no_page_fault() {
    let mut bench = bench(NEW, FileSystem::Ext4, 4);
    let file = bench.file(8, NewFile::Filled);
    let limit = (1 << 47) - PAGE;
    let map = |start| Action::Map(shared_map(file, start, 0, 8));
    let refused = |start| Some(SyscallError::NoAddresses { start, len: 8 * PAGE, limit });
    for start in [FAR, limit, limit - 7 * PAGE] {
        assert_eq!(bench.run(0, bench.mm, map(start)).error, refused(start));
    }
    assert_eq!(bench.run(0, bench.mm, map(limit - 8 * PAGE)).error, None);
    assert_eq!((bench.load(FAR).signals, bench.store(1 << 47).signals), (1, 1));
    assert!(bench.faults().is_empty());
    assert_eq!(bench.measured(|m| (m.general_protections, m.faults.total)), (2, 0));
}

#[test]
fn with_five_levels_57_bits_are_the_end() {
    let mut bench = bench(NEW, FileSystem::Ext4, 5);
    let file = bench.file(8, NewFile::Filled);
    let request = shared_map(file, END, 0, 1);
    let refused = SyscallError::NoAddresses { start: END, len: PAGE, limit: END };
    assert_eq!(bench.run(0, bench.mm, Action::Map(request)).error, Some(refused));
    // Nothing is mapped there, but it is an address; beyond, there is none.
    assert_eq!((bench.load(FAR).signals, bench.load(1 << 56).signals), (1, 1));
    assert_eq!(bench.codes(), [0x4]);
    assert_eq!(bench.measured(|m| m.general_protections), 1);
    bench.map(file, BASE, 0, 8);
    assert_eq!(bench.load(BASE).signals, 0, "and below all is as with four");
}
