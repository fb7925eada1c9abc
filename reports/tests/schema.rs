//! The published JSON Schema is that of the reports.
//!
//! After a change of the report: `DAXSIM_UPDATE_SCHEMA=1 cargo test -p daxsim-reports --test schema`.

mod common;

use std::path::Path;

use daxsim_reports::{json, schema};
use serde_json::{Value, json};

fn of(report: &str) -> Value {
    serde_json::from_str(report).unwrap()
}

/// The schema with every object closed, so that a field that it does not name is refused.
fn closed(mut schema: Value) -> Value {
    close(&mut schema);
    schema
}

fn close(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(close);
        let is_struct = members.contains_key("properties") && members.get("type") == Some(&json!("object"));
        // What is flattened into another object knows only its own fields.
        if is_struct && !members.contains_key("$ref") && !members.contains_key("additionalProperties") {
            members.insert("unevaluatedProperties".into(), json!(false));
        }
    } else if let Value::Array(members) = value {
        members.iter_mut().for_each(close);
    }
}

#[test]
fn the_published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/report.schema.json");
    let made = schema::report().unwrap();
    if std::env::var_os("DAXSIM_UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), made, "see the top of this test");
}

#[test]
fn a_full_report_is_valid_and_has_no_field_that_the_schema_does_not_name() {
    let validator = jsonschema::validator_for(&closed(of(&schema::report().unwrap()))).unwrap();
    for report in [common::report(), daxsim_reports::RunReport::default()] {
        let document = of(&json::to_string(&report).unwrap());
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

#[test]
fn what_is_no_report_is_not_valid() {
    let validator = jsonschema::validator_for(&closed(of(&schema::report().unwrap()))).unwrap();
    let good = of(&json::to_string(&common::report()).unwrap());
    assert!(validator.is_valid(&good));
    for (pointer, bad) in [
        ("/schema", json!("daxsim.report/2")),
        ("/cycles", json!("many")),
        ("/cycles", json!(-1)),
        ("/latency/mkwrite/p99", json!(null)),
        ("/mode", json!("dream")),
        ("/walks", json!({"count": 1})),
        ("/tool", json!({"name": "x", "version": "1", "mood": "good"})),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(pointer).unwrap() = bad;
        assert!(!validator.is_valid(&document), "{pointer}");
    }
}
