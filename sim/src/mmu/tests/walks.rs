//! What a walk refuses, sets, caches and takes.

use daxsim_types::{AccessKind, ErrorCode, Pfn, Time, VirtAddr};

use super::*;

const NEITHER: u64 = ALL & !Entry::A & !Entry::D;

#[test]
fn a_walk_passes_on_its_own_clock_and_leaves_that_of_the_cpu() {
    let mut m = populated(machine(&[]), 2);
    let (now, start) = (m.cpus[0].now, Time(1_000_000_000));
    let walked = m.walk(0, VirtAddr(START), USER_READ, start, false);
    assert!(walked.result.is_ok());
    assert_eq!(m.cpus[0].now, now);
    assert_eq!(walked.end, start + walked.walk + walked.assist);
    // Four entries from DRAM at least; A is set in all of them already.
    assert!(walked.walk >= Time(4 * m.spec.dram.read_latency.0));
    assert_eq!(walked.assist, Time::ZERO);
    assert_eq!((m.measure.walks, m.measure.walk_time), (1, walked.walk));
}

#[test]
fn a_walk_ends_with_the_power() {
    let mut m = populated(machine(&[]), 2);
    let stop = m.cpus[0].now + Time(1000);
    m.cpus[0].stop = stop;
    let walked = walk(&mut m, START, USER_READ);
    assert_eq!((walked.end, walked.walk), (stop, Time(1000)));
}

#[test]
fn a_reserved_bit_at_any_level_faults_with_rsvd() {
    for (level, bad) in [(0, 1 << 46), (1, Entry::PS | 1 << 13), (2, 1 << 51), (3, Entry::PS)] {
        let mut m = populated(machine(&[]), 1);
        let mut table = m.cpus[0].cr3;
        for at in (level + 1..=3).rev() {
            table = m.tables.read(Slot::of(table, VirtAddr(START), at)).pfn();
        }
        let slot = Slot::of(table, VirtAddr(START), level);
        let entry = Entry(m.tables.read(slot).0 | bad);
        m.tables.write(slot, entry);
        let expected = ErrorCode::PROT | ErrorCode::WRITE | ErrorCode::USER | ErrorCode::RSVD;
        assert_eq!(code(walk(&mut m, START, USER_WRITE).result), expected, "level {level}");
        assert_eq!(m.tables.read(slot), entry, "A and D are not set in it");
    }
}

#[test]
fn rights_of_the_levels_above_come_with_a_cached_table() {
    for (bit, access) in [(Entry::RW, USER_WRITE), (Entry::US, USER_READ)] {
        for level in 1..=3 {
            let mut m = populated(machine(&[]), 2);
            let mut table = m.cpus[0].cr3;
            for at in (level + 1..=3).rev() {
                table = m.tables.read(Slot::of(table, VirtAddr(START), at)).pfn();
            }
            let slot = Slot::of(table, VirtAddr(START), level);
            m.tables.write(slot, Entry(m.tables.read(slot).0 & !bit));
            // The first walk caches every level; the second reads the PTE alone.
            for (page, expected) in [(0, 4), (1, 1)] {
                let before = m.measure.walk_references;
                let refused = code(walk(&mut m, START + page * 4096, access).result);
                assert_eq!(refused, ErrorCode::new(access.0, true, true).0, "level {level}, page {page}");
                assert_eq!(m.measure.walk_references - before, expected);
            }
        }
    }
}

#[test]
fn xd_of_an_upper_level_forbids_fetches_of_a_cached_page() {
    let mut m = populated(machine(&[]), 1);
    let va = START + HUGE;
    put(&mut m, va, 1, Entry::leaf(Pfn(512), ALL | Entry::PS));
    let root = Slot::of(m.cpus[0].cr3, VirtAddr(va), 3);
    m.tables.write(root, Entry(m.tables.read(root).0 | Entry::NX));
    let fetch = (AccessKind::Fetch, Mode::User);
    let expected = ErrorCode::PROT | ErrorCode::USER | ErrorCode::INSTR;
    assert_eq!(code(walk(&mut m, va, fetch).result), expected);
    assert!(walk(&mut m, va, USER_READ).result.is_ok_and(|e| e.nx));
    assert_eq!(code(m.translate(0, VirtAddr(va), AccessKind::Fetch, true)), expected, "from the TLB");
}

#[test]
fn an_absent_entry_is_never_cached() {
    let mut m = populated(machine(&[]), 1);
    for level in 0..=3 {
        let va = START + (1 << (12 + 9 * level));
        let kept = (m.cpus[0].tlbs.entries().count(), m.cpus[0].psc.len());
        assert_eq!(code(walk(&mut m, va, USER_READ).result), ErrorCode::USER, "not present");
        assert_eq!(m.cpus[0].tlbs.entries().count(), kept.0);
        assert!(m.cpus[0].psc.len() <= kept.1 + 3, "tables above the hole alone");
        put(&mut m, va, 0, Entry::leaf(Pfn(9), ALL));
        assert!(walk(&mut m, va, USER_READ).result.is_ok(), "no flush was needed");
    }
}

#[test]
fn a_fault_drops_what_the_cpu_has_for_the_address_and_no_more() {
    let mut m = populated(machine(&[]), 2);
    let pcid = m.cpus[0].pcid;
    let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), ALL & !Entry::RW));
    for page in 0..2 {
        assert!(m.translate(0, VirtAddr(START + page * 4096), AccessKind::Read, true).is_ok());
    }
    assert_eq!((in_tlb(&m, START, pcid), m.cpus[0].psc.len()), (true, 3));
    assert_eq!(code(m.translate(0, VirtAddr(START), AccessKind::Write, true)), 7);
    assert_eq!((in_tlb(&m, START, pcid), in_tlb(&m, START + 4096, pcid)), (false, true));
    assert_eq!(m.cpus[0].psc.len(), 0);
    // The entry that the kernel made writable is found at once.
    m.tables.write(slot, Entry::leaf(Pfn(9), ALL));
    assert!(m.translate(0, VirtAddr(START), AccessKind::Write, true).is_ok());
    assert_eq!(m.translate(0, VirtAddr(START), AccessKind::Write, false).unwrap().0 >> 12, 9);
}

#[test]
fn the_kernels_copy_has_no_user_bit_in_its_error_code_and_may_use_any_page() {
    let mut m = populated(machine(&[]), 1);
    let copy = (AccessKind::Write, Mode::UserCopy);
    assert_eq!(code(walk(&mut m, START + HUGE, copy).result), ErrorCode::WRITE);
    put(&mut m, START + 4096, 0, Entry::leaf(Pfn(9), ALL & !Entry::RW));
    assert_eq!(code(walk(&mut m, START + 4096, copy).result), ErrorCode::WRITE | ErrorCode::PROT);
    put(&mut m, START + 8192, 0, Entry::leaf(Pfn(10), ALL & !Entry::US));
    assert!(walk(&mut m, START + 8192, copy).result.is_ok());
    assert!(!in_tlb(&m, START + 8192, m.cpus[0].pcid), "user accesses must not find it");
    assert_eq!(code(walk(&mut m, START + 8192, USER_READ).result), ErrorCode::PROT | ErrorCode::USER);
    assert_eq!(
        code(walk(&mut m, START, (AccessKind::Read, Mode::Supervisor)).result),
        ErrorCode::PROT,
        "SMAP"
    );
}

#[test]
fn a_is_set_in_every_level_before_anything_is_cached_and_d_by_a_store_alone() {
    let mut m = populated(machine(&[]), 1);
    let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), NEITHER));
    let pmd = m.tables.find(m.cpus[0].cr3, VirtAddr(START), 1).unwrap();
    let pmd = Slot::of(pmd, VirtAddr(START), 1);
    m.tables.write(pmd, m.tables.read(pmd).mkold());
    let walked = walk(&mut m, START, USER_READ);
    assert!(m.tables.read(pmd).accessed());
    assert_eq!(m.tables.read(slot).0 & (Entry::A | Entry::D), Entry::A);
    assert_eq!((m.measure.accessed_assists, m.measure.dirty_assists), (2, 0));
    assert!(walked.assist >= Time(2 * m.spec.mmu.accessed_assist.0));
    assert!(walked.result.is_ok_and(|e| !e.dirty));
    assert!(walk(&mut m, START, USER_WRITE).result.is_ok_and(|e| e.dirty));
    assert_eq!((m.tables.read(slot).hw_dirty(), m.measure.dirty_assists), (true, 1));
}

#[test]
fn a_speculative_walk_sets_a_and_never_d_and_fills_the_tlb() {
    let mut m = populated(machine(&[]), 1);
    let pcid = m.cpus[0].pcid;
    let slot = put(&mut m, START, 0, Entry::leaf(Pfn(9), NEITHER));
    let now = m.cpus[0].now;
    assert!(m.walk_speculatively(0, VirtAddr(START), now).result.is_ok());
    assert_eq!(m.tables.read(slot).0 & (Entry::A | Entry::D), Entry::A);
    assert!(in_tlb(&m, START, pcid));
    let counts = m.measure.walk_counts;
    assert_eq!((counts.speculative, counts.speculative_references), (1, 4));
    assert_eq!((m.measure.walks, m.measure.walk_references, m.measure.walk_time), (0, 0, Time::ZERO));
    check_sums(&m);
}

#[test]
fn a_speculative_walk_that_fails_leaves_everything_as_it_was() {
    let mut m = populated(machine(&["mmu.accessed=software", "mmu.dirty=software"]), 1);
    let pcid = m.cpus[0].pcid;
    assert!(walk(&mut m, START, USER_READ).result.is_ok());
    let supervisor = put(&mut m, START + 4096, 0, Entry::leaf(Pfn(9), NEITHER & !Entry::US));
    let old = put(&mut m, START + 8192, 0, Entry::leaf(Pfn(9), NEITHER));
    let (psc, tlb) = (m.cpus[0].psc.len(), m.cpus[0].tlbs.entries().count());
    for page in 1..4 {
        let va = START + page * 4096;
        assert!(m.walk_speculatively(0, VirtAddr(va), Time(7)).result.is_err());
        assert!(!in_tlb(&m, va, pcid));
    }
    assert!(!m.tables.read(supervisor).accessed() && !m.tables.read(old).accessed());
    assert_eq!((m.cpus[0].psc.len(), m.cpus[0].tlbs.entries().count()), (psc, tlb));
    assert_eq!((m.measure.access_flag_faults, m.measure.walk_counts.refused), (0, 3));
}

#[test]
fn five_levels_take_five_references_and_a_wider_address() {
    let mut m = populated(machine(&["mmu.levels=5", "psc.pml5e=1"]), 1);
    assert_eq!(references(&mut m, START), 5);
    let far = 0x00f0_0000_0000_0000 | START;
    put(&mut m, far, 0, Entry::leaf(Pfn(9), ALL));
    assert_eq!(references(&mut m, far), 5);
    assert_eq!(m.measure.walk_counts.entries, [2; 5]);
    // The PML5E cache has one entry: the one for the first address is gone.
    let pcid = m.cpus[0].pcid;
    m.cpus[0].psc.drop_page(VirtAddr(far), pcid);
    assert_eq!(references(&mut m, START), 1);
    check_sums(&m);
}

#[test]
fn a_page_of_1g_takes_two_references() {
    let mut m = populated(machine(&[]), 1);
    let va = START + (3 << 30);
    put(&mut m, va, 2, Entry::leaf(Pfn(1 << 18), ALL | Entry::PS | Entry::PAT_LARGE));
    assert_eq!(references(&mut m, va), 2);
    let found = walk(&mut m, va + 0x12_3456_7000 % (1 << 30), USER_READ).result.unwrap();
    assert_eq!((found.size.level(), found.pfn), (2, Pfn(1 << 18)));
}

#[test]
fn the_pat_bit_of_a_4k_page_is_no_page_size() {
    let mut m = populated(machine(&[]), 1);
    put(&mut m, START, 0, Entry::leaf(Pfn(0x12345), ALL | Entry::PS));
    assert_eq!(walk(&mut m, START, USER_READ).result.unwrap().pfn, Pfn(0x12345));
}

#[test]
fn the_next_page_comes_into_the_second_level_if_it_is_to_be_prefetched() {
    let mut m = populated(machine(&["tlb.next_page_prefetch=true"]), 2);
    let pcid = m.cpus[0].pcid;
    assert!(walk(&mut m, START, USER_READ).result.is_ok());
    let next = VirtAddr(START + 4096);
    assert!(m.cpus[0].tlbs.probe("stlb_main", next, pcid).is_some());
    assert!(m.cpus[0].tlbs.probe("dtlb_4k", next, pcid).is_none());
    assert_eq!((m.measure.walks, m.measure.walk_counts.speculative), (1, 1));
    // The page after the last is not mapped, and the one before is there already.
    assert!(walk(&mut m, next.0, USER_READ).result.is_ok());
    assert!(walk(&mut m, START, USER_READ).result.is_ok());
    assert_eq!((m.measure.walk_counts.speculative, m.measure.walk_counts.refused), (2, 1));
    check_sums(&m);
}

#[test]
fn what_a_walk_takes_in_itself_is_added_to_its_references() {
    let taken = |set: &[&str]| {
        let mut m = populated(machine(set), 1);
        let first = walk(&mut m, START, USER_READ).walk;
        (first, walk(&mut m, START, USER_READ).walk)
    };
    let (none, some) = (taken(&["mmu.walk_latency=0 ns"]), taken(&["mmu.walk_latency=7 ns"]));
    assert_eq!((some.0, some.1), (none.0 + Time(7000), none.1 + Time(7000)));
}

#[test]
fn a_walker_at_the_l2_neither_asks_nor_fills_the_l1d() {
    for (first, l1d) in [("l1d", 4), ("l2", 0)] {
        let mut m = populated(machine(&[&format!("mmu.walker_reads={first}")]), 1);
        assert!(walk(&mut m, START, USER_READ).result.is_ok());
        let stats = m.memory.stats();
        assert_eq!((stats.l1d.lookups, stats.l2.lookups), (l1d, 4), "{first}");
        m.cpus[0].psc.flush_all();
        let again = walk(&mut m, START, USER_READ).walk;
        let (fixed, caches) = (m.spec.mmu.walk_latency + m.spec.psc.latency, &m.spec.cache);
        let hit = if l1d > 0 { caches.l1d.latency } else { caches.l2.latency };
        assert_eq!(again, fixed + Time(4 * hit.0), "{first}");
    }
}
