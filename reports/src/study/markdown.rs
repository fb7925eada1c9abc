//! A study as Markdown.

use super::Study;
use super::tables::Rows;

/// The tables, with a newline at the end.
#[must_use]
pub fn render(study: &Study) -> String {
    let mut out = format!("# {}\n\n{}\n", study.title, study.question);
    for paragraph in &study.findings {
        out += &format!("\n{paragraph}\n");
    }
    let set = if study.set.is_empty() { String::new() } else { format!(" `{}`", study.set.join(" ")) };
    out += &format!("\nProbe `{}`{set}, against {}.\n", study.probe, study.x.name);
    for panel in study.panels() {
        out += &format!("\n## {panel}\n");
        for metric in &study.metrics {
            out += &table(&study.values(panel, metric), 1);
        }
        if let Some(waits) = study.waits(panel) {
            out += &table(&waits, usize::MAX);
        }
    }
    out += "\n## Variants\n";
    out += &table(&study.what(), usize::MAX);
    let failures = study.failures();
    if !failures.rows.is_empty() {
        out += "\n## Failures\n";
        out += &table(&failures, usize::MAX);
    }
    out
}

/// A table whose columns from `numbers` on are numbers.
fn table(rows: &Rows, numbers: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = (0..rows.head.len()).map(|at| if at < numbers { "---|" } else { "---:|" });
    let mut out = format!("\n{}\n\n{}|{}\n", rows.title, line(&rows.head), rule.collect::<String>());
    for row in &rows.rows {
        out += &line(row);
    }
    out
}
