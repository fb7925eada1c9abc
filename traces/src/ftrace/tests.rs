//! The reader over whole texts.

use daxsim_types::{CpuId, VirtAddr, VmFault};

use super::*;

const HEAD: &str = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 10/12   #P:4\n";

fn read(text: &[u8]) -> (Vec<Record>, Stats) {
    let mut reader = Reader::new(text, "t");
    let records = reader.records().map(Result::unwrap).collect();
    (records, reader.stats().clone())
}

/// The event of one line.
fn event(text: &str) -> Event {
    let line = format!("  daxplay-34  [001] d....  12.000034: {text}\n");
    let (records, stats) = read(line.as_bytes());
    assert_eq!((records.len(), stats.unparsable), (1, 0), "{text}");
    records[0].event.clone()
}

fn probe(text: &str) -> Probe {
    match event(text) {
        Event::Probe(probe) => probe,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_record_has_its_task_cpu_time_and_line() {
    let text = format!("{HEAD}  daxplay-34  [001] d....  12.000034: reschedule_entry: vector=253\n");
    let (records, stats) = read(text.as_bytes());
    let r = &records[0];
    assert_eq!(
        (r.task, r.pid, r.cpu, r.time_ns, r.line),
        (Comm::new(b"daxplay"), 34, CpuId(1), 12_000_034_000, 4)
    );
    assert_eq!(stats.header, Some(Header { in_buffer: 10, written: 12, cpus: 4 }));
    assert_eq!(stats.header.unwrap().overwritten(), 2);
    assert!(!stats.is_complete());
    assert_eq!((stats.lines, stats.records, stats.bytes), (4, 1, text.len() as u64));
    assert_eq!(stats.count("reschedule_entry"), 1);
    assert_eq!(stats.by_event().into_iter().collect::<Vec<_>>(), [("reschedule_entry", 1)]);
}

#[test]
fn probes_of_both_kernels() {
    let addr = VirtAddr(0x1000);
    assert_eq!(
        probe(
            "handle_mm_fault_ret: (do_user_addr_fault+0x20c/0x6a0 <- handle_mm_fault) addr=0x1000 flags=0x1254 ret=0x400"
        ),
        Probe::HandleMmFaultRet { addr, flags: FaultFlags(0x1254), ret: VmFault::RETRY }
    );
    assert_eq!(
        probe(
            "dax_iomap_pte_fault_ret: (ext4_dax_huge_fault+0x8d/0x2e0 [ext4] <- dax_iomap_pte_fault) addr=0x1000 ret=0x100"
        ),
        Probe::DaxIomapPteFaultRet { addr, ret: VmFault::NOPAGE }
    );
    let Probe::InsertPfnRet { pfn, .. } = probe(
        "insert_pfn_ret: (f+0xee/0x110 <- insert_pfn) addr=0x1000 pfn=0x30000000001482c0 mkwrite=0 ret=0x100",
    ) else {
        panic!()
    };
    assert_eq!(pfn.0, 0x1482c0);
    assert_eq!(
        probe("unmap_mapping_range: (f+0x4/0x30) mapping=0xff begin=-1 len=9223372036854775807 even_cows=1"),
        Probe::UnmapMappingRange { mapping: 0xff, begin: -1, len: i64::MAX, even_cows: true }
    );
    assert_eq!(
        probe(
            "flush_tlb_func: (f+0x4/0x1f0) mm=0xff start=0x0 end=0xffffffffffffffff gen=7 initcpu=0 shift=12 freed=1"
        ),
        Probe::FlushTlbFunc {
            mm: 0xff,
            info: FlushInfo {
                start: 0,
                end: u64::MAX,
                generation: 7,
                initiating_cpu: 0,
                shift: 12,
                freed_tables: true
            }
        }
    );
}

#[test]
fn events_without_a_type_keep_their_name() {
    let e = event(
        "lock_vma_under_rcu_ret: (do_user_addr_fault+0x1ce/0x6a0 <- lock_vma_under_rcu) addr=0x1 vma=0x0",
    );
    assert_eq!(e, Event::KprobeOther { name: Name::new(b"lock_vma_under_rcu_ret") });
    assert_eq!(event("sys_read(fd: 3)"), Event::SysOther { name: Name::new(b"read"), ret: None });
    assert_eq!(event("sys_read -> 0x3"), Event::SysOther { name: Name::new(b"read"), ret: Some(3) });
    let e = event("do_wp_page: (do_wp_page+0x0/0xc90) addr=(fault) orig_pte=0x0 flags=0x0");
    assert_eq!(e, Event::KprobeOther { name: Name::new(b"do_wp_page") });
    assert_eq!(event("rss_stat: mm_id=1 curr=1"), Event::Unknown);
    let (_, stats) =
        read(b" a-1 [000] d.... 1.5: rss_stat: mm_id=1\n a-1 [000] d.... 1.5: rss_stat: mm_id=1\n");
    assert_eq!((stats.unknown, stats.unknown_examples.len(), stats.count("rss_stat")), (2, 2, 2));
    assert_eq!(stats.unknown_examples[1].line, 2);
}

#[test]
fn system_calls_count_at_entry_and_return() {
    let text = b" a-1 [000] d.... 1.5: sys_fsync(fd: 8)\n a-1 [000] d.... 1.6: sys_fsync -> 0x0\n";
    let (records, stats) = read(text);
    assert_eq!(records[0].event, Event::SysEnter(SysEnter::Fsync { fd: 8 }));
    assert_eq!(records[1].event, Event::SysExit { call: SysCall::Fsync, ret: 0 });
    assert_eq!((stats.count("sys_fsync"), stats.exits(SysCall::Fsync)), (1, 1));
}

#[test]
fn lines_of_no_known_form_are_counted_and_shown() {
    let mut text = HEAD.replace("12 ", "10 ");
    for i in 0..7 {
        text.push_str(&format!("garbage {i}\n"));
    }
    text.push_str(" a-1 [000] d.... 1.5: tlb_flush: pages:x reason:y (3)\n\n   \n");
    let (records, stats) = read(text.as_bytes());
    assert!(records.is_empty());
    assert_eq!((stats.unparsable, stats.unparsable_examples.len()), (8, Stats::EXAMPLES));
    assert_eq!(stats.unparsable_examples[0], Example { line: 4, text: "`garbage 0`".into() });
    assert!(!stats.is_complete());
}

#[test]
fn lost_events_are_summed() {
    let (_, stats) = read(b"CPU:1 [LOST 5 EVENTS]\nCPU:2 [LOST EVENTS]\nCPU 0 [LOST]\n");
    assert_eq!((stats.lost_lines, stats.lost_events, stats.unparsable), (2, 5, 1));
    assert!(!stats.is_complete());
}

#[test]
fn a_last_line_without_end_is_cut_and_not_delivered() {
    let (records, stats) = read(b" a-1 [000] d.... 1.5: tlb_flush: pages:1 reason:x (3)\n a-1 [000] d.... 1.5: reschedule_entry: vector=25");
    assert_eq!(records.len(), 1);
    let cut = stats.cut_last_line.unwrap();
    assert_eq!(cut.line, 2);
    assert!(cut.text.contains("vector=25"));
}

#[test]
fn small_buffers_give_the_same_records() {
    let text =
        format!("{HEAD}  daxplay-34  [001] d....  12.000034: reschedule_entry: vector=253\n").repeat(20);
    let whole = read(text.as_bytes());
    for size in [1, 2, 3, 7, 64, 100] {
        let input = std::io::BufReader::with_capacity(size, text.as_bytes());
        let mut reader = Reader::new(input, "t");
        let records: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records, whole.0);
        assert_eq!(*reader.stats(), whole.1);
    }
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let mut text = vec![b'x'; 300_000];
    text.extend_from_slice(b"\n a-1 [000] d.... 1.5: reschedule_entry: vector=253\n");
    let (records, stats) = read(&text);
    assert_eq!((records.len(), stats.unparsable, stats.lines), (1, 1, 2));
    let input = std::io::BufReader::with_capacity(1000, &text[..]);
    let mut reader = Reader::new(input, "t");
    assert_eq!(reader.records().count(), 1);
    assert_eq!((reader.stats().unparsable, reader.stats().lines), (1, 2));
    assert_eq!(records[0].line, 2);
}

#[test]
fn many_unknown_names_do_not_grow_without_bound() {
    let mut text = String::new();
    for i in 0..Stats::OTHER_NAMES + 50 {
        text.push_str(&format!(" a-1 [000] d.... 1.5: ev{i}: x\n"));
    }
    let (_, stats) = read(text.as_bytes());
    assert_eq!(stats.by_event().len(), Stats::OTHER_NAMES + 1);
    assert_eq!(stats.count("(others)"), 50);
}
