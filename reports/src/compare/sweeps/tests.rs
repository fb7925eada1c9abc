use super::*;
use crate::sweep::{Objective, Point, Sweep, csv};

/// A point: kernel, flush, entries; cycles, walks; or why it failed.
type Row<'a> = (&'a str, &'a str, u32, Result<(f64, Option<f64>), &'a str>);

fn sweep(keys: &[&str], rows: &[Row<'_>]) -> Sweep {
    let point = |(kernel, flush, entries, outcome): &Row<'_>| {
        let level = |key: &&str| match *key {
            "flush" => (*flush).to_owned(),
            _ => entries.to_string(),
        };
        let (cycles, walks) = outcome.map_or((None, None), |(cycles, walks)| (Some(cycles), walks));
        Point {
            id: format!("{kernel} {flush} {entries}"),
            input: "../traces/a/script.txt".into(),
            machine: "skylake".into(),
            kernel: if outcome.is_ok() { (*kernel).into() } else { String::new() },
            levels: keys.iter().map(level).collect(),
            metrics: vec![cycles, walks],
            objectives: vec![cycles],
            error: outcome.err().map(str::to_owned),
            ..Point::default()
        }
    };
    let objective = Objective {
        name: "time".into(),
        unit: "cycles".into(),
        expression: "cycles".into(),
        maximise: false,
    };
    Sweep {
        schema: crate::sweep::SCHEMA.into(),
        version: "1".into(),
        title: "Flushes".into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        metrics: vec!["cycles".into(), "walks.count".into()],
        objectives: vec![objective],
        points: rows.iter().map(point).collect(),
        ..Sweep::default()
    }
    .analysed(&[])
}

/// The results as read from the files that a sweep writes.
fn results(name: &str, sweep: &Sweep) -> SweepResults {
    SweepResults::parse(name, &sweep.to_json().unwrap(), &csv(sweep)).unwrap()
}

fn base() -> Sweep {
    sweep(
        &["flush", "entries"],
        &[
            ("old", "lazy", 64, Ok((1000.0, Some(10.0)))),
            ("old", "lazy", 128, Ok((2000.0, Some(10.0)))),
            ("old", "ipi, all", 64, Ok((4000.0, None))),
            ("old", "ipi, all", 128, Ok((3000.0, Some(5.0)))),
        ],
    )
}

fn new() -> Sweep {
    sweep(
        &["entries", "flush"],
        &[
            ("fresh", "ipi, all", 128, Err("out of memory")),
            ("fresh", "lazy", 128, Ok((1000.0, Some(10.0)))),
            ("fresh", "ipi, all", 64, Ok((4400.0, Some(7.0)))),
            ("fresh", "lazy", 64, Ok((1100.0, Some(10.0)))),
            ("fresh", "lazy", 256, Ok((900.0, Some(10.0)))),
        ],
    )
}

fn compared(limits: &[&str]) -> SweepComparison {
    let limits: Vec<Limit> = limits.iter().map(|text| text.parse().unwrap()).collect();
    SweepComparison::new(&results("a", &base()), &results("b", &new()), &limits).unwrap()
}

#[test]
fn points_are_matched_by_their_keys_in_whatever_order_they_are() {
    let c = compared(&[]);
    assert_eq!(c.varied, ["kernel old against fresh"]);
    assert_eq!(c.keys, ["input", "machine", "semantics", "accesses", "flush", "entries"]);
    assert_eq!(c.matched, 3);
    assert_eq!(c.only_base, Vec::<String>::new());
    assert_eq!(c.only_new, ["flush=lazy entries=256"]);
    assert_eq!(c.failed, ["flush=ipi, all entries=128: in the new one"]);
    let changes = |at: usize| -> Vec<(&str, Option<f64>, Option<f64>)> {
        c.points[at].changes.iter().map(|c| (c.path.as_str(), c.base, c.new)).collect()
    };
    assert_eq!(c.points.iter().map(|p| p.short.as_str()).collect::<Vec<_>>()[1], "flush=lazy entries=128");
    assert_eq!(changes(1), [("cycles", Some(2000.0), Some(1000.0))]);
    assert_eq!(
        changes(2),
        [("cycles", Some(4000.0), Some(4400.0)), ("walks.count", None, Some(7.0))],
        "what was not measured is told of"
    );
}

#[test]
fn a_number_over_all_points_is_its_geometric_mean_with_the_extremes() {
    let c = compared(&[]);
    let cycles = &c.metrics[0];
    assert_eq!((cycles.points, cycles.less, cycles.more, cycles.positive), (3, 1, 2, 3));
    // The ratios are 1.1, 0.5 and 1.1.
    let want = ((1.1f64 * 0.5 * 1.1).powf(1.0 / 3.0) - 1.0) * 100.0;
    assert!((cycles.percent.unwrap() - want).abs() < 0.01, "{cycles:?} {want}");
    let (least, most) = (cycles.least.as_ref().unwrap(), cycles.most.as_ref().unwrap());
    assert_eq!((least.place.as_str(), least.percent), ("flush=lazy entries=128", -50.0));
    assert_eq!((most.place.as_str(), most.percent), ("flush=lazy entries=64", 10.0));
    let walks = &c.metrics[1];
    assert_eq!((walks.points, walks.positive, walks.more), (3, 2, 1));
    assert_eq!(c.metrics.len(), 2, "an objective that is a metric is not told twice");
}

#[test]
fn what_a_change_depends_on_is_told_by_key() {
    let c = compared(&[]);
    let key = |name: &str| c.by_key.iter().find(|k| k.metric == "cycles" && k.key == name).unwrap();
    assert_eq!(key("entries").percents, [("64".to_owned(), 10.0), ("128".to_owned(), -50.0)]);
    assert_eq!(key("entries").span, 60.0);
    assert_eq!(key("flush").percents[1], ("ipi, all".to_owned(), 10.0));
    assert!(c.by_key.iter().all(|k| k.key != "machine"));
}

#[test]
fn the_best_points_are_found_in_each() {
    let c = compared(&[]);
    assert_eq!(c.best.len(), 1);
    assert_eq!((c.best[0].base.as_str(), c.best[0].base_value), ("flush=lazy entries=64", 1000.0));
    assert_eq!((c.best[0].new.as_str(), c.best[0].new_value), ("flush=lazy entries=256", 900.0));
}

#[test]
fn limits_hold_for_each_point_or_for_the_whole() {
    let c = compared(&["cycles > +5%", "cycles > +10%", "geomean.cycles > +0", "points.failed > 0"]);
    let found: Vec<(usize, usize)> = c.checks.iter().map(|check| (check.points, check.failing)).collect();
    assert_eq!(found, [(3, 2), (3, 0), (1, 0), (1, 1)]);
    assert_eq!(c.checks[0].worst, "flush=lazy entries=64");
    assert_eq!(c.checks[0].found.measured, Some(10.0));
    assert!(c.fails() && summary(&c).contains("FAILS: 2 of 4 limits crossed."), "{}", summary(&c));
    let c = compared(&["cycles < -40%"]);
    assert_eq!((c.checks[0].worst.as_str(), c.checks[0].failing), ("flush=lazy entries=128", 1));
    assert!(!compared(&["cycles > +10%"]).fails());
}

#[test]
fn a_limit_on_no_number_is_refused_with_near_names() {
    let limit: Limit = "cycle > +5%".parse().unwrap();
    let error = SweepComparison::new(&results("a", &base()), &results("b", &new()), &[limit]).unwrap_err();
    assert!(error.to_string().contains("no report has a number `cycle`; near: cycles"), "{error}");
}

#[test]
fn a_sweep_equals_itself() {
    let c = SweepComparison::new(&results("a", &base()), &results("a", &base()), &[]).unwrap();
    assert!(c.points.is_empty() && c.varied.is_empty() && c.notes.is_empty() && c.by_key.is_empty());
    assert!(summary(&c).contains("All numbers of these points are equal."), "{}", summary(&c));
    assert!(c.metrics.iter().all(|m| m.percent == Some(0.0)));
}

#[test]
fn a_key_of_one_sweep_alone_is_noted_or_refused() {
    let one =
        sweep(&["entries"], &[("old", "lazy", 64, Ok((1.0, None))), ("old", "lazy", 128, Ok((1.0, None)))]);
    let lazy = sweep(
        &["flush", "entries"],
        &[("old", "lazy", 64, Ok((1.0, None))), ("old", "lazy", 128, Ok((1.0, None)))],
    );
    let c = SweepComparison::new(&results("a", &one), &results("b", &lazy), &[]).unwrap();
    assert_eq!(c.notes, ["`flush` is lazy in the new one and no key of the other"]);
    assert_eq!(c.matched, 2);
    let error = SweepComparison::new(&results("a", &one), &results("b", &base()), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a` and `b` cannot be compared: the new one varies `flush`, the other has no such key"
    );
}

#[test]
fn sweeps_without_a_common_point_are_refused() {
    let one = sweep(&["entries"], &[("old", "", 64, Ok((1.0, None))), ("old", "", 128, Ok((1.0, None)))]);
    let other = sweep(&["entries"], &[("old", "", 65, Ok((1.0, None))), ("old", "", 129, Ok((1.0, None)))]);
    let error = SweepComparison::new(&results("a", &one), &results("b", &other), &[]).unwrap_err();
    assert!(
        error.to_string().contains("no point is in both; the first are entries=64 and entries=65"),
        "{error}"
    );
}

#[test]
fn numbers_are_one_level_however_their_columns_write_them() {
    let (mut one, mut other) = (base(), base());
    one.points.truncate(2);
    other.points.truncate(2);
    other.points[0].levels[1] = "64.0".into();
    let c = SweepComparison::new(&results("a", &one), &results("b", &other), &[]).unwrap();
    assert_eq!(c.matched, 2);
}

#[test]
fn inputs_are_called_by_what_their_paths_do_not_share() {
    let paths = ["../t/s01/script.txt".to_owned(), "../t/s10/script.txt".to_owned()];
    let names = matching::without_shared(&paths.iter().collect());
    assert_eq!(names[&paths[0]], "s01");
    let paths = ["a/b/x.dxt".to_owned(), "a/x.dxt".to_owned(), "a/c.dxt".to_owned()];
    let names = matching::without_shared(&paths.iter().collect());
    assert_eq!(
        paths.iter().map(|path| names[path].as_str()).collect::<Vec<_>>(),
        ["b/x.dxt", "x.dxt", "c.dxt"]
    );
}

#[test]
fn damaged_results_are_refused_with_the_place() {
    let json = base().to_json().unwrap();
    let cases = [
        ("id,input\na,b\n", "row 1 has no column `machine`"),
        (
            &csv(&base()).replacen("1000.0", "many", 1),
            "row 1 column `cycles` holds `many`, expected a number",
        ),
        ("id,input\na\n", "record 1"),
    ];
    for (table, why) in cases {
        let error = SweepResults::parse("x", &json, table).unwrap_err().to_string();
        assert!(error.starts_with("`x`: ") && error.contains(why), "{error}");
    }
    let error = SweepResults::parse("x", "{\"schema\": \"daxsim.report/1\"}", "").unwrap_err().to_string();
    assert_eq!(error, "`x` has the schema `daxsim.report/1`, expected `daxsim.sweep/1`");
}

#[test]
fn all_forms_say_the_same() {
    let c = compared(&["cycles > +5%"]);
    let sentence = "cycles is less at 1 and more at 2 of 3 points, -15.4 % in the geometric mean";
    for form in [summary(&c), markdown(&c), html(&c).unwrap()] {
        assert!(form.contains(sentence), "{form}");
        assert!(form.contains("kernel old against fresh") && form.contains("entries=256"), "{form}");
    }
    let read: SweepComparison = serde_json::from_str(&c.to_json().unwrap()).unwrap();
    assert_eq!(read, c);
}
