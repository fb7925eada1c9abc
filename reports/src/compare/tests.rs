use super::*;
use crate::model::{Accesses, CycleShare, Faults, HistogramUnit, LatencyBuilder};

fn kind(count: u64, fs: u64, insert: u64, flush: u64) -> Latency {
    let each = fs + insert + flush;
    let mut samples = hdrhistogram::Histogram::new(3).unwrap();
    samples.record_n(each, count).unwrap();
    let mut builder = LatencyBuilder::new("mkwrite", &samples, HistogramUnit::Picoseconds)
        .sum_ps(each * count)
        .part("fs", fs * count);
    if flush > 0 {
        builder = builder.part("flush", flush * count);
    }
    builder.part("insert", insert * count).extremes_ps(each, each).build().unwrap()
}

fn report(kernel: &str, latency: Latency) -> RunReport {
    let mut report = RunReport {
        accesses: Accesses { total: 10, reads: 4, writes: 6 },
        faults: Faults { total: latency.count, mkwrite: latency.count, ..Faults::default() },
        attribution: vec![CycleShare { name: "user".into(), cycles: latency.count, share: 1.0 }],
        ..RunReport::default()
    };
    report.kernel.name = kernel.to_owned();
    report.latency.insert("mkwrite".into(), latency);
    report
}

fn compared(limits: &[&str]) -> Comparison {
    let limits: Vec<Limit> = limits.iter().map(|text| text.parse().unwrap()).collect();
    let base = report("old", kind(10, 3_000_000, 1_000_000, 0));
    let new = report("fresh", kind(12, 2_500_000, 1_000_000, 700_000));
    Comparison::new(("a.json", &base), ("b.json", &new), &limits).unwrap()
}

#[test]
fn the_changes_of_the_parts_sum_to_that_of_the_mean() {
    let comparison = compared(&[]);
    let mkwrite = &comparison.latencies[0];
    let mean = mkwrite.values.iter().find(|c| c.path == "mean").unwrap();
    assert_eq!((mean.base, mean.new, mean.change), (Some(4000.0), Some(4200.0), 200.0));
    let parts: Vec<_> = mkwrite.parts.iter().map(|c| (c.path.as_str(), c.change)).collect();
    assert_eq!(parts, [("fs", -500.0), ("flush", 700.0), ("insert", 0.0)]);
    assert_eq!(parts.iter().map(|p| p.1).sum::<f64>(), mean.change);
}

#[test]
fn the_whole_time_changes_by_the_number_and_by_the_cost() {
    let mkwrite = &compared(&[]).latencies[0];
    assert_eq!((mkwrite.base_total_ns, mkwrite.new_total_ns), (40_000.0, 50_400.0));
    assert_eq!((mkwrite.by_count_ns, mkwrite.by_cost_ns), (8_000.0, 2_400.0));
}

#[test]
fn every_number_that_differs_is_listed_and_no_other() {
    let comparison = compared(&[]);
    let change = |path: &str| comparison.changes.iter().find(|c| c.path == path);
    assert_eq!(change("faults.mkwrite").unwrap().percent, Some(20.0));
    assert_eq!(change("latency.mkwrite.parts.flush.total_ns").unwrap().base, None);
    assert!(change("accesses.total").is_none());
    assert!(comparison.numbers > comparison.changes.len());
}

#[test]
fn a_report_equals_itself() {
    let one = report("old", kind(10, 3_000_000, 1_000_000, 0));
    let comparison = Comparison::new(("a", &one), ("a", &one), &[]).unwrap();
    assert!(comparison.changes.is_empty() && comparison.notes.is_empty());
    assert!(summary(&comparison).contains("numbers are equal"));
}

#[test]
fn limits_decide_whether_the_comparison_fails() {
    assert!(!compared(&["latency.mkwrite.p99 > +5%"]).fails());
    let failing = compared(&["latency.mkwrite.p99 > +4%", "faults.mkwrite > +5"]);
    assert_eq!(failing.checks.iter().map(|c| c.fails).collect::<Vec<_>>(), [true, false]);
    assert!(summary(&failing).contains("FAILS: 1 of 2 limits crossed."));
    assert!(markdown(&failing).contains("FAILS"));
}

#[test]
fn all_forms_name_the_parts() {
    let comparison = compared(&[]);
    let sentence = "The mean mkwrite went from 4.00 us to 4.20 us (+5.0 %): flush +700 ns, fs -500 ns.";
    for form in [summary(&comparison), markdown(&comparison), html(&comparison).unwrap()] {
        assert!(form.contains(sentence), "{form}");
    }
    let read: Comparison = serde_json::from_str(&comparison.to_json().unwrap()).unwrap();
    assert_eq!(read, comparison);
}

#[test]
fn notes_say_what_else_differs() {
    let base = report("old", kind(1, 1, 1, 0));
    let mut new = report("fresh", kind(1, 1, 1, 0));
    new.machine.name = "other".into();
    new.inputs.push(crate::model::Input { sha256: "ab".into(), ..Default::default() });
    let notes = Comparison::new(("a", &base), ("b", &new), &[]).unwrap().notes;
    assert_eq!(notes[0], "the inputs are not the same bytes");
    assert_eq!(notes[1], "more than one thing was varied: machine  against other, kernel old against fresh");
}
