//! Kernel instructions per simulated fault against those of real kernels.
//!
//! The expected medians were counted with a QEMU TCG plugin on Debian 6.12.117 and 7.2.12 kernels
//! (mitigations off, one pinned thread, no tracing), between one user access to the mapping and the next.

mod common;

use common::{BASE, Bench, FSDAX, NEW, OLD, PAGE};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::measure::FaultKind;
use daxsim_types::AccessKind;

/// Instructions per fault of `kind` after `prepare` made the page table, for a file made as `new`.
fn instructions(bench: Bench, kind: FaultKind) -> f64 {
    let results = bench.finish();
    let latency = results.measurements.latencies.get(kind).unwrap();
    latency.instructions as f64 / latency.histogram.len() as f64
}

/// Runs `program` everywhere and compares the instructions per fault of `kind`: 6.12 ext4, 6.12 XFS, 7.2 ext4, 7.2 XFS.
fn check(new: &NewFile, kind: FaultKind, measured: [f64; 4], program: impl Fn(&mut Bench)) {
    let cases = [OLD, NEW].into_iter().flat_map(|kernel| FSDAX.map(|fs| (kernel, fs)));
    for ((kernel, fs), want) in cases.zip(measured) {
        let mut bench = Bench::tcg(kernel, fs);
        bench.mapped_as(128, new.clone());
        program(&mut bench);
        let got = instructions(bench, kind);
        let error = (got - want) / want;
        assert!(error.abs() <= 0.05, "{kernel} {fs}: {got:.0} for {want} counted ({:+.1} %)", error * 100.0);
    }
}

/// Makes the page table of [`BASE`] by a fault of another kind than the one to be counted.
fn with_table(bench: &mut Bench, kind: AccessKind) {
    bench.touch(0, BASE, 1, kind);
}

fn rest(bench: &mut Bench, kind: AccessKind) {
    bench.touch(0, BASE + PAGE, 127, kind);
}

#[test]
fn read_of_a_written_block() {
    check(&NewFile::Filled, FaultKind::Read, [5290.0, 5427.0, 5042.0, 5364.0], |bench| {
        with_table(bench, AccessKind::Write);
        rest(bench, AccessKind::Read);
    });
}

#[test]
fn first_store_to_a_written_block() {
    check(&NewFile::Filled, FaultKind::Write, [6392.0, 5027.0, 6163.0, 4958.0], |bench| {
        with_table(bench, AccessKind::Read);
        rest(bench, AccessKind::Write);
    });
}

#[test]
fn store_to_a_read_only_entry() {
    check(&NewFile::Filled, FaultKind::Mkwrite, [6338.0, 4858.0, 5917.0, 4579.0], |bench| {
        with_table(bench, AccessKind::Write);
        rest(bench, AccessKind::Read);
        rest(bench, AccessKind::Write);
    });
}

#[test]
fn store_after_msync_cleaned_the_page() {
    check(&NewFile::Filled, FaultKind::Mkwrite, [6421.0, 4941.0, 6000.0, 4662.0], |bench| {
        with_table(bench, AccessKind::Write);
        rest(bench, AccessKind::Write);
        bench.msync(BASE, 128);
        rest(bench, AccessKind::Write);
    });
}

#[test]
fn read_of_a_hole() {
    check(&NewFile::Sparse, FaultKind::Read, [4903.0, 4959.0, 4543.0, 4756.0], |bench| {
        with_table(bench, AccessKind::Write);
        rest(bench, AccessKind::Read);
    });
}

#[test]
fn first_store_to_a_hole() {
    check(&NewFile::Sparse, FaultKind::Write, [19_845.0, 28_313.0, 19_950.0, 29_632.0], |bench| {
        with_table(bench, AccessKind::Read);
        rest(bench, AccessKind::Write);
    });
}

#[test]
fn store_to_a_hole_that_a_read_mapped() {
    check(&NewFile::Sparse, FaultKind::Write, [20_985.0, 29_010.0, 21_049.0, 30_305.0], |bench| {
        bench.touch(0, BASE, 128, AccessKind::Read);
        rest(bench, AccessKind::Write);
    });
}
