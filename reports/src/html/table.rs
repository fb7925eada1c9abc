//! Tables that scroll by themselves, with captions and row headings.

use maud::{Markup, html};

/// How a column is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Words, to the left.
    Text,
    /// Numbers, to the right.
    Number,
    /// Names of things in a file or a trace.
    Code,
}

use Set::{Number, Text};

/// A table. The first column is each row's heading.
pub(crate) fn table(caption: &str, columns: &[(&str, Set)], rows: &[Vec<String>]) -> Markup {
    let class = |i: usize| columns.get(i).is_some_and(|c| c.1 == Number).then_some("n");
    let code = |i: usize| columns.get(i).is_some_and(|c| c.1 == Set::Code);
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead {
                    tr { @for (i, (head, _)) in columns.iter().enumerate() { th scope="col" class=[class(i)] { (head) } } }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @let content = html! { @if code(i) { code { (cell) } } @else { (cell) } };
                                @if i == 0 { th scope="row" { (content) } } @else { td class=[class(i)] { (content) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Columns whose first is a name and whose others are numbers.
pub(crate) fn numbers<'a>(heads: &[&'a str]) -> Vec<(&'a str, Set)> {
    heads.iter().enumerate().map(|(i, head)| (*head, if i == 0 { Text } else { Number })).collect()
}
