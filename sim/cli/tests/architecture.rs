//! Which crate may depend on which. The rules are those of `ARCHITECTURE.md`; cargo says what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Every crate of the workspace with the crates of the workspace that it may depend on.
const ALLOWED: [(&str, &[&str]); 10] = [
    (
        "daxsim",
        &["daxsim-configs", "daxsim-reports", "daxsim-sim", "daxsim-traces", "daxsim-types", "daxsim-vm"],
    ),
    ("daxsim-sim", &["daxsim-configs", "daxsim-traces", "daxsim-types"]),
    ("daxsim-traces", &["daxsim-types"]),
    ("daxsim-configs", &["daxsim-types"]),
    ("daxsim-reports", &["daxsim-types"]),
    ("daxsim-qemu-plugin", &["daxsim-ring", "daxsim-types"]),
    ("daxsim-ring", &["daxsim-types"]),
    ("daxsim-types", &[]),
    ("daxsim-vm", &["daxsim-traces", "daxsim-types"]),
    ("daxsim-player", &["daxsim-traces", "daxsim-types"]),
];

/// Crates that only the command may use: what parses arguments, shows progress and turns errors into text.
const COMMAND_ONLY: [&str; 3] = ["anyhow", "clap", "indicatif"];

/// A dependency of a crate of the workspace.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
}

/// Normal and build dependencies by crate; those of tests and benchmarks may be what they like.
fn dependencies(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package lists dependencies");
            let used = dependencies.iter().filter(|d| d["kind"].as_str() != Some("dev"));
            (text(&package["name"]), used.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

/// The dependencies that are not allowed.
fn forbidden(metadata: &Value) -> Vec<Edge> {
    let crates = dependencies(metadata);
    let mut found = Vec::new();
    for (from, used) in &crates {
        let allowed = ALLOWED.iter().find(|(name, _)| name == from).map_or(&[][..], |(_, to)| to);
        for to in used {
            let inside = crates.contains_key(to);
            let allowed_inside = !inside || allowed.contains(&to.as_str());
            let allowed_outside = from == "daxsim" || !COMMAND_ONLY.contains(&to.as_str());
            if !(allowed_inside && allowed_outside) {
                found.push(Edge { from: from.clone(), to: to.clone() });
            }
        }
    }
    found
}

fn cargo_metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let found = forbidden(&cargo_metadata());
    let list: Vec<String> = found.iter().map(|e| format!("{} -> {}", e.from, e.to)).collect();
    assert!(
        found.is_empty(),
        "dependencies that ARCHITECTURE.md does not allow: {}\n\
         Move the code to where it may be, or change the rule in ALLOWED, COMMAND_ONLY and ARCHITECTURE.md.",
        list.join(", ")
    );
}

#[test]
fn the_rules_name_every_crate_of_the_workspace() {
    let crates: BTreeSet<String> = dependencies(&cargo_metadata()).into_keys().collect();
    let ruled: BTreeSet<String> = ALLOWED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(crates, ruled, "ALLOWED lists the crates of the workspace");
}

#[test]
fn a_forbidden_edge_is_found_and_named() {
    let package = |name: &str, dependencies: &[(&str, Value)]| {
        let list: Vec<Value> =
            dependencies.iter().map(|(n, kind)| serde_json::json!({ "name": n, "kind": kind })).collect();
        serde_json::json!({ "name": name, "dependencies": list })
    };
    let metadata = serde_json::json!({ "packages": [
        package("daxsim", &[("daxsim-sim", Value::Null), ("clap", Value::Null)]),
        package("daxsim-sim", &[("daxsim-traces", Value::Null), ("smallvec", Value::Null)]),
        package("daxsim-traces", &[("daxsim-sim", "build".into()), ("daxsim-configs", "dev".into())]),
        package("daxsim-configs", &[]),
        package("daxsim-reports", &[("clap", Value::Null)]),
        package("daxsim-new", &[("daxsim-configs", Value::Null)]),
    ]});
    let edge = |from: &str, to: &str| Edge { from: from.into(), to: to.into() };
    let expected = [
        edge("daxsim-new", "daxsim-configs"),
        edge("daxsim-reports", "clap"),
        edge("daxsim-traces", "daxsim-sim"),
    ];
    assert_eq!(forbidden(&metadata), expected);
}
