//! What a fault leaves in the page table, beyond the numbered statements (`statements/insertion.rs`).

mod common;

use common::{BASE, Bench, HUGE, KERNELS, PAGE, per_kernel};
use daxsim_sim::kernel::NewFile;
use daxsim_sim::mmu::entry::Entry;
use daxsim_types::FileSystem;

#[test]
fn device_dax_maps_2m_whole_or_not_at_all() {
    for kernel in KERNELS {
        let mut bench = Bench::new(kernel, FileSystem::Devdax);
        let file = bench.file(1024, NewFile::Device);
        bench.map(file, BASE, 0, 512);
        bench.store(BASE + PAGE);
        let devmap = per_kernel(kernel, Entry::DEVMAP, 0, 0);
        assert_eq!(bench.pmd(BASE).without_frame(), devmap | 0x8000_0000_0000_08e7, "{kernel}");
        bench.map(file, BASE + HUGE, 512, 4);
        assert_eq!(bench.store(BASE + HUGE).signals, 1, "{kernel}: SIGBUS, the VMA is too small");
    }
}
