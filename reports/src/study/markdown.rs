//! A study as Markdown.

use super::Study;

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
            out += &study.values(panel, metric).markdown(1);
        }
        if let Some(waits) = study.waits(panel) {
            out += &waits.markdown(usize::MAX);
        }
    }
    out += "\n## Variants\n";
    out += &study.what().markdown(usize::MAX);
    let failures = study.failures();
    if !failures.rows.is_empty() {
        out += "\n## Failures\n";
        out += &failures.markdown(usize::MAX);
    }
    out
}
