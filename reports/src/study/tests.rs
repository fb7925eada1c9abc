use super::*;

fn study() -> Study {
    let values = |value: f64| BTreeMap::from([("wait_ns".to_owned(), value)]);
    let point = |x, value| Point { x, values: values(value), ..Point::default() };
    let wait = |name: &str, ns| Wait { name: name.to_owned(), ns };
    let waits: Vec<Wait> = ["a", "b", "c", "d", "e", "f"]
        .iter()
        .zip([60.0, 50.0, 40.0, 30.0, 20.0, 10.0])
        .map(|(name, ns)| wait(name, ns))
        .collect();
    let failed = Point { x: 2.0, error: Some("no | room".to_owned()), ..Point::default() };
    let variant = |panel: &str, name: &str, points| Variant {
        name: name.to_owned(),
        panel: panel.to_owned(),
        points,
        ..Variant::default()
    };
    Study {
        schema: SCHEMA.to_owned(),
        title: "A title".to_owned(),
        question: "Why?".to_owned(),
        findings: vec!["Because.".to_owned()],
        x: Axis { name: "cores".to_owned(), unit: String::new(), values: vec![1.0, 2.0] },
        metrics: vec![Metric {
            key: "wait_ns".to_owned(),
            unit: "ns".to_owned(),
            about: "the wait".to_owned(),
        }],
        variants: vec![
            variant("first", "one", vec![point(1.0, 10.0), point(2.0, 1.0 / 3.0)]),
            variant("second", "other", vec![point(1.0, 5.0), failed]),
            variant("first", "two", vec![point(1.0, 0.0), Point { waits, ..point(2.0, 7.0) }]),
        ],
        ..Study::default()
    }
    .counted()
}

#[test]
fn panels_come_in_the_order_of_their_first_variant_and_failures_are_counted() {
    let study = study();
    assert_eq!(study.panels(), ["first", "second"]);
    assert_eq!(study.failed, 1);
    let rows = study.values("first", &study.metrics[0]);
    assert_eq!(rows.head, ["cores", "1", "2"]);
    assert_eq!(rows.rows, [["one", "10", "0.33"], ["two", "0", "7"]]);
    assert_eq!(study.values("second", &study.metrics[0]).rows, [["other", "5", "failed"]]);
}

#[test]
fn the_longest_waits_are_shown_and_the_others_summed() {
    let waits = study().waits("first").unwrap();
    assert_eq!(waits.rows[1], ["two", "a 60", "b 50", "c 40", "d 30", "30"]);
    assert!(study().waits("second").is_none());
}

#[test]
fn every_form_holds_every_number_and_every_reason() {
    let study = study();
    let (text, markdown, page) = (summary(&study), markdown(&study), html(&study).unwrap());
    assert!(markdown.contains("\nBecause.\n") && page.contains("<p>Because.</p>"));
    for form in [&text, &markdown, &page] {
        for part in ["A title", "Why?", "The wait (ns)", "0.33", "failed", "room"] {
            assert!(form.contains(part), "{part}: {form}");
        }
    }
    assert!(markdown.contains("no \\| room"), "a bar in a cell does not end it");
    assert!(page.contains("<title>one: 10 ns at 1 cores</title>"));
    let back: Study = serde_json::from_str(&study.to_json().unwrap()).unwrap();
    assert_eq!(back.variants[0].points[1].values["wait_ns"], 0.333);
}
