//! Instructions, loads and stores of each kind of simulated fault against those of real kernels: within 5 %, all three.
//!
//! The expected figures were counted with a QEMU TCG plugin on Debian 6.12.117 and 7.2.12 kernels (mitigations off, one pinned
//! thread, no tracing), between one user access to the mapping and the next: the median over the accesses of one script line,
//! that is 127 or more faults. Where a row has a second pass, the program ran its script again over the same files.

mod common;

use common::{BASE, Bench, FSDAX, HUGE, NEW, OLD, PAGE, shared_map};
use daxsim_sim::kernel::{FileId, MapRequest, NewFile};
use daxsim_sim::measure::{Executed, FaultKind};
use daxsim_sim::program::Action;
use daxsim_types::AccessKind::{Read, Write};

/// Instructions, loads, stores.
type Triple = [f64; 3];
/// 6.12 ext4, 6.12 XFS, 7.2 ext4, 7.2 XFS.
type Row = [Triple; 4];

/// Pages of the mappings; the first one's fault makes the page table and is not counted.
const PAGES: u64 = 128;
const REST: (u64, u64) = (BASE + PAGE, PAGES - 1);

/// What rows of 2 MiB faults hold of the test program. Such a row has only two samples, and the first of them
/// reaches back to the script line before: it holds the writing of a log line, and, where the mapping is made in between, that
/// of another and a mmap. The figures are what of that is in the row: half, if the row is a mean. The same three figures serve both kernels, both file systems and all
/// kinds of fault, for instructions, loads and stores alike; none of it is a cost of the fault.
mod residue {
    use super::Triple;

    /// Of a log line.
    pub const LINE: Triple = [6544.0, 1279.0, 863.0];
    /// Of a mmap with the program's work for it.
    pub const MMAP: Triple = [5995.0, 1761.0, 1256.0];
    /// Of what a log line costs more in one of the passes of a row: the steps that the system-call rows show too.
    pub const STEP: Triple = [3229.0, 973.0, 586.0];

    pub fn sum(parts: &[Triple]) -> Triple {
        parts.iter().fold([0.0; 3], |sum, part| [0, 1, 2].map(|i| sum[i] + part[i]))
    }
}

fn counted(bench: &Bench, kind: FaultKind) -> (u64, Executed) {
    bench.measured(|m| {
        m.latencies.get(kind).map_or_else(Default::default, |l| (l.histogram.len(), l.executed))
    })
}

/// Means over the faults of `kind` that `run` causes.
fn mean(bench: &mut Bench, kind: FaultKind, faults: u64, run: impl FnOnce(&mut Bench)) -> Triple {
    let before = counted(bench, kind);
    run(bench);
    let after = counted(bench, kind);
    assert_eq!(after.0 - before.0, faults, "faults of kind {}", kind.name());
    let grown = after.1 - before.1;
    [grown.instructions, grown.loads, grown.stores].map(|n| n as f64 / faults as f64)
}

/// Simulates a fault everywhere and compares; `simulate` returns what the real kernel's row is to be compared with.
fn check(row: Row, simulate: impl Fn(&mut Bench) -> Triple) {
    check_where(row.map(Some), simulate);
}

/// The same for a row that is not there for every column.
fn check_where(row: [Option<Triple>; 4], simulate: impl Fn(&mut Bench) -> Triple) {
    let cases = [OLD, NEW].into_iter().flat_map(|kernel| FSDAX.map(|fs| (kernel, fs)));
    for ((kernel, fs), want) in cases.zip(row) {
        let Some(want) = want else { continue };
        let got = simulate(&mut Bench::tcg(kernel, fs));
        let errors = [0, 1, 2].map(|i| (got[i] - want[i]) / want[i] * 100.0);
        assert!(
            errors.iter().all(|e| e.abs() <= 5.0),
            "{kernel} {fs}: {got:.0?} for {want:.0?}: {errors:+.1?} %"
        );
    }
}

/// A mapping with a page table, made by a fault of the other kind than the one to be counted.
fn mapped(bench: &mut Bench, new: NewFile, of: FaultKind) -> FileId {
    let file = bench.mapped_as(PAGES, new);
    bench.touch(0, BASE, 1, if of == FaultKind::Read { Write } else { Read });
    file
}

fn rest(bench: &mut Bench, kind: daxsim_types::AccessKind) {
    bench.touch(0, REST.0, REST.1, kind);
}

/// Faults of `kind` on all pages but the first.
fn rest_of(bench: &mut Bench, kind: FaultKind) -> Triple {
    let access = if kind == FaultKind::Read { Read } else { Write };
    mean(bench, kind, REST.1, |b| rest(b, access))
}

fn only(bench: &mut Bench, new: NewFile, kind: FaultKind) -> Triple {
    mapped(bench, new, kind);
    rest_of(bench, kind)
}

/// The second pass of the script: the program opens the file again with its old size and maps it again. The blocks are there;
/// the DAX entries are where the layout break of ftruncate does not delete them.
fn again(bench: &mut Bench, file: FileId) {
    bench.unmap(BASE, PAGES);
    bench.run(0, bench.mm, Action::Truncate { file, size: PAGES * PAGE });
    bench.map(file, BASE, 0, PAGES);
}

#[test]
fn read_of_a_written_block() {
    let row =
        [[5290.0, 1259.0, 852.0], [5427.0, 1270.0, 845.0], [5042.0, 1216.0, 855.0], [5364.0, 1259.0, 868.0]];
    check(row, |b| only(b, NewFile::Filled, FaultKind::Read));
}

#[test]
fn store_to_a_read_only_entry() {
    let row = [
        [6338.0, 1589.0, 1042.0],
        [4858.0, 1201.0, 807.0],
        [5917.0, 1502.0, 1023.0],
        [4579.0, 1153.0, 796.0],
    ];
    check(row, |b| {
        mapped(b, NewFile::Filled, FaultKind::Read);
        rest(b, Read);
        rest_of(b, FaultKind::Mkwrite)
    });
}

#[test]
fn store_after_msync_cleaned_the_page() {
    let row = [
        [6421.0, 1592.0, 1042.0],
        [4941.0, 1204.0, 807.0],
        [6000.0, 1505.0, 1023.0],
        [4662.0, 1156.0, 796.0],
    ];
    check(row, |b| {
        mapped(b, NewFile::Filled, FaultKind::Read);
        rest(b, Write);
        b.msync(BASE, PAGES);
        rest_of(b, FaultKind::Mkwrite)
    });
}

#[test]
fn first_store_to_a_written_block() {
    let row = [
        [6392.0, 1572.0, 1033.0],
        [5027.0, 1222.0, 814.0],
        [6163.0, 1537.0, 1048.0],
        [4958.0, 1232.0, 840.0],
    ];
    check(row, |b| only(b, NewFile::Filled, FaultKind::Write));
}

#[test]
fn read_of_a_hole() {
    let row =
        [[4903.0, 1125.0, 807.0], [4959.0, 1133.0, 799.0], [4543.0, 1060.0, 762.0], [4756.0, 1090.0, 777.0]];
    check(row, |b| only(b, NewFile::Sparse, FaultKind::Read));
}

#[test]
fn read_of_what_was_a_hole_in_the_second_pass() {
    let row =
        [[5138.0, 1225.0, 828.0], [5398.0, 1261.0, 821.0], [5143.0, 1223.0, 854.0], [5373.0, 1248.0, 868.0]];
    check(row, |b| {
        let file = mapped(b, NewFile::Sparse, FaultKind::Read);
        rest(b, Write);
        again(b, file);
        b.touch(0, BASE, 1, Write);
        rest_of(b, FaultKind::Read)
    });
}

#[test]
fn store_to_a_hole_that_a_read_mapped() {
    let row = [
        [20_985.0, 6154.0, 3708.0],
        [29_010.0, 7982.0, 5468.0],
        [21_049.0, 6017.0, 3697.0],
        [30_305.0, 8234.0, 5825.0],
    ];
    check(row, |b| {
        mapped(b, NewFile::Sparse, FaultKind::Write);
        rest(b, Read);
        rest_of(b, FaultKind::Write)
    });
}

#[test]
fn store_to_a_read_only_entry_of_what_was_a_hole_in_the_second_pass() {
    let row = [
        [6441.0, 1598.0, 1042.0],
        [4924.0, 1206.0, 807.0],
        [6026.0, 1511.0, 1023.0],
        [4648.0, 1158.0, 796.0],
    ];
    check(row, |b| {
        let file = mapped(b, NewFile::Sparse, FaultKind::Write);
        rest(b, Write);
        again(b, file);
        b.touch(0, BASE, PAGES, Read);
        rest_of(b, FaultKind::Mkwrite)
    });
}

#[test]
fn first_store_to_a_hole() {
    let row = [
        [19_845.0, 5871.0, 3521.0],
        [28_313.0, 7862.0, 5362.0],
        [19_950.0, 5739.0, 3515.0],
        [29_632.0, 8112.0, 5717.0],
    ];
    check(row, |b| only(b, NewFile::Sparse, FaultKind::Write));
}

#[test]
fn first_store_to_what_was_a_hole_in_the_second_pass() {
    let row = [
        [6163.0, 1530.0, 1009.0],
        [4816.0, 1182.0, 791.0],
        [6219.0, 1543.0, 1048.0],
        [5022.0, 1238.0, 841.0],
    ];
    check(row, |b| {
        let file = mapped(b, NewFile::Sparse, FaultKind::Write);
        rest(b, Write);
        again(b, file);
        b.touch(0, BASE, 1, Read);
        rest_of(b, FaultKind::Write)
    });
}

/// An 8 MiB file, whose mapping finds the tables above the PMD table; two faults of `kind` on it.
fn huge(bench: &mut Bench, kind: FaultKind) -> Triple {
    let neighbour = bench.file(1, NewFile::Filled);
    bench.map(neighbour, BASE + (1 << 30), 0, 1);
    bench.load(BASE + (1 << 30));
    let file = bench.mapped(4 * 512);
    assert!(bench.block(file, 0).0.is_multiple_of(512));
    let touch = |b: &mut Bench, first: u64, access| {
        b.run(
            0,
            b.mm,
            Action::Access(daxsim_sim::program::Accesses::Stride {
                start: daxsim_types::VirtAddr(BASE + first * HUGE),
                count: 2,
                stride: HUGE,
                kind: access,
            }),
        );
    };
    if kind == FaultKind::PmdWrite {
        return mean(bench, kind, 2, |b| touch(b, 0, Write));
    }
    touch(bench, 0, Write);
    if kind == FaultKind::PmdMkwrite {
        touch(bench, 2, Read);
    }
    let access = if kind == FaultKind::PmdRead { Read } else { Write };
    mean(bench, kind, 2, |b| touch(b, 2, access))
}

#[test]
fn read_of_2m() {
    let row = [
        [18_437.0, 2957.0, 2648.0],
        [18_679.0, 3006.0, 2693.0],
        [16_025.0, 2515.0, 3262.0],
        [16_334.0, 2585.0, 3322.0],
    ];
    check(row, |b| residue::sum(&[huge(b, FaultKind::PmdRead), residue::LINE]));
}

/// The first of the two also makes the PMD table.
#[test]
fn first_store_to_2m() {
    use residue::{LINE, MMAP, STEP};
    let second = [
        [34_965.0, 6537.0, 7078.0],
        [34_575.0, 6382.0, 7086.0],
        [33_090.0, 6200.0, 7807.0],
        [32_880.0, 6174.0, 7901.0],
    ];
    check(second, |b| residue::sum(&[huge(b, FaultKind::PmdWrite), LINE, LINE, MMAP]));
    let first = [
        Some([38_579.0, 7614.0, 7708.0]),
        Some([38_158.0, 7438.0, 7745.0]),
        None,
        Some([36_381.0, 7208.0, 8585.0]),
    ];
    check_where(first, |b| residue::sum(&[huge(b, FaultKind::PmdWrite), LINE, LINE, MMAP, STEP]));
}

#[test]
fn store_to_a_read_only_2m_entry() {
    use residue::{LINE, STEP};
    let second = [
        [12_050.0, 2639.0, 1749.0],
        [11_591.0, 2484.0, 1664.0],
        [11_799.0, 2614.0, 1776.0],
        [11_477.0, 2507.0, 1709.0],
    ];
    check(second, |b| residue::sum(&[huge(b, FaultKind::PmdMkwrite), LINE]));
    let first = [None, None, Some([14_858.0, 3506.0, 2318.0]), None];
    check_where(first, |b| residue::sum(&[huge(b, FaultKind::PmdMkwrite), LINE, STEP]));
}

/// A private mapping of a written file, with a page table.
fn private(bench: &mut Bench, first: daxsim_types::AccessKind) {
    let file = bench.file(PAGES, NewFile::Filled);
    let request = MapRequest { shared: false, ..shared_map(file, BASE, 0, PAGES) };
    bench.run(0, bench.mm, Action::Map(request));
    bench.touch(0, BASE, 1, first);
}

#[test]
fn read_of_a_private_mapping() {
    let row =
        [[5386.0, 1267.0, 852.0], [5493.0, 1275.0, 845.0], [5136.0, 1222.0, 854.0], [5433.0, 1262.0, 868.0]];
    check(row, |b| {
        private(b, Write);
        rest_of(b, FaultKind::Read)
    });
}

/// The emulator runs the copying instruction once for each byte, and so it is counted.
#[test]
fn private_store_over_a_read_only_entry() {
    let row = [
        [7215.0, 4896.0, 4602.0],
        [7215.0, 4896.0, 4602.0],
        [7668.0, 5017.0, 4693.0],
        [7668.0, 5017.0, 4693.0],
    ];
    check(row, |b| {
        private(b, Read);
        rest(b, Read);
        rest_of(b, FaultKind::Cow)
    });
}

#[test]
fn private_first_store() {
    let row = [
        [6084.0, 1885.0, 1437.0],
        [5389.0, 1736.0, 1348.0],
        [6181.0, 1943.0, 1495.0],
        [5611.0, 1814.0, 1414.0],
    ];
    check(row, |b| {
        private(b, Read);
        rest_of(b, FaultKind::Cow)
    });
}

#[test]
fn first_store_of_map_sync_with_clean_metadata() {
    let row = [
        [6417.0, 1574.0, 1033.0],
        [5079.0, 1227.0, 815.0],
        [6223.0, 1543.0, 1048.0],
        [5038.0, 1241.0, 842.0],
    ];
    check(row, |b| {
        let file = b.file(PAGES, NewFile::Filled);
        let request = MapRequest { sync: true, ..shared_map(file, BASE, 0, PAGES) };
        b.run(0, b.mm, Action::Map(request));
        b.touch(0, BASE, 1, Read);
        rest_of(b, FaultKind::Write)
    });
}

/// Totals of a system call on one page and on 32.
type Pair = (Triple, Triple);

/// What each page adds to a system call, between 1 dirty page and 32. The real totals scatter by steps of the test program's log,
/// so the simulated slope is to lie between the least and the greatest of the real ones.
fn check_slope(kernel: &str, fs: daxsim_types::FileSystem, pairs: &[Pair], call: impl Fn(u64) -> Action) {
    let executed = |pages: u64| {
        let mut bench = Bench::tcg(kernel, fs);
        bench.mapped(PAGES);
        bench.touch(0, BASE, PAGES, Write);
        let now = |b: &Bench| b.sim.with(|m| m.cpu_executed(daxsim_types::CpuId(0)));
        let before = now(&bench);
        bench.run(0, bench.mm, call(pages * PAGE));
        let grown = now(&bench) - before;
        [grown.instructions, grown.loads, grown.stores].map(|n| n as f64)
    };
    let (one, many) = (executed(1), executed(32));
    for figure in 0..3 {
        let got = (many[figure] - one[figure]) / 31.0;
        let slopes = pairs.iter().map(|(one, many)| (many[figure] - one[figure]) / 31.0);
        let (least, most) = slopes.fold((f64::MAX, f64::MIN), |(l, m), s| (l.min(s), m.max(s)));
        assert!((least..=most).contains(&got), "{kernel} {fs}: {got:.1} not in {least:.1}..={most:.1}");
    }
}

#[test]
fn each_page_of_msync() {
    let old = [
        ([20_994.0, 4952.0, 3379.0], [71_984.0, 14_454.0, 8736.0]),
        ([12_937.0, 2563.0, 1895.0], [67_807.0, 13_183.0, 7984.0]),
        ([19_985.0, 4703.0, 3180.0], [71_908.0, 14_407.0, 8714.0]),
    ];
    let new = [
        ([17_723.0, 3951.0, 2750.0], [79_555.0, 16_646.0, 10_526.0]),
        ([20_842.0, 4904.0, 3338.0], [76_126.0, 15_561.0, 9855.0]),
        ([17_588.0, 3901.0, 2722.0], [76_126.0, 15_561.0, 9855.0]),
    ];
    for fs in FSDAX {
        check_slope(OLD, fs, &old, |len| Action::Msync { start: BASE, len });
        check_slope(NEW, fs, &new, |len| Action::Msync { start: BASE, len });
    }
}

/// madvise(DONTNEED) and munmap; 6.12 counts no mappings.
#[test]
fn each_page_unmapped() {
    let old = [
        ([18_294.0, 4191.0, 2647.0], [19_232.0, 4478.0, 2642.0]),
        ([14_098.0, 2909.0, 1896.0], [15_034.0, 3194.0, 1889.0]),
        ([20_859.0, 4594.0, 3739.0], [21_238.0, 4876.0, 3234.0]),
        ([25_056.0, 5877.0, 4491.0], [25_293.0, 6124.0, 3957.0]),
        ([25_056.0, 5877.0, 4491.0], [28_805.0, 7206.0, 4610.0]),
    ];
    let new = [
        ([15_986.0, 3625.0, 2422.0], [37_726.0, 9462.0, 5759.0]),
        ([15_986.0, 3625.0, 2422.0], [34_455.0, 8441.0, 5137.0]),
        ([26_082.0, 6158.0, 4619.0], [40_674.0, 10_121.0, 6502.0]),
        ([30_639.0, 7541.0, 5467.0], [40_557.0, 10_085.0, 6480.0]),
        ([26_073.0, 6153.0, 4620.0], [40_557.0, 10_085.0, 6480.0]),
    ];
    for fs in FSDAX {
        for (kernel, pairs) in [(OLD, &old), (NEW, &new)] {
            check_slope(kernel, fs, pairs, |len| Action::Unmap { start: BASE, len });
            check_slope(kernel, fs, pairs, |len| Action::Advise {
                start: BASE,
                len,
                advice: daxsim_sim::kernel::Advice::DontNeed,
            });
        }
    }
}

/// Switching one knob of one tree moves the instructions by the work of that knob alone.
#[test]
fn a_knob_is_paid_for_by_itself() {
    let store = |knobs: &[&str]| {
        let mut bench = Bench::with("qemu-tcg", OLD, daxsim_types::FileSystem::Xfs, &[], knobs);
        only(&mut bench, NewFile::Filled, FaultKind::Write)
    };
    let path = daxsim_configs::load_kernel(OLD, &[]).unwrap().path_length.common;
    let base = store(&[]);
    let added = |knobs: &[&str]| {
        let with = store(knobs);
        [0, 1, 2].map(|i| (with[i] - base[i]).round() as i64)
    };
    let of = |p: daxsim_configs::kernel::PathLength, n: i64| {
        [p.instructions, p.loads, p.stores].map(|count| i64::from(count) * n)
    };
    let held = added(&["dax.temp_ref_around_insert=true"]);
    assert_eq!(held, of(path.temp_ref, 1));
    // A page that is counted has to be held while it is inserted.
    let counted = added(&["dax.temp_ref_around_insert=true", "dax.refcount_per_map=1"]);
    assert_eq!([0, 1, 2].map(|i| counted[i] - held[i]), of(path.count_mapping_4k, 1));
    assert_eq!(added(&["dax.memtype_lookup=false"]), of(path.memtype_lookup, -1));
}
