//! The values in the records, not only their number: tables computed from typed records equal
//! those that were derived from the text of the recorded runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use daxsim_traces::ftrace::{Event, IpiTarget, Probe, Reader, Record};
use daxsim_types::VmFault;

type Table = BTreeMap<String, u64>;

const RUNS: [&str; 10] = [
    "kernel-6.12/ext4/s16_map_sync",
    "kernel-6.12/xfs/s15_private_cow",
    "kernel-6.12/ext4/s10_msync_loop",
    "kernel-6.12/xfs/s21_unmap_4threads",
    "kernel-6.12/ext4/a04_sqlite_wal_mmap",
    "kernel-7.2/ext4/s16_map_sync",
    "kernel-7.2/xfs/s15_private_cow",
    "kernel-7.2/ext4/s10_msync_loop",
    "kernel-7.2/xfs/s21_unmap_4threads",
    "kernel-7.2/ext4/a04_sqlite_wal_mmap",
];

fn run(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name)
}

fn add(table: &mut Table, key: String) {
    *table.entry(key).or_default() += 1;
}

/// Result bits in the order the kernel names them.
fn result_names(result: VmFault) -> String {
    const NAMES: [(u32, &str); 7] = [
        (0x2, "SIGBUS"),
        (0x4, "MAJOR"),
        (0x100, "NOPAGE"),
        (0x400, "RETRY"),
        (0x800, "FALLBACK"),
        (0x1000, "DONE_COW"),
        (0x2000, "NEEDDSYNC"),
    ];
    let names = NAMES.iter().filter(|(bit, _)| result.0 & bit != 0).map(|&(_, name)| name);
    names.collect::<Vec<_>>().join("|")
}

/// The function and the value of a return probe with a type.
fn returned(probe: Probe) -> Option<(&'static str, String)> {
    let fault = |ret: VmFault| ret.to_string();
    Some(match probe {
        Probe::HandleMmFaultRet { ret, .. } => ("handle_mm_fault", fault(ret)),
        Probe::DaxIomapPteFaultRet { ret, .. } => ("dax_iomap_pte_fault", fault(ret)),
        Probe::DaxIomapPmdFaultRet { ret, .. } => ("dax_iomap_pmd_fault", fault(ret)),
        Probe::DaxFinishSyncFaultRet { ret, .. } => ("dax_finish_sync_fault", fault(ret)),
        Probe::InsertPfnRet { ret, .. } => ("insert_pfn", fault(ret)),
        Probe::InsertPageRet { ret, .. } => ("insert_page", ret.to_string()),
        Probe::InsertPageIntoPteLockedRet { ret, .. } => ("insert_page_into_pte_locked", ret.to_string()),
        Probe::VmfInsertMixedRet { ret, .. } => ("vmf_insert_mixed", fault(ret)),
        Probe::VmfInsertMixedMkwriteRet { ret, .. } => ("vmf_insert_mixed_mkwrite", fault(ret)),
        Probe::VmfInsertPageMkwriteRet { ret, .. } => ("vmf_insert_page_mkwrite", fault(ret)),
        Probe::VmfInsertPfnPmdRet { ret, .. } => ("vmf_insert_pfn_pmd", fault(ret)),
        Probe::VmfInsertFolioPmdRet { ret, .. } => ("vmf_insert_folio_pmd", fault(ret)),
        Probe::DoWpPageRet { ret, .. } => ("do_wp_page", fault(ret)),
        Probe::FinishFaultRet { ret, .. } => ("finish_fault", fault(ret)),
        _ => return None,
    })
}

#[derive(Default)]
struct Tables {
    faults: Table,
    returns: Table,
    done: Table,
    flushes: Table,
    ipis: Table,
}

fn tables(name: &str) -> Tables {
    let mut t = Tables::default();
    let mut reader = Reader::open(run(name).join("trace.txt.xz")).unwrap();
    let mut record = Record::default();
    while reader.next_record(&mut record).unwrap() {
        match &record.event {
            Event::PageFault { kernel, error_code, .. } => {
                add(&mut t.faults, format!("{} {error_code}", if *kernel { "kernel" } else { "user" }));
            }
            Event::Probe(probe) => {
                if let Some((function, value)) = returned(*probe) {
                    add(&mut t.returns, format!("{function} {value}"));
                }
            }
            Event::DaxPteFaultDone(f) => {
                add(&mut t.done, format!("dax_pte_fault_done {}", result_names(f.result)));
            }
            Event::DaxPmdFaultDone(f) => {
                add(&mut t.done, format!("dax_pmd_fault_done {}", result_names(f.fault.result)));
            }
            Event::TlbFlush { reason, .. } => add(&mut t.flushes, reason.to_string()),
            Event::IpiSend { target, is_shootdown, .. } => {
                let event = match target {
                    IpiTarget::Cpu(_) => "ipi_send_cpu",
                    IpiTarget::Mask(mask) => {
                        assert!(mask.low > 0 && mask.low < 16 && !mask.beyond);
                        "ipi_send_cpumask"
                    }
                };
                add(&mut t.ipis, format!("{event} {is_shootdown}"));
            }
            _ => {}
        }
    }
    t
}

#[test]
fn tables_of_typed_values_equal_the_derived_ones() {
    for name in RUNS {
        let meta: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(run(name).join("meta.json")).unwrap()).unwrap();
        let of = |key: &str| -> Table { serde_json::from_value(meta[key].clone()).unwrap() };
        let t = tables(name);
        assert_eq!(t.faults, of("page_fault_by_error_code"), "{name}");
        assert_eq!(t.done, of("dax_fault_done"), "{name}");

        let functions: Vec<_> = t.returns.keys().filter_map(|k| k.split(' ').next()).collect();
        let mut returns = of("calls_by_return_value");
        returns.retain(|k, _| k.split(' ').next().is_some_and(|f| functions.contains(&f)));
        assert_eq!(t.returns, returns, "{name}");
        assert!(t.returns.len() >= 4, "{name}");

        // The derived table has the reason's number and its text, which differs between kernels.
        let mut flushes = Table::new();
        for (key, n) in of("tlb_flush_by_reason") {
            *flushes.entry(key.split(' ').next().unwrap().to_owned()).or_default() += n;
        }
        assert_eq!(t.flushes, flushes, "{name}");

        let mut ipis = Table::new();
        for (key, n) in of("ipis") {
            if let Some(sent) = key.strip_prefix("sent ") {
                let event = sent.split(' ').next().unwrap();
                ipis.insert(format!("{event} {}", sent.contains("shootdown")), n);
            }
        }
        assert_eq!(t.ipis, ipis, "{name}");
    }
}
