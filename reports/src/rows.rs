//! A table of text that the forms of a document share: for a terminal, in Markdown and on a page.

use maud::Markup;

use crate::html::table::{Set, numbers, table};
use crate::terminal::aligned;

/// A table: its title, the heads of its columns, and its cells.
pub(crate) struct Rows {
    pub title: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    /// A table without rows.
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self { title: title.into(), head: head.iter().map(|h| (*h).to_owned()).collect(), rows: Vec::new() }
    }

    /// The same with something before the title.
    pub fn of(self, what: &str) -> Self {
        Self { title: format!("{what}: {}", self.title), ..self }
    }

    /// For a terminal; nothing if there are no rows.
    pub fn text(self) -> String {
        let head: Vec<&str> = self.head.iter().map(String::as_str).collect();
        aligned(&self.title, &head, self.rows)
    }

    /// In Markdown, with columns as wide as their cells, so that the text reads as a table in a mail, too. The columns from
    /// `numbers` on are numbers.
    pub fn markdown(&self, numbers: usize) -> String {
        let escaped =
            |cells: &[String]| cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>();
        let all: Vec<Vec<String>> =
            std::iter::once(&self.head).chain(&self.rows).map(|cells| escaped(cells)).collect();
        let length = |cells: &Vec<String>, at: usize| cells.get(at).map_or(0, |cell| cell.chars().count());
        // A rule has three characters at least.
        let width = |at: usize| all.iter().map(|cells| length(cells, at)).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let cell = |(at, cell): (usize, &String)| {
                let width = widths.get(at).copied().unwrap_or(0);
                if at < numbers { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") }
            };
            format!("|{}\n", cells.iter().enumerate().map(cell).collect::<String>())
        };
        let dashes = |(at, width): (usize, &usize)| {
            let rule = "-".repeat(width + 1);
            if at < numbers { format!("{rule}-|") } else { format!("{rule}:|") }
        };
        let rule: String = widths.iter().enumerate().map(dashes).collect();
        let mut lines = all.iter().map(line);
        let mut out = format!("\n{}\n\n{}|{rule}\n", self.title, lines.next().unwrap_or_default());
        out.extend(lines);
        out
    }

    /// On a page, with words in all columns.
    pub fn words(&self) -> Markup {
        let columns: Vec<(&str, Set)> = self.head.iter().map(|head| (head.as_str(), Set::Text)).collect();
        table(&self.title, &columns, &self.rows)
    }

    /// On a page, with numbers in all columns but the first.
    pub fn numbers(&self) -> Markup {
        let heads: Vec<&str> = self.head.iter().map(String::as_str).collect();
        table(&self.title, &numbers(&heads), &self.rows)
    }
}
