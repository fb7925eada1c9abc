//! The path lengths add up to what was counted on real kernels.
//!
//! Debian kernels 6.12.117 and 7.2.12 in QEMU's TCG, mitigations=off, one pinned thread; a TCG plugin
//! counted the instructions between one user access and the next.

use daxsim_types::FileSystem::{self, Ext4, Xfs};

use crate::kernel::{CommonPath, FsPath, KernelSpec};
use crate::load_kernel;

/// What two samples of a 2 MiB fault hold of the test program's work between two script lines, and with
/// a mmap. Neither kernel, file system nor kind of fault moves them by more than 2 % of the total.
const BETWEEN_LINES: u32 = 6590;
const BETWEEN_LINES_WITH_MMAP: u32 = 22_425;

/// Totals on 6.12 ext4, 6.12 XFS, 7.2 ext4, 7.2 XFS.
fn check(what: &str, measured: [u32; 4], sum: impl Fn(&Fault) -> u32) {
    let cases = [("linux-6.12", Ext4), ("linux-6.12", Xfs), ("linux-7.2", Ext4), ("linux-7.2", Xfs)];
    for ((kernel, fs), measured) in cases.into_iter().zip(measured) {
        let spec = load_kernel(kernel, &[]).unwrap();
        let fault = Fault { spec: &spec, c: &spec.path_length.common, f: spec.path_length.of(fs), fs };
        let sum = sum(&fault);
        let error = (f64::from(sum) - f64::from(measured)) / f64::from(measured);
        assert!(error.abs() <= 0.02, "{what}, {kernel} {fs}: {sum} for {measured} measured");
    }
}

struct Fault<'a> {
    spec: &'a KernelSpec,
    c: &'a CommonPath,
    f: &'a FsPath,
    fs: FileSystem,
}

impl Fault<'_> {
    fn memtype(&self) -> u32 {
        if self.spec.dax.memtype_lookup { self.c.memtype_lookup } else { 0 }
    }

    /// Entry to exit around the handler, done under the VMA lock.
    fn under_vma_lock(&self) -> u32 {
        self.c.entry + self.c.vma_lock + self.c.dispatch + self.c.vma_unlock + self.c.exit
    }

    /// The same for 4 KiB; ext4 is refused under the VMA lock and comes again under the mmap lock.
    fn frame(&self) -> u32 {
        match self.fs {
            Ext4 => self.under_vma_lock() + self.c.mmap_lock + self.c.dispatch + self.c.mmap_unlock,
            _ => self.under_vma_lock(),
        }
    }

    fn passes(&self) -> u32 {
        if self.fs == Ext4 { 2 } else { 1 }
    }

    /// Lookup and lock of the entry, extent, unlock.
    fn entry(&self) -> u32 {
        self.c.grab_entry + self.f.iomap + self.c.unlock_entry
    }

    fn fresh(&self) -> u32 {
        self.c.direct_access
            + self.c.insert_entry_new
            + self.c.associate_per_page
            + self.c.insert_4k_fresh
            + self.memtype()
    }

    fn read(&self) -> u32 {
        self.f.fault_around + self.f.read
    }

    fn flush(&self) -> u32 {
        self.c.flush_request + self.c.flush_func
    }

    fn new_2m(&self) -> u32 {
        self.under_vma_lock()
            + self.entry()
            + self.c.direct_access
            + self.c.insert_entry_new
            + 512 * self.c.associate_per_page
            + self.memtype()
            + self.c.insert_2m
    }
}

#[test]
fn read_fault_of_a_block() {
    check("read", [5290, 5427, 5042, 5364], |x| x.frame() + x.read() + x.entry() + x.fresh());
}

#[test]
fn first_store_to_a_block() {
    check("store", [6392, 5027, 6163, 4958], |x| x.frame() + x.f.write + x.entry() + x.fresh());
}

#[test]
fn store_to_a_read_only_entry() {
    check("upgrade", [6338, 4858, 5917, 4579], |x| {
        x.frame()
            + x.passes() * x.c.wp_page
            + x.f.write
            + x.entry()
            + x.c.direct_access
            + x.c.insert_entry_keep
            + x.c.insert_4k_upgrade
            + x.memtype()
    });
}

#[test]
fn read_of_a_hole() {
    check("hole", [4903, 4959, 4543, 4756], |x| {
        x.frame() + x.read() + x.entry() + x.c.insert_entry_new + x.c.insert_4k_zero
    });
}

#[test]
fn store_to_an_unmapped_hole() {
    check("allocation", [19_845, 28_313, 19_950, 29_632], |x| {
        x.frame() + x.f.write + x.entry() + x.f.block_alloc + 64 * x.c.zero_line + x.fresh()
    });
}

#[test]
fn store_to_a_hole_that_a_read_mapped() {
    check("allocation over the zero page", [20_985, 29_010, 21_049, 30_305], |x| {
        x.frame()
            + x.passes() * x.c.wp_page
            + x.f.write
            + x.entry()
            + x.f.block_alloc
            + 64 * x.c.zero_line
            + x.c.unmap_mapping
            + x.c.zap_entry
            + x.flush()
            + x.fresh()
    });
}

#[test]
fn read_fault_of_2m() {
    check("2 MiB read", [18_437, 18_679, 16_025, 16_334], |x| x.new_2m() + x.f.read + BETWEEN_LINES);
}

#[test]
fn first_store_to_2m() {
    check("2 MiB store", [34_965, 34_575, 33_090, 32_880], |x| {
        x.new_2m() + x.f.write + BETWEEN_LINES_WITH_MMAP
    });
}

#[test]
fn store_to_a_read_only_2m_entry() {
    check("2 MiB upgrade", [12_050, 11_591, 11_799, 11_477], |x| {
        x.under_vma_lock()
            + x.c.wp_page
            + x.f.write
            + x.entry()
            + x.c.direct_access
            + x.c.insert_entry_keep
            + x.memtype()
            + x.c.insert_2m
            + BETWEEN_LINES
    });
}

/// The slopes scatter, by steps of the test program's log: the sum lies between the least and the greatest.
#[test]
fn slopes_over_pages() {
    let [old, new] = ["linux-6.12", "linux-7.2"].map(|k| load_kernel(k, &[]).unwrap().path_length.common);
    let slope = |one: u32, thirty_two: u32| (thirty_two - one) / 31;
    let msync = |c: &CommonPath| c.writeback_entry + c.writeback_vma + c.flush_request + c.flush_func;
    let msync_old = slope(20_994, 71_984)..=slope(12_937, 67_807);
    let msync_new = slope(20_842, 76_126)..=slope(17_723, 79_555);
    assert!(msync_old.contains(&msync(&old)) && msync_new.contains(&msync(&new)));
    let zap = |c: &CommonPath| c.zap_entry + c.zap_counted;
    // munmap and DONTNEED of 1 and 32 dirty pages.
    let zap_old = slope(25_056, 25_293)..=slope(18_294, 19_232);
    let zap_new = slope(26_073, 40_557)..=slope(15_986, 34_461);
    assert!(zap_old.contains(&zap(&old)) && zap_new.contains(&zap(&new)));
}
