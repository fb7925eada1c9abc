//! The numbers of a document by their paths, as in `latency.mkwrite.p99`.

use std::collections::BTreeMap;

use serde_json::Value;

/// Numbers by path.
pub(super) type Numbers = BTreeMap<String, f64>;

/// Keys below which there is nothing to compare number by number: lists of buckets, stretches and places.
const LEFT_OUT: [&str; 9] = [
    "schema",
    "inputs",
    "histogram",
    "read_gb_s",
    "write_gb_s",
    "reads_under_way",
    "writes_waiting",
    "divergences",
    "over_time",
];

/// Every number of `document`. Members of lists are called by their `name` (parts of a latency), `what` (warnings) or, if they
/// are numbers, their place.
pub(super) fn numbers(document: &Value) -> Numbers {
    let mut found = Numbers::new();
    collect(document, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut Numbers) {
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                found.insert(path.to_owned(), number);
            }
        }
        Value::Object(members) => {
            for (key, member) in members.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())) {
                collect(member, &below(path, key), found);
            }
        }
        Value::Array(members) => {
            for (at, member) in members.iter().enumerate() {
                let name = ["name", "what"].iter().find_map(|key| member.get(key)?.as_str());
                match name {
                    Some(name) => collect(member, &below(path, name), found),
                    None if member.is_number() => collect(member, &below(path, &at.to_string()), found),
                    None => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Up to `most` of `paths` that a mistyped `path` may have meant, the nearest first.
pub(super) fn near<'a>(path: &str, paths: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut scored: Vec<(f64, &str)> = paths
        .map(|known| (strsim::jaro_winkler(path, known) + shared_segments(path, known), known))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(most).map(|(_, known)| known.to_owned()).collect()
}

/// The share of the words of a typed path that a known one has too.
fn shared_segments(typed: &str, known: &str) -> f64 {
    let words: Vec<&str> = typed.split('.').collect();
    let shared = words.iter().filter(|word| known.split('.').any(|other| other == **word)).count();
    shared as f64 / words.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_called_by_their_path() {
        let document = serde_json::json!({
            "schema": "x/1", "a": 1, "text": "2", "none": null,
            "latency": {"read": {"p99": 5.5, "parts": [{"name": "ipi wait", "total_ns": 3}], "histogram": [{"count": 9}]}},
            "walks": {"by_level": [4, 0]},
        });
        let want = [
            ("a", 1.0),
            ("latency.read.p99", 5.5),
            ("latency.read.parts.ipi wait.total_ns", 3.0),
            ("walks.by_level.0", 4.0),
            ("walks.by_level.1", 0.0),
        ];
        let found = numbers(&document);
        assert_eq!(found.iter().map(|(k, v)| (k.as_str(), *v)).collect::<Vec<_>>(), want);
    }

    #[test]
    fn a_mistyped_path_finds_its_neighbours() {
        let paths = ["latency.mkwrite.p99", "latency.read.p99", "faults.mkwrite", "walks.count"];
        let near = near("latency.mkwrit.p99", paths.into_iter(), 2);
        assert_eq!(near, ["latency.mkwrite.p99", "latency.read.p99"]);
        assert!(super::near("zzz", paths.into_iter(), 3).is_empty());
    }
}
