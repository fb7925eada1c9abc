//! Wholes divided into parts, one horizontal bar each.

use maud::Markup;
use plotters::element::{Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Caption, Drawn, Hit, Ink, at_two_widths, label, text_width};
use crate::ReportError;
use crate::units::percent;

/// A part of a bar.
pub(in crate::html) struct Segment {
    /// Number of its colour.
    pub color: usize,
    /// Share of the bar, 0 to 1.
    pub share: f64,
    /// What the pointer shows.
    pub value: String,
}

/// A bar with its label.
pub(in crate::html) struct Row {
    /// Stands above the bar.
    pub label: String,
    /// From the left.
    pub segments: Vec<Segment>,
}

const LABEL_HEIGHT: i32 = 20;
const BAR_HEIGHT: i32 = 22;
const GAP: i32 = 12;

/// The chart, once for wide and once for narrow screens; the style sheet shows one of them.
pub(in crate::html) fn stacked(caption: &Caption<'_>, rows: &[Row]) -> Result<Option<Markup>, ReportError> {
    if rows.iter().all(|r| r.segments.iter().all(|s| s.share <= 0.0)) {
        return Ok(None);
    }
    let height = rows.len() as i32 * (LABEL_HEIGHT + BAR_HEIGHT + GAP);
    let sizes = [(1080, height as u32), (340, height as u32)];
    at_two_widths(caption, sizes, |area, hits| draw(area, rows, hits)).map(Some)
}

fn draw(area: &Area<'_>, rows: &[Row], hits: &mut Vec<Hit>) -> Drawn {
    let width = area.dim_in_pixel().0 as i32;
    for (i, row) in rows.iter().enumerate() {
        let top = i as i32 * (LABEL_HEIGHT + BAR_HEIGHT + GAP);
        let (bar, bottom) = (top + LABEL_HEIGHT, top + LABEL_HEIGHT + BAR_HEIGHT);
        area.draw(&Text::new(
            row.label.as_str(),
            (0, top + 3),
            label(area, Ink::Text, HPos::Left, VPos::Top),
        ))?;
        let mut from = 0.0_f64;
        for segment in row.segments.iter().filter(|s| s.share > 0.0) {
            let to = (from + segment.share).min(1.0);
            let pixel = |share: f64| (share * f64::from(width)).round() as i32;
            let (left, right) = (pixel(from), pixel(to));
            from = to;
            hits.push(Hit { place: [left, bar, right, bottom], value: segment.value.clone() });
            // A gap of one pixel sets neighbours apart whatever their colours.
            if right - left < 2 {
                continue;
            }
            let style = Ink::Part(segment.color).rgb().filled();
            area.draw(&Rectangle::new([(left, bar), (right - 1, bottom)], style))?;
            let text = percent(segment.share);
            if text_width(&text) + 4 <= right - left {
                let middle = ((left + right) / 2, bar + BAR_HEIGHT / 2);
                let style = label(area, Ink::OnMark, HPos::Center, VPos::Center);
                area.draw(&Text::new(text, middle, style))?;
            }
        }
    }
    Ok(())
}
