//! Walks through two sets of tables.

use daxsim_types::{AccessKind, Pfn, VirtAddr};

use super::*;

/// A virtual machine with host pages of `page` and the given cache sizes, on a CPU without structure caches of the guest's.
fn guest(page: &str, frames: &str, caches: &str, set: &[&str]) -> Machine {
    let tables = format!("[nested]\npage_size = \"{page}\"\nframes = \"{frames}\"\nseed = 5\n{caches}\n");
    let set = [&["psc.pml4e=0", "psc.pdpte=0", "psc.pde=0"], set].concat();
    populated(machine_with(&tables, &set), 4)
}

const NONE: &str = "tlb = 0\npml4e = 0\npdpte = 0\npde = 0";

#[test]
fn a_walk_of_four_levels_on_four_reads_24_entries_and_of_five_on_five_35() {
    let mut m = guest("4K", "sequential", NONE, &[]);
    assert_eq!([references(&mut m, START), references(&mut m, START)], [24; 2]);
    assert_eq!(
        (m.measure.walk_counts.entries, m.measure.walk_counts.nested),
        ([2, 2, 2, 2, 0], [10, 10, 10, 10, 0])
    );
    let mut m = guest("4K", "sequential", NONE, &["nested.levels=5", "mmu.levels=5"]);
    assert_eq!(references(&mut m, START), 35);
    assert_eq!(references(&mut guest("2M", "random", NONE, &[]), START), 19);
    assert_eq!(references(&mut guest("1G", "sequential", NONE, &[]), START), 14);
    let mut m = guest("4K", "sequential", NONE, &[]);
    put(&mut m, START + HUGE, 1, Entry::leaf(Pfn(512), ALL | Entry::PS));
    assert_eq!(references(&mut m, START + HUGE), 19);
    check_sums(&m);
}

#[test]
fn each_cache_of_the_second_stage_saves_its_references() {
    // Host tables alone: the last level's entry stays to be read, five times.
    let mut m = guest("4K", "sequential", "tlb = 0\npml4e = 2\npdpte = 2\npde = 8", &[]);
    references(&mut m, START);
    assert_eq!(references(&mut m, START), 4 + 5);
    // The frames of the guest's tables: the page's own translation is walked for.
    let mut m = guest("4K", "sequential", "tlb = 8\npml4e = 0\npdpte = 0\npde = 0", &[]);
    assert_eq!([references(&mut m, START), references(&mut m, START)], [24, 8]);
    // Both, and the guest's own caches, which lead to the host's frame of the table: one entry of each stage.
    let caches = "tlb = 8\npml4e = 2\npdpte = 2\npde = 8";
    let mut m = guest("4K", "random", caches, &["psc.pde=4"]);
    references(&mut m, START);
    assert_eq!(references(&mut m, START + 4096), 2);
    let stats = m.cpus[0].nested.as_ref().unwrap().stats();
    assert_eq!(
        stats.iter().map(|s| s.0).collect::<Vec<_>>(),
        ["nested_tlb", "nested_pml4e", "nested_pdpte", "nested_pde"]
    );
    assert!(stats.iter().all(|(_, s)| s.lookups == s.hits + s.misses));
    check_sums(&m);
}

#[test]
fn a_large_page_on_small_host_pages_is_cached_in_pieces_that_go_together() {
    let mut m = guest("4K", "random", NONE, &[]);
    let (pcid, huge) = (m.cpus[0].pcid, START + HUGE);
    put(&mut m, huge, 1, Entry::leaf(Pfn(512), ALL | Entry::PS));
    let pages = [0, 1, 77, 300];
    for page in pages {
        let va = huge + page * 4096;
        let at = m.translate(0, VirtAddr(va), AccessKind::Read, true).unwrap();
        assert_eq!(at.pfn(), m.host.as_ref().unwrap().frame(Pfn(512 + page)));
        assert!(in_tlb(&m, va, pcid) && in_tlb(&m, va, pcid));
    }
    assert!(!in_tlb(&m, huge + 4096 * 2, pcid), "only what was accessed");
    assert!(m.translate(0, VirtAddr(START), AccessKind::Read, true).is_ok());
    m.invlpg(0, VirtAddr(huge + 4096 * 500));
    assert!(pages.iter().all(|page| !in_tlb(&m, huge + page * 4096, pcid)));
    assert!(in_tlb(&m, START, pcid), "the neighbour stays");
}

#[test]
fn a_piece_that_comes_up_from_the_second_level_still_belongs_to_its_page() {
    let mut m = guest("4K", "sequential", NONE, &["tlb.dtlb_4k.entries=4"]);
    let (pcid, huge) = (m.cpus[0].pcid, START + HUGE);
    put(&mut m, huge, 1, Entry::leaf(Pfn(512), ALL | Entry::PS));
    for page in [0, 1, 2, 3, 4, 5, 6, 7, 0] {
        assert!(m.translate(0, VirtAddr(huge + page * 4096), AccessKind::Read, true).is_ok());
    }
    m.invlpg(0, VirtAddr(huge + 4096 * 500));
    assert!((0..8).all(|page| !in_tlb(&m, huge + page * 4096, pcid)));
}

#[test]
fn a_and_d_of_the_guest_are_set_in_host_memory() {
    let mut m = guest("4K", "random", NONE, &[]);
    let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), ALL & !Entry::A & !Entry::D));
    assert_ne!(m.host_line(slot.line()), slot.line());
    assert!(walk(&mut m, START, USER_WRITE).result.is_ok());
    assert!(m.tables.read(slot).hw_dirty());
    let (guest, host) = (slot.line(), m.host_line(slot.line()));
    assert!(m.memory.try_l1(0, host, true), "modified there");
    assert!(!m.memory.try_l1(0, guest, false));
}

#[test]
fn what_the_guest_invalidates_leaves_the_second_stage_cached() {
    let caches = "tlb = 8\npml4e = 2\npdpte = 2\npde = 8";
    let mut m = guest("4K", "sequential", caches, &[]);
    references(&mut m, START);
    let (root, pcid) = (m.cpus[0].cr3, m.cpus[0].pcid);
    m.invlpg(0, VirtAddr(START));
    m.mov_cr3(0, root, pcid, false);
    // Four guest entries whose frames are known, and the page's last host entry.
    assert_eq!(references(&mut m, START), 5);
}

#[test]
fn a_machine_of_the_hosts_is_as_it_was() {
    let mut m = populated(machine(&[]), 1);
    assert!(m.host.is_none() && m.cpus[0].nested.is_none());
    assert_eq!(references(&mut m, START), 4);
    assert_eq!(m.measure.walk_counts.nested, [0; 5]);
}
