//! The report in a real browser: headless Chromium opens the pages of replayed recordings and does what readers do. Skipped, and
//! loudly, where there is no Chromium. Pictures of the pages go to the folder that `DAXSIM_PICTURES` names.

#![allow(clippy::print_stderr)] // what is skipped

mod common;
#[path = "browser/driver.rs"]
mod driver;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{recorded, run_in};
use driver::Browser;
use serde_json::{Value, json};

/// An application with faults of many kinds, and threads that shoot down each other's TLBs.
const INPUTS: [(&str, &str, &[&str]); 2] = [
    ("application", "kernel-7.2/ext4/a03_lmdb_writemap/trace.txt.xz", &[]),
    ("threads", "kernel-7.2/ext4/s21_unmap_4threads/script.txt", &["--set", "cpu.count=4"]),
];

/// Replays the inputs; their names and pages.
fn pages(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let replay = |(name, input, more): &(&'static str, &str, &[&str])| {
        let input = recorded(input);
        run_in(folder, &[&["replay", input.to_str().unwrap(), "--out", name, "-q"], *more].concat()).exits(0);
        (*name, folder.join(name).join("report.html"))
    };
    INPUTS.iter().map(replay).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Every chart that is shown, with the number of its marks and its width.
const CHARTS: &str = "return Array.from(document.querySelectorAll('svg.chart')).filter(function (svg) {
    return getComputedStyle(svg).display !== 'none';
}).map(function (svg) {
    var marks = Array.from(svg.querySelectorAll('rect:not(.hit), polyline, path, circle')).filter(function (mark) {
        var box = mark.getBoundingClientRect(), style = getComputedStyle(mark);
        return (box.width > 0 || box.height > 0) && (style.fill !== 'none' || style.stroke !== 'none');
    });
    return [svg.querySelector('title').textContent, marks.length, svg.getBoundingClientRect().width,
        svg.querySelectorAll('.hit').length];
});";

fn charts_have_marks(browser: &Browser, name: &str) {
    let charts = browser.run(CHARTS);
    let charts = charts.as_array().unwrap();
    assert!(charts.len() >= 8, "{name}: {charts:?}");
    for chart in charts {
        assert!(number(&chart[1]) >= 2.0 && number(&chart[2]) >= 100.0, "{name}: {chart}");
        assert!(number(&chart[3]) >= 1.0, "{name}: nothing to hover over: {chart}");
    }
}

fn hover_says_a_value(browser: &Browser, name: &str) {
    let shown = "var tip = document.getElementById('tip'); return tip.hidden ? '' : tip.textContent;";
    let charts = browser.run("return Array.from(document.querySelectorAll('svg.chart')).length;");
    let mut said = 0;
    for at in 0..number(&charts) as usize {
        // The middle of the largest mark, brought into view.
        let place = browser.run(&format!(
            "var svg = document.querySelectorAll('svg.chart')[{at}];
             if (getComputedStyle(svg).display === 'none') {{ return null; }}
             svg.scrollIntoView({{ block: 'center', behavior: 'instant' }});
             var hits = Array.from(svg.querySelectorAll('.hit')).map(function (hit) {{
                 var box = hit.getBoundingClientRect();
                 return [box.x + box.width / 2, box.y + box.height / 2, box.width * box.height];
             }}).sort(function (a, b) {{ return b[2] - a[2]; }});
             return hits[0];"
        ));
        if place.is_null() {
            continue;
        }
        // The page may still be scrolling, which hides what was said before.
        let text = (0..20).find_map(|step| {
            browser.point(number(&place[0]), number(&place[1]) + f64::from(step % 2) * 0.5);
            let text = browser.run(shown);
            text.as_str().filter(|text| text.chars().any(|c| c.is_ascii_digit())).map(str::to_owned)
        });
        assert!(text.is_some(), "{name}: chart {at} says nothing at {place}");
        said += 1;
    }
    assert!(said >= 8, "{name}: {said}");
    // It goes when asked to, and stays within the window.
    browser.press("Escape", 27);
    assert_eq!(browser.run(shown), "", "{name}");
}

fn themes_differ_and_can_be_chosen(browser: &Browser, name: &str) {
    let ground =
        || browser.run("return getComputedStyle(document.documentElement).backgroundColor;").to_string();
    browser.prefer("light", "screen");
    let light = ground();
    browser.prefer("dark", "screen");
    let dark = ground();
    assert_ne!(light, dark, "{name}: the preference of the system");
    browser.run("document.getElementById('theme').click();");
    assert_eq!(ground(), light, "{name}: the button, from dark");
    let ink = "return getComputedStyle(document.querySelector('svg.chart .f-bar')).fill;";
    let bar = browser.run(ink);
    browser.run("document.getElementById('theme').click();");
    assert_eq!(ground(), dark, "{name}: the button, back");
    assert_ne!(bar, browser.run(ink), "{name}: charts follow");
    // Paper is white whatever was chosen, and has no buttons.
    browser.prefer("dark", "print");
    assert_eq!(ground(), light, "{name}: in print");
    let buttons =
        "return Array.from(document.querySelectorAll('button:not(.sort), nav')).filter(function (e) {
        return getComputedStyle(e).display !== 'none'; }).length;";
    assert_eq!(browser.run(buttons), 0, "{name}: in print");
    browser.prefer("light", "screen");
    browser.run("document.getElementById('theme').click();");
    assert_eq!(ground(), light, "{name}");
}

/// A table by the beginning of its caption.
fn table(caption: &str) -> String {
    format!(
        "var table = Array.from(document.querySelectorAll('table')).find(function (t) {{
            return t.caption.textContent.indexOf('{caption}') === 0; }});"
    )
}

fn column(browser: &Browser, caption: &str, head: &str) -> Vec<f64> {
    let of =
        "var at = Array.from(table.tHead.rows[0].cells).findIndex(function (c) { return c.textContent === '";
    let values = browser.run(&format!(
        "{}{of}{head}'; }});
        return Array.from(table.tBodies[0].rows).map(function (r) {{
            return parseFloat(r.cells[at].textContent.replace(/,/g, '')); }});",
        table(caption)
    ));
    values.as_array().unwrap().iter().map(|v| v.as_f64().unwrap_or(f64::NEG_INFINITY)).collect()
}

fn tables_sort_and_are_saved(browser: &Browser, name: &str) {
    let without = "return Array.from(document.querySelectorAll('table')).filter(function (t) {
        return !t.closest('.scroll').nextElementSibling.matches('button.csv'); }).length;";
    assert_eq!(browser.run(without), 0, "{name}: tables without a download");
    let (caption, head) = ("Page faults by kind", "faults");
    let before = column(browser, caption, head);
    assert!(before.len() >= 2, "{name}: {before:?}");
    // With the keyboard, as a reader without a pointer would.
    browser.run(&format!(
        "{}Array.from(table.tHead.rows[0].cells).find(function (c) {{ return c.textContent === '{head}'; }})
            .querySelector('button').focus();",
        table(caption)
    ));
    let mut sorted = before.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    browser.press("Enter", 13);
    assert_eq!(column(browser, caption, head), sorted, "{name}: descending");
    let order =
        format!("{}return table.querySelector('[aria-sort]').getAttribute('aria-sort');", table(caption));
    assert_eq!(browser.run(&order), "descending", "{name}");
    browser.press("Enter", 13);
    sorted.reverse();
    assert_eq!(column(browser, caption, head), sorted, "{name}: ascending");
    assert_eq!(browser.run(&order), "ascending", "{name}");
    // Times of different units are put in order by what they are: nanoseconds are below microseconds.
    browser.run(&format!(
        "{}Array.from(table.tHead.rows[0].cells).find(function (c) {{ return c.textContent === 'total'; }})
            .querySelector('button').click();",
        table(caption)
    ));
    browser.run(&format!("{}table.closest('.scroll').nextElementSibling.click();", table(caption)));
    let file = "page-faults-by-kind-and-what-each-cost.csv";
    let csv = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        browser.downloaded(file)
    });
    let csv = csv.unwrap_or_else(|| panic!("{name}: {file} was not downloaded"));
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let total = rows[0].iter().position(|head| *head == "total (ns)").unwrap_or_else(|| panic!("{csv}"));
    let totals: Vec<f64> = rows[1..].iter().filter_map(|row| row[total].parse().ok()).collect();
    assert!(rows.len() == before.len() + 1 && !totals.is_empty(), "{csv}");
    assert!(totals.windows(2).all(|two| two[0] >= two[1]), "{csv}");
}

fn keyboard_goes_through_in_order(browser: &Browser, name: &str) {
    let at = "var e = document.activeElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
        return [e.className || e.id || e.tagName, e.tagName, box.top + scrollY, style.outlineStyle, e.getAttribute('href')];";
    let mut places = Vec::new();
    for _ in 0..60 {
        browser.press("Tab", 9);
        places.push(browser.run(at));
    }
    assert_eq!(places[0][0], "skip", "{name}: first comes the way past the head: {places:?}");
    assert_eq!(places[1][0], "theme", "{name}: {places:?}");
    for two in places[1..].windows(2) {
        // In the order of the page; heads of a table, its scroll region and its download stand within some pixels.
        assert!(number(&two[1][2]) >= number(&two[0][2]) - 900.0, "{name}: {} before {}", two[0], two[1]);
        assert_ne!(two[1][3], "none", "{name}: no outline where the focus is: {}", two[1]);
    }
    let tags: Vec<&str> = places.iter().filter_map(|p| p[1].as_str()).collect();
    assert!(tags.contains(&"A") && tags.contains(&"BUTTON") && !tags.contains(&"BODY"), "{name}: {tags:?}");
    // Nothing takes the focus out of order, and nothing without a name can have it.
    let odd = "return Array.from(document.querySelectorAll('[tabindex], button, a[href], summary')).filter(function (e) {
        return e.tabIndex > 0 || !(e.getAttribute('aria-label') || e.textContent.trim()); }).length;";
    assert_eq!(browser.run(odd), 0, "{name}");
}

fn fits_a_phone(browser: &Browser, name: &str) {
    for width in [390, 320] {
        browser.resize(width, true);
        let wide = "return [document.documentElement.scrollWidth, window.innerWidth];";
        let found = browser.run(wide);
        assert!(number(&found[0]) <= f64::from(width), "{name} at {width}: {found}");
        // Labels of charts can be read: they are not scaled below nine pixels.
        let smallest = browser.run(
            "return Math.min.apply(null, Array.from(document.querySelectorAll('svg.chart')).filter(function (svg) {
                return getComputedStyle(svg).display !== 'none'; }).map(function (svg) {
                return svg.getBoundingClientRect().width / svg.viewBox.baseVal.width * 12; }));",
        );
        assert!(number(&smallest) >= 9.0, "{name} at {width}: labels of {smallest} pixels");
    }
}

#[test]
fn the_report_works_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let Some(browser) = Browser::start(folder.path()) else { return };
    for (name, page) in pages(folder.path()) {
        browser.resize(1280, false);
        browser.prefer("light", "screen");
        browser.open(&page);
        charts_have_marks(&browser, name);
        hover_says_a_value(&browser, name);
        themes_differ_and_can_be_chosen(&browser, name);
        tables_sort_and_are_saved(&browser, name);
        // Anew, as the keyboard goes on from where it was last.
        browser.open(&page);
        keyboard_goes_through_in_order(&browser, name);
        fits_a_phone(&browser, name);
        assert_eq!(browser.console(), Vec::<String>::new(), "{name}");
        let own = url::Url::from_file_path(page.canonicalize().unwrap()).unwrap().to_string();
        let others: Vec<String> = browser.requests().into_iter().filter(|of| !is_own(of, &own)).collect();
        assert!(others.is_empty(), "{name} asks for {others:?}");
        pictures(&browser, name);
    }
}

/// The page itself, tables that it makes files of, and the page that the browser begins with.
fn is_own(address: &str, page: &str) -> bool {
    address == page || ["blob:", "data:", "chrome"].iter().any(|scheme| address.starts_with(scheme))
}

fn pictures(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os("DAXSIM_PICTURES").map(PathBuf::from) else { return };
    browser.devtools("Emulation.setTouchEmulationEnabled", json!({ "enabled": false }));
    for (scheme, width) in [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)] {
        browser.resize(width, width < 700);
        browser.prefer(scheme, "screen");
        browser.run("delete document.documentElement.dataset.theme; window.scrollTo(0, 0);");
        browser.picture(&folder.join(format!("{name}-{scheme}-{width}.png")));
    }
}
