//! Page tables made of pairs of addresses, against a plain map; and those read from the guest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use daxsim_types::VirtAddr;
use proptest::prelude::*;

use super::*;
use crate::mmu::entry::Entry;

#[test]
fn a_contradicting_pair_is_an_inferred_remap() {
    let mut bare = bare(&[]);
    bare.access(&load(0)).unwrap();
    let moved = Access::load(0, VA, PA + 7 * PAGE);
    bare.access(&moved).unwrap();
    let mapping = bare.mapping();
    assert_eq!((mapping.pages, mapping.inferred_remaps, mapping.stale), ([1, 0, 0], 1, 1));
    assert_eq!(bare.mapped(0, VA), Some((Pfn((PA >> 12) + 7), PageSize::Size4K)));
    bare.access(&moved).unwrap();
    assert_eq!(bare.mapping(), mapping, "and then it is cached");
    check(&bare);
}

#[test]
fn a_host_that_invalidates_leaves_nothing_stale() {
    let mut bare = bare(&[]);
    bare.access(&load(0)).unwrap();
    bare.invlpg(0, VA).unwrap();
    bare.access(&Access::load(0, VA, PA + 7 * PAGE)).unwrap();
    assert_eq!((bare.mapping().inferred_remaps, bare.mapping().stale), (1, 0));
}

#[test]
fn another_cpu_keeps_its_stale_copy_until_it_uses_it() {
    let mut bare = bare(&["cpu.count=2"]);
    bare.access(&load(0)).unwrap();
    bare.access(&Access { cpu: 1, ..load(0) }).unwrap();
    let moved = Access::load(0, VA, PA + 7 * PAGE);
    bare.access(&moved).unwrap();
    assert!(bare.is_cached(1, VA, 0));
    bare.access(&Access { cpu: 1, ..moved }).unwrap();
    assert_eq!((bare.mapping().inferred_remaps, bare.mapping().stale), (1, 2));
}

#[test]
fn a_range_says_the_size_of_its_pages() {
    let mut bare = bare(&[]);
    bare.add_range(Range { start: VA, last: VA + (1 << 30) - 1, page: PageSize::Size2M });
    let at = |va: u64, pa: u64| Access::load(0, VA + va, pa);
    for n in 0..4 {
        bare.access(&at(n * PAGE, (2 << 20) + n * PAGE)).unwrap();
    }
    assert_eq!((bare.mapping().pages, bare.counts(0, Mode::User).walks), ([0, 1, 0], 1));
    bare.access(&at(4 << 20, (2 << 20) + PAGE)).unwrap();
    assert_eq!((bare.mapping().pages, bare.mapping().incongruent), ([1, 1, 0], 1));
}

#[test]
fn a_page_may_change_its_size() {
    let mut bare = bare(&["cpu.count=2"]);
    let huge = Access::load(0, VA, 2 << 20).in_page(PageSize::Size2M);
    let small = Access::load(0, VA + PAGE, 9 * PAGE).in_page(PageSize::Size4K);
    for (access, size) in [(huge, PageSize::Size2M), (small, PageSize::Size4K), (huge, PageSize::Size2M)] {
        for cpu in [0, 1] {
            bare.access(&Access { cpu, ..access }).unwrap();
            assert_eq!(bare.mapped(cpu, access.va).map(|(_, found)| found), Some(size));
        }
    }
    check(&bare);
}

#[test]
fn address_spaces_share_the_upper_half_alone() {
    let mut bare = bare(&[]);
    let upper = 0xffff_8880_0000_0000;
    bare.mov_cr3(0, 0x1000, 0, false).unwrap();
    bare.access(&load(0)).unwrap();
    bare.access(&Access::load(0, upper, PA)).unwrap();
    bare.mov_cr3(0, 0x2000, 0, false).unwrap();
    assert_eq!(bare.mapped(0, VA), None);
    bare.access(&Access::load(0, upper + PAGE, PA + PAGE)).unwrap();
    assert!(bare.mapped(0, upper).is_some());
    bare.mov_cr3(0, 0x1000, 0, false).unwrap();
    assert!(bare.mapped(0, upper + PAGE).is_some());
    assert_eq!(bare.mapping().inferred_remaps, 0);
}

/// Memory of a guest: words by physical address.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<BTreeMap<u64, u64>>>);

impl GuestMemory for Words {
    fn read(&mut self, pa: u64) -> Option<u64> {
        self.0.lock().unwrap().get(&pa).copied()
    }
}

impl Words {
    fn set(&self, table: u64, va: u64, level: u32, entry: u64) {
        self.0.lock().unwrap().insert(table + 8 * VirtAddr(va).index(level) as u64, entry);
    }
}

const ROOT: u64 = 0x10_0000;

/// A guest that maps VA to PA by 4 KiB, with A and D set, as its own processor left them.
fn guest() -> (Bare, Words) {
    let words = Words::default();
    let (pdpt, pd, pt) = (ROOT + PAGE, ROOT + 2 * PAGE, ROOT + 3 * PAGE);
    for (table, level, next) in [(ROOT, 3, pdpt), (pdpt, 2, pd), (pd, 1, pt)] {
        words.set(table, VA, level, next | Entry::TABLE);
    }
    words.set(pt, VA, 0, PA | Entry::TABLE | Entry::NX);
    let mut bare = bare(&[]);
    bare.set_guest_memory(Box::new(words.clone()));
    bare.mov_cr3(0, ROOT, 0, false).unwrap();
    (bare, words)
}

#[test]
fn a_walk_reads_the_lines_of_the_guests_tables() {
    let (mut bare, _) = guest();
    bare.access(&load(0)).unwrap();
    let mapping = bare.mapping();
    assert_eq!((mapping.guest_reads, mapping.pages, mapping.inferred_remaps), (4, [0; 3], 0));
    let entry = ROOT + 3 * PAGE + 8 * VirtAddr(VA).index(0) as u64;
    bare.access(&Access::load(0, VA + (1 << 30) + entry % PAGE, entry).by_kernel()).unwrap();
    let levels = bare.counts(0, Mode::Kernel).levels;
    assert_eq!(
        (levels[Level::L1 as usize], levels[Level::Dram as usize]),
        (1, 0),
        "the walk had brought its line"
    );
}

#[test]
fn the_machine_sets_d_itself_and_again_when_the_guest_has_cleared_it() {
    let (mut bare, words) = guest();
    let dirtied = |bare: &Bare| bare.machine.measure.dirty_assists;
    bare.access(&load(0)).unwrap();
    bare.access(&Access::store(0, VA, PA)).unwrap();
    assert_eq!(dirtied(&bare), 1);
    bare.access(&Access::store(0, VA, PA)).unwrap();
    assert_eq!(dirtied(&bare), 1);
    words.set(ROOT + 3 * PAGE, VA, 0, PA | Entry::P | Entry::RW | Entry::A);
    bare.invlpg(0, VA).unwrap();
    bare.access(&Access::store(0, VA, PA)).unwrap();
    assert_eq!(dirtied(&bare), 2);
    check(&bare);
}

#[test]
fn an_entry_that_is_gone_by_now_is_reconstructed() {
    let (mut bare, words) = guest();
    words.set(ROOT + 3 * PAGE, VA, 0, 0);
    bare.access(&load(0)).unwrap();
    bare.access(&load(1)).unwrap();
    let mapping = bare.mapping();
    assert_eq!((mapping.guest_absent, mapping.pages), (2, [2, 0, 0]));
    assert_eq!(bare.mapped(0, VA + PAGE), Some((Pfn((PA >> 12) + 1), PageSize::Size4K)));
}

/// A page of a random space, virtual and physical page numbers from a few, in one of two sizes.
fn pairs() -> impl Strategy<Value = Vec<(u64, u64, u64, bool, bool)>> {
    let upper = any::<bool>();
    prop::collection::vec((1..3_u64, 0..2048_u64, 0..2048_u64, prop::bool::weighted(0.2), upper), 1..300)
}

proptest! {
    #[test]
    fn reconstructed_tables_are_a_map_of_the_latest_pairs(pairs in pairs()) {
        let mut bare = bare(&[]);
        // 4 KiB pages by space and number; the upper half has a space of its own.
        let mut model: BTreeMap<(u64, u64), (u64, PageSize)> = BTreeMap::new();
        for (space, page, frame, huge, upper) in pairs {
            let (base, of) = if upper { (0xffff_8880_0000_0000, 0) } else { (VA, space) };
            bare.mov_cr3(0, space, 0, false).unwrap();
            let (size, pages) = if huge { (PageSize::Size2M, 512) } else { (PageSize::Size4K, 1) };
            // In a large page both numbers have the same offset.
            let frame = if huge { frame & !511 | page & 511 } else { frame };
            let (va, pa) = (base + page * PAGE, PA & !0x1f_ffff);
            let pa = pa + frame * PAGE;
            bare.access(&Access::load(0, va, pa).in_page(size)).unwrap();
            let first = page & !(pages - 1);
            let large = model.get(&(of, page)).is_some_and(|(_, old)| *old == PageSize::Size2M);
            if !huge && large {
                // The large page is gone, and of its others nothing is known.
                (page & !511..(page & !511) + 512).for_each(|n| { model.remove(&(of, n)); });
            }
            for n in first..first + pages {
                model.insert((of, n), ((pa >> 12) + n - page, size));
            }
        }
        for space in [1, 2] {
            bare.mov_cr3(0, space, 0, false).unwrap();
            for page in 0..2048 {
                for (base, of) in [(VA, space), (0xffff_8880_0000_0000, 0)] {
                    let found = bare.mapped(0, base + page * PAGE).map(|(frame, size)| (frame.0, size));
                    prop_assert_eq!(found, model.get(&(of, page)).copied());
                }
            }
        }
        check(&bare);
    }
}
