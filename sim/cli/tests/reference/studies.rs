//! The studies in `reports/studies/`.

use daxsim_reports::study::{Study, html, markdown};

use crate::hash;
use crate::kept::{check, folder, json, run, written};

/// The one that takes no time.
const QUICK: &str = "latr-machines";

/// Where they are stated.
const FOLDER: &str = "configs/studies";

fn file(name: &str) -> [String; 1] {
    [format!("{FOLDER}/{name}.toml")]
}

/// The page and the Markdown, made of the kept JSON, whose numbers are rounded.
fn check_forms(name: &str, study: &Study) {
    check(&format!("reports/studies/{name}.html"), &html(study).unwrap());
    check(&format!("reports/studies/{name}.md"), &markdown(study));
}

/// Measures a study and compares all its forms.
fn measure(name: &str) {
    let folder = folder();
    run(&folder, &["study", name, "--out", "out", "--threads", "2"]);
    let text = written(&folder, "out/study.json");
    check(&format!("reports/studies/{name}.json"), &text);
    check_forms(name, &serde_json::from_str(&text).unwrap());
    hash::note(&format!("study {name}"), &file(name));
}

#[test]
fn the_forms_follow_from_the_kept_json() {
    assert!(hash::names(FOLDER).len() >= 4);
    for name in hash::names(FOLDER) {
        let study: Study = json(&format!("reports/studies/{name}.json"));
        check_forms(&name, &study);
    }
}

#[test]
fn what_the_studies_were_made_from_has_not_changed() {
    for name in hash::names(FOLDER) {
        hash::assert_current(&format!("study {name}"), &file(&name));
    }
}

#[test]
fn a_quick_study_comes_out_as_kept() {
    measure(QUICK);
}

#[test]
#[ignore = "simulates for minutes"]
fn all_studies_come_out_as_kept() {
    hash::names(FOLDER).iter().for_each(|name| measure(name));
}
