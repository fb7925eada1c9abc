//! What a file says of itself: lines of text, `key=value`.

use std::collections::BTreeMap;

use crate::access::{AccessCounts, ExtraCounts, PAGE, Range, Reading, Touched};

/// Most ranges of touched pages that are told.
const MOST_RANGES: usize = 64;

/// What a trace is of and what it holds, so that nobody need read all of it to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// What it was made of: `lackey`, `champsim`, `gen`.
    pub source: String,
    /// Name of the file that it was made of, or how it was generated.
    pub name: String,
    /// What is in it.
    pub counts: AccessCounts,
    /// What else is known of the accesses.
    pub extras: ExtraCounts,
    /// Pages touched.
    pub pages: u64,
    /// Whether more pages are touched than were counted.
    pub pages_at_least: bool,
    /// Where they are.
    pub ranges: Vec<Range>,
    /// Lines of the source that were no accesses.
    pub other_lines: u64,
    /// Damaged places of the source.
    pub damaged: u64,
}

impl Description {
    /// That of a trace that was read or generated.
    #[must_use]
    pub fn new(source: &str, name: &str, counts: AccessCounts, touched: &Touched, reading: &Reading) -> Self {
        let mut counts = counts;
        counts.instructions += reading.trailing_instructions;
        Self {
            source: one_line(source),
            name: one_line(name),
            counts,
            extras: ExtraCounts::default(),
            pages: touched.pages(),
            pages_at_least: touched.is_full(),
            ranges: touched.ranges(MOST_RANGES),
            other_lines: reading.other_lines,
            damaged: reading.damaged,
        }
    }

    pub(super) fn to_text(&self) -> String {
        let c = &self.counts;
        let mut text = format!(
            "source={}\nname={}\nloads={}\nstores={}\nmodifies={}\nfetches={}\ndependent={}\ninstructions={}\npages={}\n\
             pages_at_least={}\nother_lines={}\ndamaged={}\n",
            self.source,
            self.name,
            c.loads,
            c.stores,
            c.modifies,
            c.fetches,
            c.dependent,
            c.instructions,
            self.pages,
            u8::from(self.pages_at_least),
            self.other_lines,
            self.damaged
        );
        let ExtraCounts { weighed, weight, physical, sided, kernel } = self.extras;
        for (key, value) in [
            ("weighed", weighed),
            ("weight", weight),
            ("physical", physical),
            ("sided", sided),
            ("kernel", kernel),
        ] {
            if value > 0 {
                text.push_str(&format!("{key}={value}\n"));
            }
        }
        for (number, range) in self.ranges.iter().enumerate() {
            text.push_str(&format!("range.{number}={:#x}-{:#x} {}\n", range.start, range.end, range.pages));
        }
        text
    }

    /// From text. Keys that are not known, and values that are no numbers, count for nothing.
    pub(super) fn from_text(text: &str) -> Self {
        let lines: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let word = |key: &str| lines.get(key).copied().unwrap_or_default().to_owned();
        let number = |key: &str| lines.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        let ranges = (0..MOST_RANGES).map_while(|n| range_of(lines.get(format!("range.{n}").as_str())?));
        Self {
            source: word("source"),
            name: word("name"),
            counts: AccessCounts {
                loads: number("loads"),
                stores: number("stores"),
                modifies: number("modifies"),
                fetches: number("fetches"),
                dependent: number("dependent"),
                instructions: number("instructions"),
            },
            extras: ExtraCounts {
                weighed: number("weighed"),
                weight: number("weight"),
                physical: number("physical"),
                sided: number("sided"),
                kernel: number("kernel"),
            },
            pages: number("pages"),
            pages_at_least: number("pages_at_least") != 0,
            ranges: ranges.collect(),
            other_lines: number("other_lines"),
            damaged: number("damaged"),
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(4096).collect()
}

fn range_of(text: &str) -> Option<Range> {
    let (span, pages) = text.split_once(' ')?;
    let (start, end) = span.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let range = Range { start: hex(start)?, end: hex(end)?, pages: pages.parse().ok()? };
    (range.start < range.end && range.start.is_multiple_of(PAGE)).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let description = Description {
            source: "lackey".into(),
            name: "a = b".into(),
            counts: AccessCounts {
                loads: 1,
                stores: 2,
                modifies: 3,
                fetches: 4,
                dependent: 5,
                instructions: 6,
            },
            extras: ExtraCounts { weighed: 10, weight: 11, physical: 12, sided: 13, kernel: 0 },
            pages: 7,
            pages_at_least: true,
            ranges: vec![
                Range { start: 0x1000, end: 0x3000, pages: 2 },
                Range { start: 0x9000, end: u64::MAX, pages: 1 },
            ],
            other_lines: 8,
            damaged: 9,
        };
        assert_eq!(Description::from_text(&description.to_text()), description);
        assert_eq!(one_line("a\nb\0c"), "a b c");
    }

    #[test]
    fn anything_else_counts_for_nothing() {
        let text = "loads=x\nnew=1\nno line\nrange.0=0x2000-0x1000 1\n=\n";
        assert_eq!(Description::from_text(text), Description::default());
    }
}
