//! The table of `docs/semantics.md` is what the semantics files say.
//!
//! After a change of a knob: `DAXSIM_UPDATE_SEMANTICS=1 cargo test -p daxsim-configs semantics_table`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::set;
use crate::{builtin_semantics, describe_kernel, kernel_keys, load_kernel};

/// The lines around the table.
const BEGIN: &str = "<!-- The table is written by a test: configs/src/tests/semantics_table.rs -->\n";
const END: &str = "<!-- End of the table -->\n";

/// Blocks of `[path_length.common]` that are paid only where a knob is on.
const BLOCKS: [(&str, &[&str]); 3] = [
    ("refcount_per_map", &["count_mapping_4k", "count_mapping_2m", "zap_counted"]),
    ("temp_ref_around_insert", &["temp_ref"]),
    ("memtype_lookup", &["memtype_lookup", "memtype_lookup_ram"]),
];

/// The key without `dax.`, its meaning, and its value in each builtin semantics.
fn rows() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let mut rows: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for (column, info) in builtin_semantics().unwrap().iter().enumerate() {
        let spec = load_kernel("linux-7.2", &set(&[&format!("semantics={}", info.name)])).unwrap();
        let knobs = describe_kernel(&spec).into_iter().filter(|key| key.key.starts_with("dax."));
        for (row, knob) in knobs.enumerate() {
            if column == 0 {
                rows.push((knob.key.trim_start_matches("dax."), knob.doc, Vec::new()));
            }
            rows[row].2.push(knob.value.replace('"', ""));
        }
    }
    rows
}

fn blocks(knob: &str) -> String {
    let found = BLOCKS.iter().find(|(name, _)| *name == knob);
    let names: Vec<String> =
        found.into_iter().flat_map(|(_, blocks)| *blocks).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn table() -> String {
    let names: Vec<&str> = builtin_semantics().unwrap().iter().map(|info| info.name).collect();
    let mut text = format!("| knob | {} | blocks | meaning |\n", names.join(" | "));
    text.push_str(&"|---".repeat(names.len() + 3));
    text.push_str("|\n");
    for (knob, doc, values) in rows() {
        let _ = writeln!(text, "| `{knob}` | {} | {} | {doc} |", values.join(" | "), blocks(knob));
    }
    text
}

#[test]
fn the_documented_table_of_knobs_is_that_of_the_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/semantics.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
    if std::env::var_os("DAXSIM_UPDATE_SEMANTICS").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    for (shown, stated) in text.lines().zip(expected.lines()) {
        assert_eq!(shown, stated, "docs/semantics.md: see the top of this test");
    }
    assert_eq!(text, expected, "docs/semantics.md: see the top of this test");
}

#[test]
fn every_block_that_a_knob_pays_exists() {
    let keys: Vec<&str> = rows().into_iter().map(|(knob, ..)| knob).collect();
    for (knob, blocks) in BLOCKS {
        assert!(keys.contains(&knob), "{knob}");
        for block in blocks {
            let key = format!("path_length.common.{block}");
            assert!(kernel_keys().iter().any(|known| known.key == key), "{key}");
        }
    }
}
