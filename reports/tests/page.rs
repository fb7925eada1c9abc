//! The page as a document: well formed, self-contained, readable in both themes and without eyes.

mod common;

use std::collections::BTreeSet;

use daxsim_reports::model::{FAULT_KINDS, OverTime, RunReport, ShootdownMatrix, ShootdownPair};

fn page() -> String {
    daxsim_reports::html::render(&common::report()).unwrap()
}

#[test]
fn the_page_of_a_large_machine_and_a_long_run_is_below_two_mebibytes() {
    let mut report = common::report();
    let pair = |initiator: u32, responder: u32| ShootdownPair {
        initiator,
        responder,
        calls: 1000,
        wait_ns: f64::from(initiator * 1000 + responder),
        ..ShootdownPair::default()
    };
    let cpus = || 0..256_u32;
    let pairs = cpus().flat_map(|from| cpus().filter(move |to| *to != from).map(move |to| pair(from, to)));
    report.shootdowns.matrix = ShootdownMatrix::of(pairs);
    let counts = |kind: usize| (0..256).map(|n: u64| n * 7919 % (10 + kind as u64)).collect();
    report.over_time = Some(OverTime {
        stretch_ns: 4194.304,
        faults: FAULT_KINDS.iter().enumerate().map(|(n, kind)| ((*kind).to_owned(), counts(n))).collect(),
        flushes: counts(50),
        ipis: counts(60),
    });
    let page = daxsim_reports::html::render(&report).unwrap();
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
    assert!(page.contains("CPUs 8-15 asked CPUs 16-23") && page.contains("others"));
}

#[test]
fn a_report_of_an_earlier_version_has_a_page_that_says_what_it_lacks() {
    let mut old = serde_json::to_value(common::report()).unwrap();
    for field in ["over_time", "constants", "locks", "lines"] {
        assert!(old.as_object_mut().unwrap().remove(field).is_some() || field.starts_with('l'), "{field}");
    }
    old["shootdowns"].as_object_mut().unwrap().remove("matrix").unwrap();
    for latency in old["latency"].as_object_mut().unwrap().values_mut() {
        latency.as_object_mut().unwrap().remove("hdr").unwrap();
    }
    let old: RunReport = serde_json::from_value(old).unwrap();
    let page = daxsim_reports::html::render(&old).unwrap();
    for text in ["What the constants took was not followed.", "No lock was taken.", "mkwrite: 99 % within"] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("shootdown-matrix"));
}

/// The tags of a document as (name, attributes), with `/` before the names of closing ones.
fn tags(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("an open tag ends");
        let (name, attributes) = rest[..end].split_once([' ', '\n']).unwrap_or((&rest[..end], ""));
        out.push((name.to_owned(), attributes.to_owned()));
        rest = &rest[end + 1..];
        if name == "style" || name == "script" {
            rest = &rest[rest.find("</").expect("raw text ends")..];
        }
    }
    out
}

#[test]
fn tags_are_balanced() {
    let mut open: Vec<String> = Vec::new();
    for (name, attributes) in tags(&page()) {
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else if !name.starts_with('!') && name != "meta" && !attributes.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn nothing_is_loaded() {
    let page = page();
    for outside in ["http:", "https:", "//cdn", "url(", "@import", "src=", "<link", "<img", "<iframe"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    for kept in ["localStorage", "sessionStorage", "cookie"] {
        assert!(!page.contains(kept), "{kept}");
    }
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
}

#[test]
fn both_themes_define_every_colour_in_use() {
    let page = page();
    let used: BTreeSet<&str> = page.split("var(--").skip(1).filter_map(|s| s.split(')').next()).collect();
    assert!(used.len() > 20, "{used:?}");
    let themes = [
        "<style>:root{",
        "@media (prefers-color-scheme:dark){:root:not([data-theme=light]){",
        "\n:root[data-theme=dark]{",
        "@media print{:root,:root:not([data-theme=light]),:root[data-theme=dark]{",
    ];
    for theme in themes {
        let block = page.split(theme).nth(1).and_then(|s| s.split('}').next()).expect(theme);
        for name in &used {
            assert!(block.contains(&format!("--{name}:")), "{name} in {theme}");
        }
    }
    let styled: BTreeSet<String> = page
        .split("class=\"")
        .skip(1)
        .filter_map(|s| s.split('"').next())
        .filter(|c| c.starts_with("f-") || c.starts_with("s-") || c.contains("b-"))
        .map(|c| c.rsplit(' ').next().unwrap_or(c).to_owned())
        .collect();
    for class in styled {
        assert!(page.contains(&format!(".{class}{{")), "{class} has no rule");
    }
}

#[test]
fn charts_have_marks_and_words_and_no_colours_of_their_own() {
    let page = page();
    let charts: Vec<_> = page.split("<svg ").skip(1).map(|s| s.split("</svg>").next().unwrap()).collect();
    // Seven distributions and of a device its reads; at two widths each: percentiles, parts, cycles, trust, faults, flushes, bandwidth
    // and queues of a device, and the matrix.
    assert_eq!(charts.len(), 7 + 1 + 2 * 9);
    for chart in charts {
        let head = chart.split('>').next().unwrap();
        assert!(head.contains("role=\"img\"") && head.contains("aria-labelledby="), "{head}");
        assert!(chart.contains("<title ") && chart.contains("<desc "), "{head}");
        let marks = chart.contains("<rect ") || chart.contains("<polyline ");
        assert!(marks && chart.contains("<text "), "{head}");
        assert!(!chart.contains("=\"#") && !chart.contains("sans-serif"), "{head}");
    }
}

#[test]
fn ids_are_unique_and_references_meet_them() {
    let page = page();
    let attribute = |name: &str| -> Vec<String> {
        let tags = tags(&page);
        let found = tags.iter().filter_map(|(_, a)| {
            format!(" {a}").split(&format!(" {name}=\"")).nth(1)?.split('"').next().map(str::to_owned)
        });
        found.collect()
    };
    let ids = attribute("id");
    let unique: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(ids.len(), unique.len());
    let anchors = attribute("href").into_iter().map(|h| h.trim_start_matches('#').to_owned());
    let labels = attribute("aria-labelledby");
    let labels = labels.iter().flat_map(|l| l.split(' ').map(str::to_owned));
    for reference in anchors.chain(labels) {
        assert!(unique.contains(&reference), "{reference}");
    }
}

#[test]
fn tables_can_be_read_aloud() {
    let page = page();
    for table in page.split("<table>").skip(1).map(|s| s.split("</table>").next().unwrap()) {
        assert!(table.starts_with("<caption>"));
        assert!(table.contains("scope=\"col\"") && table.contains("scope=\"row\""));
    }
}

#[test]
fn text_from_inputs_is_escaped() {
    let mut report = common::report();
    report.inputs[0].name = "<script>alert(1)</script>".into();
    report.machine.name = "\"><b>".into();
    report.latency.insert("</svg><i>".into(), report.latency["read"].clone());
    report.attribution[0].name = "<u>".into();
    let page = daxsim_reports::html::render(&report).unwrap();
    for raw in ["<script>alert", "\"><b>", "</svg><i>", "<u>"] {
        assert!(!page.contains(raw), "{raw}");
    }
}
