//! `docs/conformance.md` lists every step that occurs in the recorded tables of faults, with its number.
//!
//! After a change of the recordings: `DAXSIM_UPDATE_CONFORMANCE=1 cargo test -p daxsim --test conformance`.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::{all_recorded, has_script, recorded_faults};

/// Where the steps of a fault stand in its row.
const PATH: usize = 11;

/// The lines around the table.
const BEGIN: &str = "<!-- The table is written by a test: sim/cli/tests/conformance.rs -->\n";
const END: &str = "<!-- End of the table -->\n";

/// A step without its number: results, entries and pages differ from fault to fault.
fn family(token: &str) -> String {
    let (name, rest) = token.split_at(token.find(['=', ':']).unwrap_or(token.len()));
    let numeric =
        rest.get(1..).is_some_and(|v| v.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit()));
    if numeric { format!("{name}{}N", &rest[..1]) } else { token.to_owned() }
}

/// What a step is compared as.
fn how(family: &str) -> &'static str {
    match family {
        "tlb0:N" => "no",
        "unmap_page_range" => "no, but with `zap_page_range_single`",
        "zap_page_range_single" => "yes, as `zap_vma_range_batched`",
        _ if family.starts_with("iomap:") && family.ends_with("DIRTY") => "without DIRTY",
        _ => "yes",
    }
}

fn table() -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for dir in all_recorded().iter().filter(|dir| has_script(dir)) {
        for fault in recorded_faults(dir) {
            for token in fault[PATH].split_whitespace() {
                *counts.entry(family(token)).or_default() += 1;
            }
        }
    }
    let mut text = "| step | recorded | compared |\n|---|---|---|\n".to_owned();
    for (name, count) in counts {
        let _ = writeln!(text, "| `{}` | {count} | {} |", name.replace('|', "\\|"), how(&name));
    }
    text
}

#[test]
fn every_recorded_step_is_listed_with_how_it_is_compared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}\n{}\n{END}{after}", table());
    if std::env::var_os("DAXSIM_UPDATE_CONFORMANCE").is_some() {
        fs::write(&path, expected).unwrap();
        return;
    }
    for (shown, stated) in text.lines().zip(expected.lines()) {
        assert_eq!(shown, stated, "docs/conformance.md: see the top of this test");
    }
    assert_eq!(text, expected, "docs/conformance.md: see the top of this test");
}

#[test]
fn a_step_loses_its_number_and_keeps_its_words() {
    for (token, name) in [
        ("handle_mm_fault=0x400", "handle_mm_fault=N"),
        ("tlb3:-1", "tlb3:N"),
        ("dax_pte_fault:W", "dax_pte_fault:W"),
        ("iomap:MAPPED+NEW|DIRTY", "iomap:MAPPED+NEW|DIRTY"),
        ("do_wp_page", "do_wp_page"),
    ] {
        assert_eq!(family(token), name);
    }
}
