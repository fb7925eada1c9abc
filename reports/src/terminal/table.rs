//! A table of aligned columns without lines.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// `rows` under `head`; the first column is text, the others are numbers. Nothing if there are no rows.
pub(crate) fn aligned(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(cells(head.iter().map(|h| (*h).to_owned())));
    for row in rows {
        table.add_row(cells(row));
    }
    let body: Vec<String> = table.lines().map(|line| format!(" {}", line.trim_end())).collect();
    format!("{title}\n{}", body.join("\n"))
}

fn cells(row: impl IntoIterator<Item = String>) -> Vec<Cell> {
    row.into_iter()
        .enumerate()
        .map(|(i, text)| {
            let side = if i == 0 { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        })
        .collect()
}
