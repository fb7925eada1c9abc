//! `daxsim replay`: recorded outcomes are reproduced, scripts predict the recorded faults, and reports add up.

mod common;

use std::path::Path;

use common::{
    all_recorded, columns, has_script, name, races, recorded, recorded_faults, replay, report, run_in,
};
use serde_json::Value;

fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn every_outcome_is_reproduced_on(machine: &str) {
    let dir = tempfile::tempdir().unwrap();
    for scenario in all_recorded() {
        let trace = scenario.join("trace.txt.xz");
        // Races are replayed step by step, device-dax raises no fs_dax events, and faults of MAP_POPULATE no exception.
        if races(&scenario) || name(&scenario) == "d01_devdax" || name(&scenario) == "s29_populate" {
            continue;
        }
        replay(dir.path(), path(&trace), &["--machine", machine, "--quiet"]).exits(0);
        let report = report(dir.path());
        let got = &report["replay"];
        let recorded = got["recorded"].as_u64().unwrap() as usize;
        // The tables of scripts hold the faults in DAX mappings only.
        let dax = got["dax"]["recorded"].as_u64().unwrap() as usize;
        assert!(dax > 0 && dax <= recorded_faults(&scenario).len(), "{}", trace.display());
        assert_eq!(got["reproduced"], recorded, "{}: {:#}", trace.display(), got["divergences"]);
        assert_eq!(got["diverged"], 0);
        assert_eq!(got["divergences"], Value::Array(Vec::new()));
        assert_adds_up(&report);
        let folders: Vec<&str> = scenario.iter().rev().take(3).filter_map(|f| f.to_str()).collect();
        assert_eq!(report["fs"], folders[1]);
        assert_eq!(report["kernel"]["name"], folders[2].replace("kernel", "linux"));
        assert_eq!(report["machine"]["name"], machine);
    }
}

#[test]
fn every_outcome_is_reproduced_on_the_recording_machine() {
    every_outcome_is_reproduced_on("qemu-tcg");
}

#[test]
fn every_outcome_is_reproduced_on_real_hardware() {
    every_outcome_is_reproduced_on("skylake-sp-optane");
}

#[test]
fn scripts_predict_the_recorded_fault_table() {
    let dir = tempfile::tempdir().unwrap();
    for scenario in all_recorded().into_iter().filter(|s| has_script(s) && !races(s)) {
        let script = scenario.join("script.txt");
        replay(dir.path(), path(&script), &["--machine", "qemu-tcg", "--quiet"]).exits(0);
        let table = std::fs::read_to_string(dir.path().join("out/faults.tsv")).unwrap();
        let head = table.lines().next().unwrap();
        assert_eq!(head, "op\ttid\tpid\tcpu\tts\taddr\terror_code\told_pte\tnew_pte\tpfn\tret\tpath");
        // op, tid, addr, error_code, ret
        let key = |rows: Vec<Vec<String>>| -> Vec<[String; 5]> {
            rows.into_iter().map(|r| [0, 1, 5, 6, 10].map(|i| r[i].clone())).collect()
        };
        let (got, want) = (key(columns(&table)), key(recorded_faults(&scenario)));
        assert!(!want.is_empty());
        assert_eq!(got, want, "{}", script.display());
        let report = report(dir.path());
        assert_eq!(report["mode"], "predict");
        assert_eq!(report["faults"]["total"], want.len());
        assert_adds_up(&report);
    }
}

/// The parts of each latency and of all cycles sum to their wholes within rounding.
fn assert_adds_up(report: &Value) {
    for (kind, latency) in report["latency"].as_object().unwrap() {
        let count = number(&latency["count"]);
        let parts = latency["parts"].as_array().unwrap();
        let sum: f64 = parts.iter().map(|p| number(&p["total_ns"])).sum();
        // Each figure is rounded to 0.001 ns, the mean before it is multiplied.
        let tolerance = 0.0005 * (count + parts.len() as f64) + 1e-6 * sum;
        assert!((sum - number(&latency["mean"]) * count).abs() <= tolerance, "{kind}: {sum} {latency:#}");
        let shares: f64 = parts.iter().map(|p| number(&p["share"])).sum();
        assert!((shares - 1.0).abs() <= 0.0005 * parts.len() as f64 + 1e-9, "{kind}: {shares}");
        let order = ["min", "p50", "p90", "p99", "p999", "max"].map(|f| number(&latency[f]));
        assert!(order.is_sorted(), "{kind}: {order:?}");
        let buckets = latency["histogram"].as_array().unwrap();
        assert_eq!(buckets.iter().map(|b| number(&b["count"])).sum::<f64>(), count, "{kind}");
        assert_eq!(report["faults"][kind], latency["count"], "{kind}");
    }
    let cycles: f64 = report["attribution"].as_array().unwrap().iter().map(|p| number(&p["cycles"])).sum();
    let cpus = number(&report["machine"]["cpus_used"]);
    let whole = cpus * number(&report["cycles"]);
    // The run's length is rounded to a cycle before it is multiplied.
    assert!((cycles - whole).abs() <= cpus, "{cycles} cycles attributed of {whole}");
    let faults = report["faults"].as_object().unwrap();
    let kinds = faults.iter().filter(|(kind, _)| !["total", "pmd_fallback"].contains(&kind.as_str()));
    assert_eq!(kinds.map(|(_, n)| number(n)).sum::<f64>(), number(&faults["total"]), "{faults:?}");
    let accesses = &report["accesses"];
    assert_eq!(number(&accesses["total"]), number(&accesses["reads"]) + number(&accesses["writes"]));
    for group in ["tlb", "psc"] {
        for (name, t) in report[group].as_object().unwrap() {
            assert_eq!(number(&t["lookups"]), number(&t["hits"]) + number(&t["misses"]), "{name}");
        }
    }
}

#[test]
fn a_report_has_every_field_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz");
    let run = replay(dir.path(), path(&trace), &[]);
    run.exits(0).shows(&["628", "100.0 %", "out/report.html"]);
    let report = report(dir.path());
    let has = |path: &str, fields: &[&str]| {
        let at = report.pointer(path).unwrap_or_else(|| panic!("no {path}"));
        for field in fields {
            assert!(at.get(field).is_some_and(|v| !v.is_null()), "no {path}/{field}");
        }
    };
    has(
        "",
        &["schema", "inputs", "machine", "kernel", "seed", "accesses", "cycles", "faults", "tlb", "walks"],
    );
    has("", &["assists", "shootdowns", "flushes", "memory", "latency", "replay", "attribution", "warnings"]);
    has("/faults", &["total", "read", "write", "mkwrite", "spurious", "cow", "pmd_read", "pmd_write"]);
    has("/faults", &["pmd_fallback", "sigbus", "sigsegv"]);
    for structure in report["tlb"].as_object().unwrap().keys() {
        has(&format!("/tlb/{structure}"), &["lookups", "hits", "misses", "fills", "invalidations"]);
    }
    has("/walks", &["count", "memory_references", "cycles"]);
    has("/assists", &["a", "d"]);
    has("/shootdowns", &["requests", "ipis_sent", "ipis_received", "pages", "full_flushes"]);
    has("/shootdowns", &["initiator_cycles", "responder_cycles"]);
    assert!(number(&report["shootdowns"]["ipis_sent"]) > 0.0);
    for reason in report["flushes"].as_object().unwrap().keys() {
        assert!(reason.parse::<u32>().is_ok(), "{reason}");
        has(&format!("/flushes/{reason}"), &["reason", "count", "pages", "full"]);
    }
    for device in ["dram", "pmem"] {
        let path = format!("/memory/{device}");
        has(&path, &["reads", "writes", "bytes_read", "bytes_written", "media_bytes_read"]);
        has(&path, &["media_bytes_written", "stalls"]);
        assert!(report.pointer(&path).unwrap().get("write_amplification").is_some());
    }
    for kind in report["latency"].as_object().unwrap().keys() {
        has(
            &format!("/latency/{kind}"),
            &["count", "min", "mean", "p50", "p90", "p99", "p999", "max", "parts"],
        );
    }
    has("/replay", &["recorded", "reproduced", "diverged", "inferred", "ignored"]);
    has("/inputs/0", &["name", "kind", "sha256", "bytes", "lines", "events"]);
    let html = std::fs::read_to_string(dir.path().join("out/report.html")).unwrap();
    assert!(html.contains("</html>") && !html.contains("src=\"http"), "not self-contained");
    assert!(!dir.path().join("out/faults.tsv").exists(), "a trace has its fault table already");
}

#[test]
fn several_inputs_get_a_folder_each_and_a_bad_one_does_not_spoil_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["s01_read_then_write", "s02_write_first"]
        .map(|s| recorded(&format!("kernel-7.2/ext4/{s}/trace.txt.xz")));
    let run = run_in(dir.path(), &["replay", path(&a), "missing.txt", path(&b), "--out", "out"]);
    run.refuses(&["missing.txt: cannot read", "1 of 3 inputs could not be replayed"]);
    assert_eq!(run.err.matches("missing.txt").count(), 1, "{}", run.err);
    assert_eq!(run.err.matches("No such file").count(), 1, "{}", run.err);
    for name in ["s01_read_then_write", "s02_write_first"] {
        let folder = dir.path().join(format!("out/kernel-7.2.ext4.{name}.trace"));
        assert!(folder.join("report.json").exists() && folder.join("report.html").exists());
    }
}

#[test]
fn without_out_results_go_under_reports() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded("kernel-7.2/xfs/s04_pmd_aligned/trace.txt.xz");
    run_in(dir.path(), &["replay", path(&trace), "-q"]).exits(0);
    assert!(dir.path().join("reports/out/kernel-7.2.xfs.s04_pmd_aligned.trace/report.json").exists());
}

#[test]
fn choices_reach_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let script = recorded("kernel-7.2/ext4/s01_read_then_write/script.txt");
    let more = ["--kernel", "dax-patch-v1", "--fs", "xfs", "--set", "tlb.stlb.entries=3072"];
    replay(dir.path(), path(&script), &more).exits(0);
    let report = report(dir.path());
    assert_eq!((&report["kernel"]["name"], &report["fs"]), (&"dax-patch-v1".into(), &"xfs".into()));
    assert_eq!(report["machine"]["overrides"][0]["key"], "tlb.stlb.entries");
    assert_eq!(report["machine"]["overrides"][0]["value"], "3072");
}

#[test]
fn a_layout_places_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = recorded("kernel-7.2/ext4/s01_read_then_write");
    let layout = scenario.join("filefrag_after.txt");
    replay(dir.path(), path(&scenario.join("script.txt")), &["--layout", path(&layout), "-q"]).exits(0);
    let text = std::fs::read_to_string(dir.path().join("out/faults.tsv")).unwrap();
    let pfn = |rows: Vec<Vec<String>>| -> Vec<u64> {
        let parse = |r: &Vec<String>| u64::from_str_radix(r[9].trim_start_matches("0x"), 16).ok();
        rows.iter().filter_map(parse).collect()
    };
    let (got, want) = (pfn(columns(&text)), pfn(recorded_faults(&scenario)));
    assert_eq!(got.len(), want.len());
    // The device lies elsewhere in the machine's memory; the distances are the file system's.
    let apart = |pfns: &[u64]| pfns.iter().map(|p| p.wrapping_sub(pfns[0])).collect::<Vec<_>>();
    assert_eq!(apart(&got), apart(&want));
}

#[test]
fn a_device_smaller_than_the_recorded_one_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded("kernel-7.2/ext4/s10_msync_loop/trace.txt.xz");
    replay(dir.path(), path(&trace), &["--set", "pmem.capacity=64 MiB", "-q"]).exits(0);
    let report = report(dir.path());
    assert_eq!(report["replay"]["dax"]["reproduced"], 628, "{:#}", report["replay"]);
    let assumed = report["assumptions"].as_array().unwrap();
    let noted =
        |a: &Value| a.as_str().unwrap().contains("extents beyond the end of the device (pmem.capacity)");
    assert!(assumed.iter().any(noted), "{assumed:#?}");
}

#[test]
fn invlpgb_is_used_where_the_machine_has_it_and_a_knob_without_effect_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let script = recorded("kernel-7.2/ext4/s10_msync_loop/script.txt");
    let run = |set: &[&str]| {
        let args: Vec<&str> = ["--machine", "skylake-sp-optane", "--kernel", "linux-7.2", "--quiet"]
            .into_iter()
            .chain(set.iter().flat_map(|s| ["--set", *s]))
            .collect();
        replay(dir.path(), path(&script), &args).exits(0);
        let report = report(dir.path());
        let warned = report["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|w| w["what"].as_str().unwrap().starts_with("tree.invlpgb"));
        (number(&report["shootdowns"]["invlpgb"]), number(&report["shootdowns"]["tlbsync"]), warned)
    };
    assert_eq!(run(&[]), (0.0, 0.0, false));
    assert_eq!(run(&["tree.invlpgb=true"]), (0.0, 0.0, true));
    let (invlpgb, tlbsync, warned) = run(&["tree.invlpgb=true", "mmu.invlpgb_pages=8"]);
    assert!(invlpgb > 0.0 && tlbsync > 0.0 && !warned, "{invlpgb} {tlbsync}");
    assert_eq!(run(&["tree.invlpgb=false", "mmu.invlpgb_pages=8"]), (0.0, 0.0, false));
}

/// Faults of a script on XFS, or what else it says.
fn replay_script(lines: &str, more: &[&str]) -> (tempfile::TempDir, common::Run) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.txt"), lines).unwrap();
    let run = replay(dir.path(), "s.txt", &[&["--fs", "xfs"], more].concat());
    (dir, run)
}

#[test]
fn a_script_moves_a_map_and_its_entries() {
    let (dir, run) = replay_script(
        "0 file 0 f0 64k fill\n0 map 0 0 0 64k rw shared 0x100000000000\n0 str 0 0 64k 4k\n\
         0 mremap 0 64k fixed 0x200000000000\n0 str 0 0 64k 4k\n0 mremap 0 32k\n0 mremap 0 32k dontunmap 0x300000000000\n\
         0 ldr 0 0 32k 4k\n",
        &["--quiet"],
    );
    run.exits(0);
    let report = report(dir.path());
    assert_eq!(report["faults"]["total"], 16, "{:#}", report["faults"]);
}

#[test]
fn a_script_clones_a_file_and_stores_to_both() {
    let lines = "0 file 0 f0 64k fill\n0 file 1 f1 0 sparse\n0 map 0 0 0 64k rw shared 0x100000000000\n0 clone 1 0\n\
         0 map 1 1 0 64k rw shared 0x200000000000\n0 ldr 0 0 64k 4k\n0 str 1 0 64k 4k\n0 fsync 1\n";
    let (dir, run) = replay_script(lines, &["--quiet"]);
    run.exits(0);
    assert_eq!(report(dir.path())["faults"]["total"], 32);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.txt"), lines).unwrap();
    replay(dir.path(), "s.txt", &["--fs", "ext4"]).shows(&["EOPNOTSUPP: ext4 cannot share blocks"]);
}
