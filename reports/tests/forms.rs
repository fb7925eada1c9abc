//! The forms of a report: what they say, and that they say it the same way every time.

mod common;

use daxsim_reports::model::{Bucket, Crash, Durability, Latency, Part, RunReport, SCHEMA};
use daxsim_reports::{ReportError, html, json, terminal};

#[test]
fn terminal_summary() {
    insta::assert_snapshot!(terminal::summary(&common::report()));
}

#[test]
fn json_document() {
    // Edges of the distributions are covered by the model's own tests.
    let mut report = common::report();
    for latency in report.latency.values_mut() {
        latency.histogram.truncate(2);
    }
    insta::assert_snapshot!(json::to_string(&report).unwrap());
}

#[test]
fn terminal_summary_of_nothing() {
    insta::assert_snapshot!(terminal::summary(&RunReport::default()));
}

#[test]
fn json_comes_back_as_it_went() {
    let report = common::report();
    let text = json::to_string(&report).unwrap();
    assert!(text.ends_with("}\n"));
    let back = json::parse("report.json", &text).unwrap();
    // Written values are rounded; a second trip changes nothing.
    assert_eq!(json::to_string(&back).unwrap(), text);
    assert_eq!(back, RunReport { time_ns: 386_876_249.048, ..report });
}

#[test]
fn json_goes_through_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    json::write(&common::report(), &path).unwrap();
    assert_eq!(json::read(&path).unwrap().faults.total, 16_392);
    let missing = dir.path().join("missing.json");
    let error = json::read(&missing).unwrap_err();
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
}

#[test]
fn other_documents_are_refused_by_name() {
    let error = json::parse("old.json", r#"{"schema": "daxsim.report/0"}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("`old.json` has the schema `daxsim.report/0`, expected `{SCHEMA}`")
    );
    assert!(matches!(json::parse("a", "{}"), Err(ReportError::Schema { .. })));
    let error = json::parse("a", "{\n\"schema\": 1}").unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn reports_with_fewer_or_more_fields_can_be_read() {
    let text = format!(r#"{{"schema": "{SCHEMA}", "seed": 7, "added_later": {{}}}}"#);
    let report = json::parse("a", &text).unwrap();
    assert_eq!(report, RunReport { seed: 7, ..RunReport::default() });
}

#[test]
fn every_form_renders_the_same_bytes_twice() {
    let report = common::report();
    assert_eq!(html::render(&report).unwrap(), html::render(&report.clone()).unwrap());
    assert_eq!(json::to_string(&report).unwrap(), json::to_string(&report.clone()).unwrap());
    assert_eq!(terminal::summary(&report), terminal::summary(&report.clone()));
}

#[test]
fn nothing_and_everything_render() {
    let mut nothing = RunReport::default();
    let page = html::render(&nothing).unwrap();
    assert!(page.contains("No faults in 0 accesses.") && !page.contains("<svg"));
    nothing.latency.insert("read".into(), Latency::default());
    html::render(&nothing).unwrap();
    assert!(!terminal::summary(&nothing).is_empty());

    let mut huge = common::report();
    huge.cycles = u64::MAX;
    huge.faults.total = u64::MAX;
    huge.shootdowns.initiator_cycles = u64::MAX;
    huge.attribution.iter_mut().for_each(|p| p.cycles = u64::MAX);
    huge.machine.frequency_hz = u64::MAX;
    huge.time_ns = f64::MAX;
    huge.replay.diverged = u64::MAX;
    for (i, latency) in huge.latency.values_mut().enumerate() {
        let odd = [f64::MAX, f64::NAN, f64::INFINITY, -1.0, 0.0][i % 5];
        (latency.p50, latency.p999, latency.max) = (odd, odd, odd);
        latency.count = u64::MAX;
        latency.parts.push(Part { name: "odd".into(), total_ns: odd, mean_ns: odd, share: odd });
        latency.histogram.push(Bucket { from_ns: 1e16, to_ns: 1.1e16, count: u64::MAX });
        latency.histogram.insert(0, Bucket { from_ns: 0.0, to_ns: 0.1, count: 1 });
    }
    html::render(&huge).unwrap();
    assert!(!terminal::summary(&huge).is_empty());
    json::parse("huge", &json::to_string(&huge).unwrap()).unwrap();
}

#[test]
fn a_single_sample_is_drawn() {
    let mut report = RunReport::default();
    let bucket = Bucket { from_ns: 1000.0, to_ns: 1060.0, count: 1 };
    let latency =
        Latency { count: 1, p50: 1030.0, p999: 1030.0, histogram: vec![bucket], ..Latency::default() };
    report.latency.insert("read".into(), latency);
    assert!(html::render(&report).unwrap().contains("f-bar\""));
}

#[test]
fn what_only_other_architectures_do_is_shown_where_it_happened() {
    let forms = |r: &RunReport| [json::to_string(r).unwrap(), terminal::summary(r), html::render(r).unwrap()];
    let mut report = common::report();
    for quiet in forms(&report) {
        assert!(!quiet.contains("preload") && !quiet.contains("access_flags"), "{quiet}");
    }
    report.arch.preloads = 4711;
    report.faults.access_flags = 3;
    let shown = forms(&report);
    assert!(shown.iter().all(|form| form.contains("preload")), "{shown:?}");
    assert!(shown[1].contains("preloaded by update_mmu_cache: 4"), "{}", shown[1]);
    assert!(shown[1].contains("access_flags"), "{}", shown[1]);
    let back = json::parse("a", &shown[0]).unwrap();
    assert_eq!((back.arch.preloads, back.faults.access_flags), (4711, 3));
}

#[test]
fn a_run_that_loses_nothing_says_so_in_a_line() {
    let report = RunReport { durability: Some(Durability::default()), ..RunReport::default() };
    assert!(terminal::summary(&report).contains("\nDurability: 0 pages promised and lost, 0 pages dirty\n"));
    let marked = Durability { dirty_pages: 3, dirty_lines: 9, ..Durability::default() };
    let report = RunReport { durability: Some(marked), ..RunReport::default() };
    let line = "Durability: 0 pages promised and lost, 3 pages dirty, all marked\n";
    assert!(terminal::summary(&report).contains(line));
}

#[test]
fn long_lists_are_cut_in_the_terminal_and_whole_in_the_document() {
    let report = common::report();
    let text = terminal::summary(&report);
    assert_eq!(text.matches("promised by msync").count(), 5);
    assert!(text.contains("and 2 more of 7 in report.json"), "{text}");
    assert_eq!(json::to_string(&report).unwrap().matches("\"promised_by\"").count(), 7);
    assert_eq!(html::render(&report).unwrap().matches("msync (line 7").count(), 7);
}

#[test]
fn a_crash_that_the_run_did_not_reach_is_said() {
    let crash = Crash { cycle: 5000, reached: false, places: Vec::new() };
    let durability = Durability { at_cycle: 1200, crash: Some(crash), ..Durability::default() };
    let report = RunReport { durability: Some(durability), ..RunReport::default() };
    let said = "The run ended at cycle 1,200, before the crash asked for at cycle 5,000.";
    assert!(terminal::summary(&report).contains(said));
    assert!(html::render(&report).unwrap().contains(said));
}
