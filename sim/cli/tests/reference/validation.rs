//! The validation page.

use std::collections::BTreeMap;

use daxsim_configs::validation::builtin_points;
use daxsim_reports::validation::{Validation, html, markdown};

use crate::hash;
use crate::kept::{check, folder, json, run, written};

const KEPT: &str = "reports/reference/validation";

/// Points that are measured in seconds, of every kind of measurement that has some.
const QUICK: [&str; 15] = [
    "R01", "R06", "R09", "R12", "R13", "R14", "R15", "R16", "R17.one", "R18", "R19", "R20", "R21", "R24",
    "R26",
];

fn kept() -> Validation {
    json(&format!("{KEPT}.json"))
}

fn check_forms(validation: &Validation) {
    check(&format!("{KEPT}.html"), &html(validation).unwrap());
    check(&format!("{KEPT}.md"), &markdown(validation));
}

#[test]
fn the_forms_follow_from_the_kept_json() {
    check_forms(&kept());
}

#[test]
fn every_point_is_on_the_page_as_its_file_states_it() {
    hash::assert_current("validation", &hash::files("configs/validation"));
    let kept = kept();
    let points = builtin_points().unwrap();
    assert_eq!(kept.points.len(), points.len());
    for (kept, point) in kept.points.iter().zip(&points) {
        let stated = (&point.id, &point.about, &point.machine, &point.source, &point.note, &point.fitted);
        assert_eq!((&kept.id, &kept.about, &kept.machine, &kept.source, &kept.note, &kept.fitted), stated);
    }
}

#[test]
fn quick_points_come_out_as_on_the_page() {
    let arguments = [&["validate", "--json"], QUICK.as_slice()].concat();
    let measured: Validation = serde_json::from_str(&run(&folder(), &arguments)).unwrap();
    assert!(measured.points.len() > 30, "{}", measured.points.len());
    let kept = kept();
    let by_id: BTreeMap<&str, _> = kept.points.iter().map(|point| (point.id.as_str(), point)).collect();
    for point in &measured.points {
        assert_eq!(Some(&point), by_id.get(point.id.as_str()), "see the top of this test");
    }
}

#[test]
#[ignore = "simulates for minutes"]
fn all_points_come_out_as_on_the_page() {
    let folder = folder();
    run(&folder, &["validate", "--out", "out", "--threads", "2"]);
    let text = written(&folder, "out/validation.json");
    check(&format!("{KEPT}.json"), &text);
    check_forms(&serde_json::from_str(&text).unwrap());
    hash::note("validation", &hash::files("configs/validation"));
}
