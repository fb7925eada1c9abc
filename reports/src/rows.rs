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

    /// In Markdown. The columns from `numbers` on are numbers.
    pub fn markdown(&self, numbers: usize) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule = (0..self.head.len()).map(|at| if at < numbers { "---|" } else { "---:|" });
        let mut out = format!("\n{}\n\n{}|{}\n", self.title, line(&self.head), rule.collect::<String>());
        for row in &self.rows {
            out += &line(row);
        }
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
