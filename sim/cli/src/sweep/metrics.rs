//! Numbers of a report by their paths.

use anyhow::{Result, bail};
use daxsim_reports::RunReport;
use serde_json::Value;

/// Parts of a report that are left out where they are empty.
const OPTIONAL: [&str; 4] = ["arch", "exits", "locks", "lines"];

/// The number at a path such as `tlb.stlb.misses`. In a list a part of the path is a place from 0, or the `name` of an element.
pub fn number_at(report: &Value, path: &str) -> Option<f64> {
    let step = |value: &Value, part: &str| -> Option<Value> {
        match value {
            Value::Object(fields) => fields.get(part).cloned(),
            Value::Array(items) => {
                let named = |item: &&Value| item.get("name").and_then(Value::as_str) == Some(part);
                let by_place = || items.get(part.parse::<usize>().ok()?);
                items.iter().find(named).or_else(by_place).cloned()
            }
            _ => None,
        }
    };
    let found = path.split('.').try_fold(report.clone(), |value, part| step(&value, part))?;
    match found {
        Value::Bool(flag) => Some(f64::from(u8::from(flag))),
        other => other.as_f64(),
    }
}

/// The numbers at some paths.
pub fn numbers(report: &RunReport, paths: &[String]) -> Result<Vec<Option<f64>>> {
    let report = serde_json::to_value(report)?;
    Ok(paths.iter().map(|path| number_at(&report, path)).collect())
}

/// Refuses paths whose first part no report has.
pub fn check(paths: &[String]) -> Result<()> {
    let report = serde_json::to_value(RunReport::default())?;
    let fields: Vec<&str> = report.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for path in paths {
        let first = path.split('.').next().unwrap_or_default();
        if !fields.iter().chain(&OPTIONAL).any(|field| *field == first) {
            let all: Vec<&str> = fields.iter().chain(&OPTIONAL).copied().collect();
            bail!(
                "metric {path}: no report has {first}: expected a path into report.json that begins with one of {}",
                all.join(", ")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let report = json!({"tlb": {"stlb": {"misses": 12}}, "time_ns": 1.5, "attribution": [{"name": "user", "cycles": 7}], "ok": true});
        for (path, expected) in [
            ("tlb.stlb.misses", Some(12.0)),
            ("time_ns", Some(1.5)),
            ("attribution.user.cycles", Some(7.0)),
            ("attribution.0.cycles", Some(7.0)),
            ("ok", Some(1.0)),
            ("tlb.stlb", None),
            ("tlb.l3.misses", None),
            ("", None),
        ] {
            assert_eq!(number_at(&report, path), expected, "{path}");
        }
        assert!(check(&["cycles".into(), "locks.mmap_lock.contended".into()]).is_ok());
        assert!(check(&["cycels".into()]).unwrap_err().to_string().contains("no report has cycels"));
    }
}
