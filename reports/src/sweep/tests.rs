use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;

use super::*;

/// Two keys, one of which matters: time = 100 - 10 a, cost = a + b; one point failed.
fn sweep() -> Sweep {
    let point = |a: u32, b: u32| {
        let (time, cost) = (100.0 - 10.0 * f64::from(a), f64::from(a + b));
        Point {
            id: format!("id{a}{b}"),
            input: "in, \"1\"".to_owned(),
            machine: "m".to_owned(),
            kernel: "k".to_owned(),
            levels: vec![a.to_string(), format!("{b} cycles")],
            metrics: vec![Some(time), None],
            objectives: vec![Some(time), Some(cost)],
            cost: Some(cost),
            ..Point::default()
        }
    };
    let failed = Point {
        id: "x".to_owned(),
        input: "in, \"1\"".to_owned(),
        levels: vec!["9".to_owned(), "9 cycles".to_owned()],
        metrics: vec![None, None],
        objectives: vec![None, None],
        error: Some("no such\nmachine".to_owned()),
        ..Point::default()
    };
    let points = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)].map(|(a, b)| point(a, b));
    let objective = |name: &str| Objective { name: name.to_owned(), ..Objective::default() };
    Sweep {
        schema: SCHEMA.to_owned(),
        title: "A title".to_owned(),
        keys: vec!["a".to_owned(), "b".to_owned()],
        metrics: vec!["cycles".to_owned(), "gone".to_owned()],
        objectives: vec![objective("time"), objective("cost")],
        space: Space {
            sample: "full grid".to_owned(),
            grid: Some(7),
            designs: 7,
            inputs: 1,
            ..Space::default()
        },
        points: points.into_iter().chain([failed]).collect(),
        ..Sweep::default()
    }
    .analysed(&[])
}

#[test]
fn the_front_the_budgets_and_the_effects_follow_from_the_points() {
    let sweep = sweep();
    let [analysis] = sweep.analysis.as_slice() else { panic!("{:?}", sweep.analysis) };
    assert_eq!(analysis.front, [0, 2, 4]);
    let best: Vec<(usize, f64)> = analysis.best.iter().map(|best| (best.row, best.value)).collect();
    assert_eq!(best, [(4, 70.0), (0, 2.0)]);
    let within: Vec<(f64, usize, f64)> = analysis.within.iter().map(|w| (w.budget, w.row, w.value)).collect();
    assert_eq!(within, [(2.0, 0, 90.0), (3.0, 2, 80.0), (4.0, 4, 70.0)]);
    let [a, b] = analysis.effects.as_slice() else { panic!("{:?}", analysis.effects) };
    assert_eq!((a.key.as_str(), a.share, b.key.as_str(), b.share), ("a", 1.0, "b", 0.0));
    assert_eq!(a.means, [("1".to_owned(), 90.0), ("2".to_owned(), 80.0), ("3".to_owned(), 70.0)]);
    assert_eq!((a.span, analysis.pairs[0].share), (0.25, 0.0));
    assert_eq!((sweep.space.run, sweep.space.failed, sweep.space.share), (6, 1, Some(6.0 / 7.0)));
    let asked = sweep.clone().analysed(&[3.5, 1.0]).analysis[0].within.clone();
    assert_eq!(asked.iter().map(|w| (w.budget, w.cost, w.row)).collect::<Vec<_>>(), [(3.5, 3.0, 2)]);
}

#[test]
fn what_two_keys_do_only_together_is_seen() {
    let mut sweep = sweep();
    sweep.points.pop();
    for point in &mut sweep.points {
        // Exclusive or: no key does anything by itself.
        let (a, b) = (point.levels[0] == "1", point.levels[1] == "1 cycles");
        point.objectives[0] = Some(if a == b { 10.0 } else { 20.0 });
    }
    sweep.points.truncate(4);
    let analysis = sweep.analysed(&[]).analysis[0].clone();
    assert!(analysis.effects.iter().all(|effect| effect.share == 0.0), "{:?}", analysis.effects);
    assert_eq!((analysis.pairs[0].keys.join(" "), analysis.pairs[0].share), ("a b".to_owned(), 1.0));
}

#[test]
fn many_numbers_are_put_into_four_groups() {
    let mut sweep = sweep();
    let one = sweep.points[0].clone();
    let point = |n: u32| Point {
        levels: vec![n.to_string(), "1 cycles".to_owned()],
        objectives: vec![Some(f64::from(n)), None],
        ..one.clone()
    };
    sweep.points = (1..=20).map(point).collect();
    let effect = &sweep.analysed(&[]).analysis[0].effects[0];
    let groups: Vec<(&str, f64)> = effect.means.iter().map(|(group, mean)| (group.as_str(), *mean)).collect();
    assert_eq!(groups, [("1 to 5", 3.0), ("6 to 10", 8.0), ("11 to 15", 13.0), ("16 to 20", 18.0)]);
}

#[test]
fn csv_quotes_what_it_must() {
    let text = csv(&sweep());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "id,input,machine,kernel,semantics,accesses,a,b,cycles,gone,objective.time,objective.cost,cost,error"
    );
    assert_eq!(lines[1], "id11,\"in, \"\"1\"\"\",m,k,,,1,1 cycles,90.0,,90.0,2.0,2.0,");
    assert!(text.ends_with(",9,9 cycles,,,,,,\"no such\nmachine\"\n"), "{text}");
}

#[test]
fn json_lines_and_parquet_say_the_same() {
    let sweep = sweep();
    let lines = json_lines(&sweep).unwrap();
    let rows: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bytes = parquet(&sweep).unwrap();
    let file = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
    let mut count = 0;
    for (row, expected) in file.get_row_iter(None).unwrap().zip(&rows) {
        for (name, field) in row.unwrap().get_column_iter() {
            let found = match field {
                Field::Null => serde_json::Value::Null,
                Field::Str(text) => text.clone().into(),
                Field::Long(n) => (*n).into(),
                Field::Double(x) => (*x).into(),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected[name.as_str()], "{name}");
        }
        count += 1;
    }
    assert_eq!((count, rows.len()), (7, 7));
    assert_eq!(rows[0]["a"], 1, "levels that are all numbers are numbers");
    assert_eq!(parquet(&sweep).unwrap(), bytes);
}

#[test]
fn of_many_means_the_ends_are_shown() {
    let mut sweep = sweep();
    let one = sweep.points[0].clone();
    let point = |n: u32| Point {
        levels: vec![format!("kind {n}"), String::new()],
        objectives: vec![Some(f64::from(n)), None],
        ..one.clone()
    };
    sweep.points = (1..=9).map(point).collect();
    let text = summary(&sweep.analysed(&[]));
    assert!(text.contains("least kind 1: 1, most kind 9: 9"), "{text}");
}

#[test]
fn the_page_shows_chart_tables_and_failures() {
    let page = html(&sweep()).unwrap();
    assert_eq!(page.matches("<circle").count(), 6);
    for text in [
        "time over cost",
        "Points that no other beats",
        "within each budget",
        "no such\nmachine",
        "85.7 % of the full grid of 7",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let text = summary(&sweep());
    assert!(
        text.contains(
            "6 runs of 7 configurations on 1 input (full grid): 85.7 % of the full grid of 7; 1 failed."
        ),
        "{text}"
    );
}
