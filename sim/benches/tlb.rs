//! Lookups per second of the data TLB hierarchy, in the geometry of Skylake-SP (DTLB 64 entries of
//! 4 ways and 32 of 4 for 2 MiB pages, STLB 1536 of 12 with folded index).
//!
//! `cargo bench -p daxsim-sim --bench tlb`; criterion's `elem/s` are lookups.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use daxsim_configs::machine::{SetIndex, TlbSpec, TlbsSpec};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::tlb::TlbEntry;
use daxsim_sim::mmu::tlbs::Tlbs;
use daxsim_types::{AccessKind, PageSize, Pfn, VirtAddr};
use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256StarStar;

const ACCESSES: usize = 1 << 16;

fn array(entries: u32, ways: u32, index: SetIndex, sizes: &[PageSize]) -> TlbSpec {
    TlbSpec { index, ..TlbSpec::new(entries, ways, sizes) }
}

fn skylake() -> Tlbs {
    let second = array(1536, 12, SetIndex::Xor, &[PageSize::Size4K, PageSize::Size2M]);
    Tlbs::new(&TlbsSpec {
        dtlb_2m: Some(array(32, 4, SetIndex::Linear, &[PageSize::Size2M])),
        dtlb_1g: Some(array(4, 4, SetIndex::Linear, &[PageSize::Size1G])),
        ..TlbsSpec::new(array(64, 4, SetIndex::Linear, &[PageSize::Size4K]), second)
    })
}

fn walked(va: VirtAddr, size: PageSize) -> TlbEntry {
    let leaf = Entry::leaf(Pfn(va.align_down(size).0 >> 12), Entry::P | Entry::RW | Entry::US | Entry::D);
    TlbEntry::of(va, size, 1, leaf, true, true)
}

/// Runs of `run` accesses to each of a random choice of `pages` pages of `size`.
fn stream(pages: u32, run: usize, size: PageSize) -> Vec<VirtAddr> {
    let mut rng = Xoshiro256StarStar::seed_from_u64(1);
    let mut page = 0;
    let mut next = |i: usize| {
        if i.is_multiple_of(run) {
            page = u64::from(rng.next_u32() % pages);
        }
        VirtAddr(0x7f00_0000_0000 + page * size.bytes() + u64::from(rng.next_u32() % 64) * 64)
    };
    (0..ACCESSES).map(&mut next).collect()
}

fn replay(tlbs: &mut Tlbs, accesses: &[VirtAddr], size: PageSize) -> u64 {
    let mut sum = 0;
    for &va in accesses {
        sum += match tlbs.hit(va, 1, AccessKind::Read) {
            Some((pfn, penalty)) => pfn.0 + penalty.0,
            None => match tlbs.lookup(va, 1, AccessKind::Read) {
                Some((e, _, penalty)) => e.frame(va).0 + penalty.0,
                None => {
                    tlbs.fill(va, walked(va, size), AccessKind::Read, None);
                    0
                }
            },
        };
    }
    sum
}

fn lookups(c: &mut Criterion) {
    let (small, large) = (PageSize::Size4K, PageSize::Size2M);
    let cases = [
        ("l1_hit_48_pages", stream(48, 1, small), small),
        ("stlb_hit_1024_pages", stream(1024, 1, small), small),
        ("all_miss_refill_1Mi_pages", stream(1 << 20, 1, small), small),
        ("runs_of_8_1Mi_pages", stream(1 << 20, 8, small), small),
        ("runs_of_64_1Mi_pages", stream(1 << 20, 64, small), small),
        ("l1_hit_24_pages_2m", stream(24, 1, large), large),
        ("stlb_hit_1024_pages_2m", stream(1024, 1, large), large),
    ];
    let mut group = c.benchmark_group("tlb");
    group.throughput(Throughput::Elements(ACCESSES as u64)).sample_size(40);
    for (name, accesses, size) in &cases {
        let mut tlbs = skylake();
        replay(&mut tlbs, accesses, *size);
        group.bench_function(*name, |b| b.iter(|| black_box(replay(&mut tlbs, accesses, *size))));
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
