//! `report.html`: one page for people, with everything it needs inside it.
//!
//! It loads nothing from anywhere, follows the reader's light or dark
//! preference, prints, and reads well without eyes or mouse: every chart has a
//! description and a table with the same numbers. With a pointer, marks say
//! their values; tables can be sorted by any column and saved as CSV.

pub(crate) mod chart;
mod sections;
pub(crate) mod table;
mod theme;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::model::RunReport;
use crate::{ReportError, headline, write_atomically};

/// What the page may load: what is written in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// What the page can do beyond showing: change its theme, sort its tables and save them as CSV, say the values of marks.
const SCRIPTS: [&str; 3] = [include_str!("theme.js"), include_str!("tables.js"), include_str!("hover.js")];

/// A section of a page: its anchor, its heading, and its content if it has any.
pub(crate) struct Section<'a> {
    pub id: &'a str,
    pub heading: &'a str,
    pub body: Markup,
}

/// The page.
///
/// # Errors
///
/// [`ReportError::Chart`] if the charting library refuses a value.
pub fn render(report: &RunReport) -> Result<String, ReportError> {
    let colors = sections::PartColors::of(report);
    let sections = [
        sections::faults(report),
        sections::distributions(report)?,
        sections::parts(report, &colors)?,
        sections::cycles(report, &colors)?,
        sections::over_time(report)?,
        sections::shootdowns(report)?,
        sections::contention(report),
        sections::translation(report),
        sections::caches(report),
        sections::memory(report)?,
        sections::durability(report),
        sections::replay(report),
        sections::caveats(report),
        sections::constants(report)?,
        sections::provenance(report),
    ];
    Ok(page(&headline::title(report), &sections::overview(report), &sections))
}

/// A page: its title, what stands above the list of sections, and the sections.
pub(crate) fn page(title: &str, overview: &Markup, sections: &[Section<'_>]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(theme::css())) }
            }
            body {
                a.skip href="#main" { "Skip to the results" }
                header {
                    h1 { (title) }
                    button #theme type="button" hidden { "Dark theme" }
                }
                main #main {
                    (overview)
                    nav aria-label="Sections" {
                        ul { @for s in sections { li { a href={ "#" (s.id) } { (s.heading) } } } }
                    }
                    @for s in sections {
                        section aria-labelledby=(s.id) {
                            h2 id=(s.id) { (s.heading) }
                            (s.body)
                        }
                    }
                }
                @for script in SCRIPTS { script { (PreEscaped(script)) } }
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

/// Writes the page to `path`, atomically.
///
/// # Errors
///
/// As [`render`] and [`write_atomically`].
pub fn write(report: &RunReport, path: &Path) -> Result<(), ReportError> {
    write_atomically(path, render(report)?.as_bytes())
}
