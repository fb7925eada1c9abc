//! Every count of `data/tlb-golden.json`: two independent reference models of a plain LRU TLB, on
//! address streams generated here again from their published generator.
//!
//! Semantics of the numbers: an access looks up L1, on a miss L2, on a miss there it walks. A hit
//! refreshes the LRU order of the array that hit and no other; an L2 hit fills L1; a walk fills
//! both; nothing is inclusive. The set is the page number's low bits. No PCIDs, no flushes.
//! Paging-structure caches: the deepest that hits is refreshed, every upper entry read is put in.
//!
//! Ten million accesses per stream take long without optimisation: those counts are under
//! `cargo test --release -- --ignored`.

use daxsim_configs::machine::{PscSpec, TlbSpec, TlbsSpec};
use daxsim_sim::mmu::entry::Entry;
use daxsim_sim::mmu::psc::{Link, Psc};
use daxsim_sim::mmu::rights::Rights;
use daxsim_sim::mmu::tlb::{TlbArray, TlbEntry, TlbStats};
use daxsim_sim::mmu::tlbs::{HitLevel, Tlbs};
use daxsim_traces::generate::{Access, BASE, Generator, Pattern};
use daxsim_types::{AccessKind, PageSize, Pfn, VirtAddr};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The records of a stream: address, and bit 0 for a write.
fn stream(pattern: &str, n: usize) -> Vec<u64> {
    let pattern = match pattern {
        "chase" => Pattern::Chase,
        "zipf" => Pattern::Zipf,
        "seq" => Pattern::Seq,
        "mixed" => Pattern::Mixed,
        other => panic!("no stream {other}"),
    };
    Generator::new(pattern, 42, BASE).take(n).map(Access::to_raw).collect()
}

fn number(v: &Value) -> u64 {
    v.as_u64().unwrap()
}

fn geometry(sets: &Value, ways: &Value, size: PageSize) -> TlbSpec {
    TlbSpec::new((number(sets) * number(ways)) as u32, number(ways) as u32, &[size])
}

fn entry(va: VirtAddr, size: PageSize) -> TlbEntry {
    let leaf = Entry::leaf(Pfn(va.align_down(size).0 >> 12), Entry::P | Entry::RW | Entry::US | Entry::D);
    TlbEntry::of(va, size, 0, leaf, true, true)
}

fn check_level(stats: TlbStats, want: &Value, what: &str) {
    assert_eq!(stats.lookups, number(&want["access"]), "{what}: lookups");
    assert_eq!(stats.misses, number(&want["miss"]), "{what}: misses");
    assert_eq!(stats.evictions, number(&want["evict"]), "{what}: evictions");
    assert_eq!(stats.fills, stats.misses, "{what}: every miss is filled");
}

/// Replays `records` through one geometry of the file.
fn check_tlb(records: &[u64], want: &Value, what: &str) {
    let size = if want["page_bits"] == 21 { PageSize::Size2M } else { PageSize::Size4K };
    let l1 = geometry(&want["l1"]["sets"], &want["l1"]["ways"], size);
    let mut walks = 0;
    let addresses = records.iter().map(|r| VirtAddr(r & !1));
    if want["l2"].is_null() {
        let mut array = TlbArray::new(&l1);
        for va in addresses {
            if array.lookup(va.0 >> size.shift(), size, 0).is_none() {
                walks += 1;
                array.insert(entry(va, size));
            }
        }
        check_level(array.stats(), &want["l1"], what);
    } else {
        let stlb = geometry(&want["l2"]["sets"], &want["l2"]["ways"], size);
        let mut tlbs = Tlbs::new(&TlbsSpec::new(l1, stlb));
        for va in addresses {
            match tlbs.lookup(va, 0, AccessKind::Read) {
                Some((e, HitLevel::Dtlb | HitLevel::Stlb, _)) => assert_eq!(e, entry(va, size)),
                None => {
                    walks += 1;
                    tlbs.fill(va, entry(va, size), AccessKind::Read, None);
                }
            }
        }
        let stats = tlbs.stats();
        assert_eq!([stats[0].0, stats[2].0], ["dtlb", "stlb"]);
        check_level(stats[0].1, &want["l1"], what);
        check_level(stats[2].1, &want["l2"], what);
    }
    assert_eq!(walks, number(&want["walks"]), "{what}: walks");
}

/// Replays `records` through a TLB hierarchy and the paging-structure caches of the file.
fn check_psc(records: &[u64], want: &Value, what: &str) {
    let size = PageSize::Size4K;
    let level = |want: &Value| geometry(&want[0], &want[1], size);
    let mut tlbs = Tlbs::new(&TlbsSpec::new(level(&want["l1"]), level(&want["l2"])));
    let entries = |i: usize| number(&want["psc_sizes_pml4e_pdpte_pde"][i]) as u32;
    let base = daxsim_configs::load_machine("skylake-sp-optane", &[]).unwrap().psc;
    let spec = PscSpec { pml4e: entries(0), pdpte: entries(1), pde: entries(2), ..base };
    let mut psc = Psc::new(&spec, 4);
    let (mut walks, mut reads, mut cold) = (0, 0, 0);
    for va in records.iter().map(|r| VirtAddr(r & !1)) {
        if tlbs.lookup(va, 0, AccessKind::Read).is_some() {
            continue;
        }
        walks += 1;
        let start = psc.deepest(va, 0).map_or(3, |(level, _)| level);
        cold += u64::from(start == 3);
        reads += u64::from(start) + 1;
        for level in (1..=start).rev() {
            psc.fill(level, va, 0, Link { table: Pfn(0), rights: Rights::ALL });
        }
        tlbs.fill(va, entry(va, size), AccessKind::Read, None);
    }
    assert_eq!(walks, number(&want["walks"]), "{what}: walks");
    assert_eq!(reads, number(&want["pte_reads"]), "{what}: entries read");
    assert_eq!(cold, number(&want["cold_walks"]), "{what}: cold walks");
    for (i, (name, stats)) in psc.stats().into_iter().enumerate() {
        assert_eq!(stats.hits, number(&want["hits_pml4e_pdpte_pde"][i]), "{what}: {name} hits");
    }
}

/// Checks every count of `pattern` of at most a million accesses, or every larger one.
fn check(pattern: &str, large: bool) {
    let golden: Value = serde_json::from_str(include_str!("data/tlb-golden.json")).unwrap();
    let wanted = |n: &str| n.parse::<usize>().is_ok_and(|n| (n > 1_000_000) == large);
    let lengths = |section: &str| -> Vec<(usize, Value)> {
        let runs = golden[section][pattern].as_object().unwrap().iter();
        runs.filter(|(n, _)| wanted(n)).map(|(n, v)| (n.parse().unwrap(), v.clone())).collect()
    };
    let (tlb, psc) = (lengths("tlb"), lengths("psc_reference_x86_like"));
    let longest = tlb.iter().chain(&psc).map(|r| r.0).max().unwrap();
    let records = stream(pattern, longest);
    for (n, hash) in golden["trace_sha256_of_first_n_records"][pattern].as_object().unwrap() {
        if wanted(n) {
            let prefix = &records[..n.parse().unwrap()];
            let bytes: Vec<u8> = prefix.iter().flat_map(|r| r.to_le_bytes()).collect();
            let ours: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(Some(ours.as_str()), hash.as_str(), "the first {n} records of {pattern}");
        }
    }
    for (n, geometries) in &tlb {
        for (name, want) in geometries.as_object().unwrap() {
            let writes = records[..*n].iter().filter(|&r| r & 1 != 0).count() as u64;
            assert_eq!(writes, number(&want["writes"]));
            let shift = number(&want["page_bits"]);
            let mut pages: Vec<u64> = records[..*n].iter().map(|r| r >> shift).collect();
            pages.sort_unstable();
            pages.dedup();
            assert_eq!(pages.len() as u64, number(&want["distinct_pages"]));
            check_tlb(&records[..*n], want, &format!("{pattern}, {n} accesses, {name}"));
        }
    }
    for (n, runs) in &psc {
        for want in runs.as_array().unwrap() {
            let sizes = &want["psc_sizes_pml4e_pdpte_pde"];
            check_psc(&records[..*n], want, &format!("{pattern}, {n} accesses, PSC {sizes}"));
        }
    }
}

macro_rules! golden {
    ($($name:ident $large:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), false);
        }

        #[test]
        #[ignore = "ten million accesses"]
        fn $large() {
            check(stringify!($name), true);
        }
    )*};
}
golden!(chase chase_long zipf zipf_long seq seq_long mixed mixed_long);
