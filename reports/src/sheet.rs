//! Tables that another program of the project has made, as a page that looks as the other reports do.

use maud::html;

use crate::html::table::{Set, table};
use crate::html::{Section, page as whole};

/// A table with its heading.
#[derive(Clone, Debug)]
pub struct Sheet<'a> {
    /// Its anchor in the page.
    pub id: &'a str,
    /// Above it.
    pub heading: &'a str,
    /// What it shows, in a line.
    pub caption: &'a str,
    /// The head, and the rows: two columns of names, the rest numbers.
    pub rows: Vec<Vec<String>>,
}

/// The page: what was found in a line, the tables, and notes below them.
#[must_use]
pub fn page(title: &str, answer: &str, notes: &[&str], sheets: &[Sheet<'_>]) -> String {
    let overview = html! { p.answer { (answer) } };
    let body = |sheet: &Sheet<'_>| {
        let (head, rows) = sheet.rows.split_first().unwrap_or((const { &Vec::new() }, &[]));
        let set = |at: usize| if at < 2 { Set::Text } else { Set::Number };
        let columns: Vec<(&str, Set)> =
            head.iter().enumerate().map(|(at, text)| (text.as_str(), set(at))).collect();
        table(sheet.caption, &columns, rows)
    };
    let mut sections: Vec<Section<'_>> = sheets
        .iter()
        .map(|sheet| Section { id: sheet.id, heading: sheet.heading, body: body(sheet) })
        .collect();
    if !notes.is_empty() {
        let list = html! { ul { @for note in notes { li { (note) } } } };
        sections.push(Section { id: "notes", heading: "Notes", body: list });
    }
    whole(title, &overview, &sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_each_table_with_its_numbers_set_as_such() {
        let text = |row: [&str; 3]| row.map(str::to_owned).to_vec();
        let rows = vec![text(["fault", "kernel", "loads"]), text(["read", "real <k>", "1,281"])];
        let sheet = Sheet { id: "faults", heading: "Faults", caption: "Both kernels", rows };
        let page = page("A title", "an answer", &["a note"], &[sheet]);
        for part in [
            "<h1>A title</h1>",
            "an answer",
            "<h2 id=\"faults\">Faults</h2>",
            "<caption>Both kernels</caption>",
            "<td>real &lt;k&gt;</td><td class=\"n\">1,281</td>",
            "<li>a note</li>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
