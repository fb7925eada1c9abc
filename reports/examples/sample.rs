//! Writes the forms of a sample report to a directory, to look at while changing a template.
//!
//! `cargo run -p daxsim-reports --example sample -- DIR`

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

fn main() -> Result<(), daxsim_reports::ReportError> {
    let dir = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let report = common::report();
    daxsim_reports::json::write(&report, &dir.join("report.json"))?;
    daxsim_reports::html::write(&report, &dir.join("report.html"))?;
    daxsim_reports::write_atomically(
        &dir.join("summary.txt"),
        daxsim_reports::terminal::summary(&report).as_bytes(),
    )
}
