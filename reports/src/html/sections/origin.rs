//! What was run, on what, by what: enough to run it again.

use maud::html;

use super::{Section, nothing};
use crate::html::table::{Set, table};
use crate::model::{Override, RunReport};
use crate::units::{bytes, count, frequency};

/// Inputs, configs and their overrides, and the program.
pub(in crate::html) fn provenance(report: &RunReport) -> Section<'static> {
    let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), count);
    let inputs: Vec<_> = report
        .inputs
        .iter()
        .map(|i| {
            vec![
                i.name.clone(),
                i.kind.clone(),
                bytes(i.bytes),
                number(i.lines),
                number(i.events),
                i.sha256.clone(),
            ]
        })
        .collect();
    let (m, k) = (&report.machine, &report.kernel);
    let fs = report.fs.map_or_else(|| "none".to_owned(), |fs| fs.to_string());
    let cpus = format!("{} CPUs at {}", count(u64::from(m.cpus)), frequency(m.frequency_hz));
    let setting = [
        ["machine", &m.name, &m.description],
        ["clock", &cpus, ""],
        ["kernel", &k.name, &k.description],
        ["insert semantics", &k.semantics, ""],
        ["file system", &fs, ""],
        ["mode", report.mode.name(), ""],
        ["seed", &report.seed.to_string(), ""],
        ["made by", &format!("{} {}", report.tool.name, report.tool.version), &report.schema],
    ]
    .map(|row| row.map(str::to_owned).to_vec());
    let overrides: Vec<_> =
        overrides("machine", &m.overrides).chain(overrides("kernel", &k.overrides)).collect();
    let body = html! {
        (table("Setting", &[("what", Set::Text), ("name", Set::Text), ("description", Set::Text)], &setting))
        @if overrides.is_empty() {
            (nothing("No setting of the machine or the kernel was changed."))
        } @else {
            (table(
                "Settings changed for this run",
                &[("key", Set::Code), ("of", Set::Text), ("value", Set::Code), ("otherwise", Set::Code)],
                &overrides,
            ))
        }
        @if inputs.is_empty() {
            (nothing("There was no input file."))
        } @else {
            (table(
                "Inputs",
                &[
                    ("name", Set::Code),
                    ("format", Set::Text),
                    ("size", Set::Number),
                    ("lines", Set::Number),
                    ("events", Set::Number),
                    ("SHA-256", Set::Code),
                ],
                &inputs,
            ))
        }
    };
    Section { id: "provenance", heading: "Provenance", body }
}

fn overrides<'a>(of: &'a str, list: &'a [Override]) -> impl Iterator<Item = Vec<String>> + 'a {
    list.iter().map(move |o| {
        vec![o.key.clone(), of.to_owned(), o.value.clone(), o.was.clone().unwrap_or_else(|| "–".to_owned())]
    })
}
