//! The page as a document: well formed, self-contained, readable in both themes and without eyes.

mod common;

use std::collections::BTreeSet;

fn page() -> String {
    daxsim_reports::html::render(&common::report()).unwrap()
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
    // Seven distributions; parts and cycles at two widths each; of a device its reads, bandwidth and queues.
    assert_eq!(charts.len(), 7 + 2 + 2 + 3);
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
