//! The book has every page, and no link leads nowhere.

use std::collections::BTreeSet;
use std::path::Path;

use crate::page::{Page, pages, top};

/// Targets of the links of a page, with the line; those in code are none.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for after in prose.split("](").skip(1) {
            let target = after.split(')').next().unwrap_or_default();
            links.push((at + 1, target.to_owned()));
        }
    }
    links
}

/// The headings of a page as anchors: lower case, words joined by `-`.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(heading).collect()
}

#[test]
fn the_summary_lists_every_page_of_the_book_once() {
    let summary = Page::read("docs/SUMMARY.md");
    let mut listed: Vec<String> =
        links(&summary.text).into_iter().map(|(_, target)| format!("docs/{target}")).collect();
    listed.sort();
    let is_chapter = |page: &String| page != "README.md" && page != "docs/SUMMARY.md";
    let expected: Vec<String> = pages().into_iter().filter(is_chapter).collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut wrong = Vec::new();
    let more = ["ARCHITECTURE.md", "CONTRIBUTING.md", "traces/FORMAT.md", "traces/recorded/README.md"];
    let mut seen = 0;
    for path in pages().into_iter().chain(more.map(str::to_owned)) {
        let page = Page::read(&path);
        for (line, target) in links(&page.text) {
            if target.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&path).parent().unwrap();
            let found = if file.is_empty() { top().join(&path) } else { top().join(folder).join(file) };
            let exists = found.exists();
            let has_anchor = || anchors(&std::fs::read_to_string(&found).unwrap()).contains(anchor);
            if !exists || (!anchor.is_empty() && !has_anchor()) {
                wrong.push(format!("{path} line {line}: {target}"));
            }
        }
    }
    assert!(seen > 50, "{seen}");
    assert!(wrong.is_empty(), "links that lead nowhere:\n  {}", wrong.join("\n  "));
}
